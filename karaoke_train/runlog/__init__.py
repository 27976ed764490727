"""The one record format, and what reads and writes it. No torch, no wandb behind this import."""

from karaoke_train.runlog.format import BadRecord, RunLogError
from karaoke_train.runlog.parts import LogBusy
from karaoke_train.runlog.writer import RunLog

__all__ = ["BadRecord", "LogBusy", "RunLog", "RunLogError"]
