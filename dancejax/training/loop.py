"""Training several networks on one set side by side: the loop of experts, evaluation, forgetting.

A team of networks is one stacked state. It can stop after any step and goes on bit for bit.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dancejax import interpolate, keys, networks
from dancejax.errors import UserError
from dancejax.runs import Run, Session, backend, checkpoint, integrity, parallel
from dancejax.training import prefetch, step as training
from dancejax.training.config import EARLIER, TrainConfig
from dancejax.training.step import Presented, Recipe, TrainData, TrainState
from dancejax.types import Tree


@dataclasses.dataclass(frozen=True)
class Job:
    """Networks to be trained on one set.

    Attributes:
      name: of the progress that is shown.
      network: of all of them.
      config: how they are trained.
      data: what they are trained on.
      count: how many networks there are, those that are finished included.
      seed: of their initialisation and training.
      purpose: what they are for (`keys`).
      record: what the run is, as JSON; its checkpoints belong to it alone.
      limit: steps after which a network stops before its last epoch (None: it does not).
    """

    name: str
    network: nn.Module
    config: TrainConfig
    data: TrainData
    count: int
    seed: int
    purpose: str
    record: dict[str, Any]
    limit: int | None = None

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.data.images.shape[0])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(h, w, c) of an image."""
        h, w, c = self.data.images.shape[1:]
        return h, w, c

    @property
    def recipe(self) -> Recipe:
        """What its steps are compiled for."""
        return Recipe.of(self.network, self.config)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that a network takes in an epoch."""
        return training.steps_per_epoch(self.images, self.config.batch_size)

    @property
    def steps(self) -> int:
        """Steps that a network takes in all."""
        steps = self.config.epochs * self.steps_per_epoch
        return steps if self.limit is None else min(steps, self.limit)


class Team(NamedTuple):
    """Networks that are trained side by side.

    Leaves of state and keys are [N, ...]: the members, and repeats of the last one up to a multiple
    of the devices.
    """

    members: list[int]
    state: TrainState
    keys: jax.Array


class Observer:
    """What looks at networks in training; `extra` are arrays that its checkpoints keep.

    Attributes:
      watches: whether `after_step` is to be called.
    """

    watches = False

    def begin(self, team: Team, session: Session) -> Tree:
        """Return `extra` before a team's first step."""
        return ()

    def after_step(self, presented: Presented, extra: Tree) -> Tree:
        """Return `extra` after a step that presented images to N networks."""
        return extra

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Tree) -> Tree:
        """Return `extra` after an epoch, the first of which is 1, with the mean loss in it."""
        return extra

    def finish(self, team: Team, state: TrainState, extra: Tree) -> bool:
        """Take what a team has come to; True if that is stored, so that checkpoints may go."""
        return False


class Step(NamedTuple):
    """A step of a team in training."""

    number: int  # from 1
    state: TrainState
    losses: jax.Array  # [N]
    presented: Presented | None  # None where nobody watches


def team_size(job: Job, at_once: int | None = None) -> int:
    """How many of a job's networks to train side by side.

    Args:
      job: what is trained, for the memory that a network's step needs.
      at_once: at most so many; None leaves it to the backend.

    Raises:
      UserError: at_once is below 1.
    """
    if at_once is not None and at_once < 1:
        raise UserError(f"networks at once must be at least 1, not {at_once}.")
    per_image, _ = networks.activation_bytes(job.network, job.image_shape)
    size = backend.networks_per_call(job.count, job.config.batch_size * per_image)
    return size if at_once is None else min(size, at_once)


def teams(members: list[int], folder: Path | None, size: int) -> list[list[int]]:
    """The members still to be trained in teams of at most `size`.

    A team that was stopped under way comes first and stays together, so that it can go on.
    """
    started: list[int] = []
    if folder is not None:
        about = checkpoint.latest_metadata(folder)
        started = [] if about is None else about["members"]
    first = [started] if started and set(started) & set(members) else []
    rest = [n for n in members if not (first and n in started)]
    return first + [rest[i : i + size] for i in range(0, len(rest), size)]


def init_team(job: Job, members: list[int], mesh: Mesh) -> Team:
    """A team before its first step, spread over the mesh."""
    filled = members + [members[-1]] * (-len(members) % mesh.size)
    pairs = [jax.random.split(keys.member(job.seed, job.purpose, member)) for member in filled]
    states = [training.init_state(first, job.recipe, job.image_shape) for first, _ in pairs]
    own = jnp.stack([key for _, key in pairs])
    state, own = parallel.place((interpolate.stack(states), own), mesh, parallel.NETWORKS)
    return Team(members, state, own)


def place(data: TrainData, session: Session) -> TrainData:
    """A set where the run wants it: on the mesh's devices, or its images left on the host."""
    if data.on_host and session.run.placement == "host":
        mean, std = parallel.place((data.mean, data.std), session.mesh)
        return data._replace(mean=mean, std=std)
    return TrainData(*parallel.place(data, session.mesh))


def train(job: Job, missing: list[int], observer: Observer, run: Run) -> None:
    """Train networks team by team, and show each team to the observer.

    Args:
      job: what is trained, and on what.
      missing: which of its networks.
      observer: what keeps the results.
      run: with a folder, a team under way is kept in its subfolder training.

    Raises:
      Interrupted: a signal came; what was computed is saved.
      UserError: a loss or a parameter is not finite, or the folder holds another run.
    """
    run = run.opened()
    done = (job.count - len(missing)) * job.steps
    folder = run.folder and run.folder / "training"
    total, count = job.count * job.steps, job.count
    with run.working(job.name, total, parallel.NETWORKS, count=count, done=done) as session:
        data = place(job.data, session)
        backend.return_memory()  # of what loading took, before compiling takes more
        for members in teams(missing, folder, team_size(job, run.networks_at_once)):
            team = init_team(job, members, session.mesh)
            _TeamTraining(job, team, session).run(data, observer, done)
            backend.return_memory()
            done += job.steps * len(members)


