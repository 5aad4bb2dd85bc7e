"""What is given of a whole job by hand, and what then holds: by hand > preset > default."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from dancejax import coreset, methods
from dancejax.applications import plan
from dancejax.applications.settings import (
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Say,
    Source,
    fill,
)
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.data.huggingface import PREFIX
from dancejax.errors import UserError
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is given by hand; None where a preset or a default chooses.

    Attributes:
      source: the data set.
      ipc: stored images per class.
      method: one of `methods.METHODS` (None: what `usual_method` says).
      preset: one of PRESETS (None: by the data set).
      steps: iterations.
      config: settings of the method.
      init: what the stored images start from (`initialisation.initial_pixels`).
      seed: of everything random.
      network: what is trained.
      experts: for methods that need them.
      evaluation: how the result is evaluated.
      evaluate: whether it is, beside as many random images (None: with auto).
      picture_every: iterations between pictures (None: a tenth of all; 0: none).
      minutes: that everything is to take, for which auto then chooses (None: its usual amounts).
    """

    source: Source
    ipc: int
    method: str | None = None
    preset: str | None = None
    steps: int | None = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    init: str | CondensedSet | None = None
    seed: int = 0
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    experts: ExpertSettings = dataclasses.field(default_factory=ExpertSettings)
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    evaluate: bool | None = None
    picture_every: int | None = None
    minutes: float | None = None

    @property
    def given(self) -> set[str]:
        """The amounts of a plan that are given by hand."""
        amounts = {
            "steps": self.steps,
            "expert_epochs": self.experts.epochs or self.experts.folder,
            "epochs": self.evaluation.epochs,
        }
        return {name for name, value in amounts.items() if value is not None}


def settings_for(source: Source, ipc: int, **changes: Any) -> Settings:
    """Return settings by hand from fields of a `plan.Plan`, the rest of which is chosen."""
    known = [field.name for field in dataclasses.fields(plan.Plan)]
    for name in changes:
        if name not in known:
            raise UserError(f"a plan has no {name!r}; it has {', '.join(known)}.")
    return Settings(
        source,
        ipc,
        steps=changes.get("steps"),
        config={name: changes[name] for name in ("batch_real",) if name in changes},
        network=NetworkSettings(options={k: changes[k] for k in ("width",) if k in changes}),
        experts=ExpertSettings(changes.get("experts"), changes.get("expert_epochs")),
        evaluation=EvaluationSettings(epochs=changes.get("epochs"), repeats=changes.get("repeats")),
    )


USUAL_METHODS = {"paper": "dance", "auto": "dancejax"}
"""By preset: the method that papers compare with, and the one that does best in a short time."""


def preset_of(source: Source, preset: str | None = None) -> str:
    """Return the preset that holds: the given one, else by the data set's name."""
    return preset or ("paper" if plan.published(source.name) else "auto")


def usual_method(source: Source, preset: str | None = None) -> str:
    """Return the method where none is given.

    Args:
      source: the data set, which is not read.
      preset: the given one, if any.
    """
    return USUAL_METHODS[preset_of(source, preset)]


class Chosen(NamedTuple):
    """Settings of which none is left open but those that have defaults."""

    settings: Settings
    method: str
    preset: str
    config: dict[str, Any]  # of the method
    init: str | CondensedSet
    plan: plan.Plan | None  # with auto
    used: int | None  # experts


def choose(settings: Settings, train: Dataset, say: Say, fitted: plan.Plan | None = None) -> Chosen:
    """Fill what is not given by the preset's.

    Args:
      settings: what is given.
      train: the training set.
      say: takes what is chosen.
      fitted: the plan that holds with auto (None: its usual one).
    """
    preset = preset_of(settings.source, settings.preset)
    method = settings.method or USUAL_METHODS[preset]
    experts = dataclasses.replace(settings.experts, trajectories=methods.needs_trajectories(method))
    settings, whole_pool = dataclasses.replace(settings, experts=experts), experts.used is None
    published = methods.paper(method, train, settings.ipc)
    config, steps, init, chosen = {**published.settings}, published.steps, published.init, None
    by_hand = {**({"steps": settings.steps} if settings.steps else {}), **settings.config}
    coreset.check_ipc(train, settings.ipc)
    if preset == "auto":
        usual = methods.config_of(method, config).factor
        factor = settings.config.get("factor", usual)
        chosen = fitted or plan.choose(train, settings.ipc, factor)
        steps, init = chosen.steps, plan.INIT
        config |= plan.method_settings(method, chosen)
        settings = _filled(settings, chosen)
    else:
        network = settings.network.over({"name": "convnet", **published.network})
        settings = dataclasses.replace(settings, network=network)
    settings = dataclasses.replace(settings, steps=settings.steps or steps)
    values = {"steps": settings.steps, **config, **settings.config}
    if preset == "paper" and not published.published:
        say(f"{published.title} has no published settings; its own defaults hold")
    say(f"preset {preset}: {listing({'method': method, **values})}")
    if by_hand:
        say(f"given by hand: {listing(by_hand)}")
    config |= settings.config
    used = None if whole_pool else settings.experts.number
    return Chosen(settings, method, preset, config, settings.init or init, chosen, used)


def _filled(settings: Settings, chosen: plan.Plan) -> Settings:
    """Settings with those of a plan where none are given."""
    count = {"count": chosen.experts, "epochs": chosen.expert_epochs}
    network = settings.network
    if settings.experts.folder is None:
        network = network.over({"name": "convnet", "width": chosen.width})
    return dataclasses.replace(
        settings,
        network=network,
        experts=fill(settings.experts, count),
        evaluation=fill(settings.evaluation, dataclasses.asdict(chosen)),
    )


def listing(values: Json) -> str:
    """Values by name, as a sentence names them."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def default_folder(dataset: str, method: str, ipc: int) -> Path:
    """Return where a run is kept for which no folder is named: runs/DATASET-METHOD-ipcIPC.

    Args:
      dataset: name or path of the data set.
      method: its name.
      ipc: stored images per class.
    """
    given = dataset.removeprefix(PREFIX)
    path = Path(given)
    if path.suffix.lower() == ".npz":
        name = path.name[: -len(".npz")]
    elif path.is_dir():
        path = path.resolve()
        sized = path.name[:1].isdigit()  # as imagenette/160px
        name = f"{path.parent.name}-{path.name}" if sized and path.parent.name else path.name
    else:
        name = given.strip("/").replace("/", "-")
    return Path("runs") / f"{name}-{method}-ipc{ipc}"
