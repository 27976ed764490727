"""The import path that users know: `from karaoke_train.callback import RunLogCallback`."""

from karaoke_train.training.report_to import register
from karaoke_train.training.runlog_callback import RunLogCallback

__all__ = ["RunLogCallback", "register"]
