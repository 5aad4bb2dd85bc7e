from .folder import (
    check_space as check_space,
    check_workdir as check_workdir,
    held as held,
    lock as lock,
    open_workdir as open_workdir,
    owned as owned,
    read_json as read_json,
    write_bytes as write_bytes,
    write_json as write_json,
)
from .log import MetricsLog as MetricsLog
from .progress import Every as Every, Progress as Progress, duration as duration, say as say
from .run import QUIET as QUIET, Run as Run, Session as Session, of as of
from .signals import (
    Interrupted as Interrupted,
    StopFlag as StopFlag,
    begin as begin,
    stop_on_signals as stop_on_signals,
    when_it_begins as when_it_begins,
)