def steps(
    job: Job, team: Team, data: TrainData, mesh: Mesh, *, watch: bool = False
) -> Iterator[Step]:
    """Train a team step by step, from the step that its state has reached, without end.

    Args:
      job: what is trained.
      team: on the mesh.
      data: on the mesh, or on the host, whose batches are sent ahead.
      mesh: that of `parallel.use`.
      watch: whether steps have `presented`.

    Yields:
      Each step; `state` is what the next one starts from.
    """
    state = team.state
    number, recipe = int(parallel.fetch(state.step)[0]), job.recipe
    batches = prefetch.train_batches(data, team.keys, number, job.config.batch_size, mesh)
    with batches:
        while True:
            common = training.in_common(job.config, data, number)
            state, losses, *presented = training.train_step(
                state, team.keys, next(batches), common, recipe, watch=watch
            )
            number += 1
            yield Step(number, state, losses, presented[0] if watch else None)


class _TeamTraining:
    """A team on its way to the last epoch, saved under way."""

    def __init__(self, job: Job, team: Team, session: Session) -> None:
        self.job, self.team, self.session = job, team, session
        self.folder = session.run.folder and session.run.folder / "training"
        self.record = integrity.plain({**job.record, "members": team.members})
        self.state, self.loss_sum, self.step = team.state, jnp.zeros(len(team.keys)), 0

    def run(self, data: TrainData, observer: Observer, done: int) -> None:
        """Train to the end; `done`: steps of other teams, for the progress."""
        job, session, count = self.job, self.session, len(self.team.members)
        extra = self._restored(observer.begin(self.team, session))
        session.start(self.step)
        team = self.team._replace(state=self.state)
        watch = observer.watches
        taken = steps(job, team, data, session.mesh, watch=watch) if self.step < job.steps else ()
        for self.step, self.state, losses, presented in taken:
            if presented is not None:
                extra = observer.after_step(parallel.fetch(presented), extra)
            self.loss_sum = self.loss_sum + losses
            if backend.is_cpu():
                jax.block_until_ready(losses)
                session.bar.update(done + self.step * count)
            epoch = -(-self.step // job.steps_per_epoch)
            if self.step in (epoch * job.steps_per_epoch, job.steps):
                loss = self._epoch_loss(epoch)
                extra = observer.after_epoch(epoch, self.state, loss, extra)
                session.bar.update(done + self.step * count, loss=loss)
            signum, due = session.asked(self.step)
            if due:
                self._save(extra)
            session.interrupt(signum)
            if self.step == job.steps:
                break
        self._save(extra)
        if observer.finish(self.team, self.state, extra):
            clear(self.folder)

    def _restored(self, extra: Any) -> Any:
        """Take the state of a checkpoint, if there is one; returns its `extra`, else that given."""
        own = self.team.members
        if self.folder is not None:
            target = _shapes_of_members((self.state, self.loss_sum), len(own))
            saved = checkpoint.latest_step(
                self.folder,
                (target[0], extra, target[1]),
                self.record,
                missing=EARLIER,
                cut=True,  # earlier versions stored the repeats that fill up the devices, too
            )
            if saved is not None:
                self.step, (state, extra, loss_sum), _ = saved
                wanted = len(self.team.keys)
                self.state, self.loss_sum = _filled((state, loss_sum), len(own), wanted)
        self.state, self.loss_sum = parallel.place(
            (self.state, self.loss_sum), self.session.mesh, parallel.NETWORKS
        )
        return extra

    def _save(self, extra: Any) -> None:
        if self.folder is not None:
            count = len(self.team.members)
            own, losses = jax.tree.map(
                lambda x: x[:count], parallel.fetch((self.state, self.loss_sum))
            )
            checkpoint.save_step(self.folder, self.step, (own, extra, losses), self.record)

    def _epoch_loss(self, epoch: int) -> float:
        """Mean loss of the members in an epoch that ends; raises UserError if it is not finite."""
        sums = parallel.fetch(self.loss_sum)[: len(self.team.members)]
        means = sums / (self.step - (epoch - 1) * self.job.steps_per_epoch)
        _check_finite(means, self.state, self.team.members, epoch)
        self.loss_sum = jnp.zeros_like(self.loss_sum)
        return float(np.mean(means))


def _shapes_of_members(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), tree)


def _filled(tree: Any, count: int, wanted: int) -> Any:
    """Leaves [count, ...] with repeats of the last entry, [wanted, ...]."""
    index = np.minimum(np.arange(wanted), count - 1)
    return jax.tree.map(lambda x: x[index], tree)


def clear(folder: Path | None) -> None:
    """Remove a team's checkpoints, once its results are stored."""
    if folder is not None and parallel.is_primary():
        checkpoint.clear(folder)


@jax.jit
def _finite(variables: Any) -> jax.Array:
    """Which of N stacked networks have finite parameters only, bool [N]."""
    leaves = jax.tree.leaves(variables)
    return jnp.stack([jnp.isfinite(x).all(tuple(range(1, x.ndim))) for x in leaves]).all(0)


def _check_finite(losses: np.ndarray, state: TrainState, members: list[int], epoch: int) -> None:
    """The parameters too: XLA's fast maximum on CPU makes relu(NaN) zero, and the loss finite."""
    finite = np.isfinite(losses) & parallel.fetch(_finite(state.variables))[: len(members)]
    if not finite.all():
        bad = members[int(np.argmin(finite))]
        raise UserError(
            f"the loss or the parameters of network {bad} are not finite after epoch {epoch}; "
            "lower the learning rate."
        )
