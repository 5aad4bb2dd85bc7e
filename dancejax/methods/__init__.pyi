from .about import (
    ablations as ablations,
    setting_defaults as setting_defaults,
    setting_limits as setting_limits,
    setting_meanings as setting_meanings,
    setting_types as setting_types,
)
from .base import Context as Context, Method as Method, State as State
from .making import (
    METHODS as METHODS,
    PROTOCOL as PROTOCOL,
    STEPS as STEPS,
    config_of as config_of,
    cpu_settings as cpu_settings,
    create as create,
    needs_experts as needs_experts,
    needs_trajectories as needs_trajectories,
    paper as paper,
    protocol_of as protocol_of,
    title as title,
    usual_optimizer as usual_optimizer,
    without_flips as without_flips,
)
from .optimizers import OPTIMIZERS as OPTIMIZERS, Optimizer as Optimizer
from .papers import (
    Ablation as Ablation,
    DatasetFacts as DatasetFacts,
    DatasetLike as DatasetLike,
    Paper as Paper,
)
