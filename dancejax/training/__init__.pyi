from .config import (
    EARLIER as EARLIER,
    TrainConfig as TrainConfig,
    changed as changed,
    drop_epochs as drop_epochs,
    make_config as make_config,
)
from .step import (
    Batch as Batch,
    Common as Common,
    Presented as Presented,
    Recipe as Recipe,
    TrainData as TrainData,
    TrainState as TrainState,
    batch_indices as batch_indices,
    batch_length as batch_length,
    draw as draw,
    in_common as in_common,
    indices as indices,
    init_state as init_state,
    steps_per_epoch as steps_per_epoch,
    train_data as train_data,
    train_step as train_step,
)
from .testing import (
    accuracy_by_class as accuracy_by_class,
    accuracy_in_parts as accuracy_in_parts,
    correct as correct,
    correct_in_parts as correct_in_parts,
    predict as predict,
    predict_all as predict_all,
)
