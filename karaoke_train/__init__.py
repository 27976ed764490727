"""Singing voice in, notes out; every metric kept in a record log. Importing this loads no torch."""

from karaoke_train.runlog import RunLog

__all__ = ["RunLog"]
