"""The same record log for Lightning: `Trainer(logger=LightningRunLog(log))`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from karaoke_train.runlog import RunLog

STATUS = {"success": "finished", "finished": "finished", "interrupted": "interrupted"}


class LightningRunLog(Logger):
    """Writes what a LightningModule logs: names with `val` in front to `val` records, others to
    `train`. Rank 0 alone writes. Closes the log when Lightning ends.

    log: an open RunLog. Give the module's hyperparameters to `RunLog.create` as its config:
    what Lightning reports of them later has no place in a run's first line.
    """

    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self.log = log
        self._epoch = 0.0

    @property
    def name(self) -> str:
        """The project."""
        return self.log.project

    @property
    def version(self) -> str:
        """The run's id."""
        return self.log.run_id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One record of train metrics, one of val metrics, whichever there are."""
        values = dict(metrics)
        self._epoch = float(values.pop("epoch", self._epoch))
        val = {_named(k, "val"): v for k, v in values.items() if _is_val(k)}
        train = {_named(k, "train"): v for k, v in values.items() if not _is_val(k)}
        if train:
            self.log.train(step or 0, self._epoch, train)
        if val:
            self.log.val(step or 0, self._epoch, val)

    @rank_zero_only
    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing: the run's config was written when the log was created."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run as Lightning says it ended."""
        self.log.close(STATUS.get(status, "failed"))


def _is_val(key: str) -> bool:
    return key.startswith(("val_", "val/"))


def _named(key: str, kind: str) -> str:
    """`val_loss` and `val/loss` alike become `val/loss`, `loss` becomes `train/loss`."""
    bare = key.removeprefix(f"{kind}_").removeprefix(f"{kind}/")
    return f"{kind}/{bare}"
