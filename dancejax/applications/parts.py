"""What class-incremental learning is to do: settings, and the parts they come to."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from dancejax import checks, methods
from dancejax.applications.courses import WHOLE
from dancejax.applications.settings import (
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Source,
)
from dancejax.choices import CONTINUAL_PROTOCOL
from dancejax.coreset import CORESETS
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Paper

GDUMB = EvaluationSettings(CONTINUAL_PROTOCOL, default_repeats=3)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Class-incremental learning; the defaults are DM's (WACV 2023, section 4.3).

    Attributes:
      source: the data set.
      methods: methods and coresets that make the memory.
      steps: in how many the classes come.
      orders: how many orders of the classes, numbers 0..orders-1.
      ipc: images a class in the memory.
      paper_ipc: the methods' settings are their papers' at so many images a class.
      iterations: of a condensation (None: each paper's).
      config: settings of methods given by hand, for the methods that have them.
      network: of all methods, and what is trained on the memory.
      experts: for methods and coresets that need them, trained on the classes of each step alone.
      training: networks trained on the memory: how, and how many in each order.
      whole_epochs: of networks trained on all images of the classes seen, the upper bound (None:
        there is none).
      seed: of order 0; order n has seed + n.
    """

    source: Source
    methods: Sequence[str]
    steps: int = 5
    orders: int = 5
    ipc: int = 20
    paper_ipc: int = 10
    iterations: int | None = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    experts: ExpertSettings = dataclasses.field(default_factory=ExpertSettings)
    training: EvaluationSettings = GDUMB
    whole_epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*methods.METHODS, *CORESETS)
        for name in self.methods:
            if name not in known:
                raise UserError(f"unknown method {name!r}; choose among {', '.join(known)}.")
        for name in ("steps", "orders", "ipc", "paper_ipc"):
            checks.whole(name, getattr(self, name), 1)

    @property
    def experts_needed(self) -> int:
        """How many experts each step needs."""
        return max((self.experts_of(method) for method in self.methods), default=0)

    def experts_of(self, method: str) -> int:
        """How many of them a method or coreset uses."""
        if method in methods.METHODS:
            return self.experts.number if methods.needs_experts(method) else 0
        return int(method in CORESETS and CORESETS[method].needs == "experts")

    def parts(self) -> list["Part"]:
        """The parts, those of an order one after another."""
        every = [*self.methods, *([] if self.whole_epochs is None else [WHOLE])]
        return [Part(name, order) for order in range(self.orders) for name in every]

    def paper(self, method: str, dataset: Dataset) -> Paper:
        """Iterations and settings of a method: by hand, or its paper's at `paper_ipc`."""
        published = methods.paper(method, dataset, self.paper_ipc)
        known = (*methods.setting_types(method), "optimizer")
        own = {name: value for name, value in self.config.items() if name in known}
        steps = self.iterations or published.steps
        return dataclasses.replace(published, steps=steps, settings={**published.settings, **own})


class Part(NamedTuple):
    """One method in one order of the classes: what can be computed by itself."""

    method: str
    order: int

    @property
    def name(self) -> str:
        """Of its folder below the work folder."""
        return f"order-{self.order}/{self.method}"
