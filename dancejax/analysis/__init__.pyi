from .base import Analysis as Analysis, Material as Material, Result as Result
from .measuring import (
    ANALYSES as ANALYSES,
    config as config,
    measure as measure,
    to_json as to_json,
)
from .settings import Setting as Setting, setting_users as setting_users
