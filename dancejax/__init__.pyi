from . import (
    coreset as coreset,
    data as data,
    exchange as exchange,
    methods as methods,
    networks as networks,
)
from .condensation import condense as condense
from .condensed import CondensedSet as CondensedSet
from .data.dataset import Dataset as Dataset
from .errors import UserError as UserError
from .evaluation import Evaluation as Evaluation, evaluate as evaluate
from .runs.run import Run as Run
from .training.experts import Experts as Experts, train_experts as train_experts

__version__: str
