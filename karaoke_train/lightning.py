"""The import path that users know: `from karaoke_train.lightning import LightningRunLog`."""

from karaoke_train.training.lightning import LightningRunLog

__all__ = ["LightningRunLog"]
