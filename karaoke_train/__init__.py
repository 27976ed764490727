"""Singing voice in, notes out; every metric kept in a record log. Importing this loads no torch."""

from karaoke_train.runlog import RunLog
from karaoke_train.runlog.current_run import finish, init, log

__all__ = ["RunLog", "finish", "init", "log"]
