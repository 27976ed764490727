"""The import path for users: `from karaoke_train.accelerate import RunLogTracker`."""

from karaoke_train.training.accelerate import RunLogTracker

__all__ = ["RunLogTracker"]
