"""The one record format, and what reads and writes it. No torch, no wandb behind this import."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than all else here
if TYPE_CHECKING:
    from karaoke_train.runlog.format import BadRecord, RunLogError
    from karaoke_train.runlog.parts import LogBusy
    from karaoke_train.runlog.writer import RunLog

__all__ = ["BadRecord", "LogBusy", "RunLog", "RunLogError"]


def __getattr__(name: str) -> object:
    """The names above, imported on use: see `karaoke_train.__getattr__`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from karaoke_train.runlog import parts, writer

    return getattr(parts if hasattr(parts, name) else writer, name)
