"""The same record log for Lightning: `Trainer(logger=LightningRunLog(log))`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from karaoke_train.runlog.metric_names import MetricNames
from karaoke_train.runlog.ranks import NoSink
from karaoke_train.runlog.warn import warn
from karaoke_train.runlog.writer import checked_log

if TYPE_CHECKING:
    from argparse import Namespace

    from karaoke_train.runlog import RunLog

STATUS = {"success": "finished", "finished": "finished", "interrupted": "interrupted"}


class LightningRunLog(Logger):
    """Writes what a LightningModule logs, and its hyperparameters into the run's config. Rank 0
    alone writes. Lightning ends the run after each stage (fit, validate, test, predict), and the
    next one goes on with it; a `with` block around the run ends it instead.

    log: a RunLog. The names are those of `metric_names`: `val_loss` is `val/loss`, in a `val`
    record, as is `test_loss`, `test/loss`; `loss` and `train_loss` are `train/loss`, and where a
    module logs both, the second is `train/train_loss`.
    """

    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self.log = checked_log(log)
        self._names = MetricNames()
        self._epoch = 0.0
        self._step = 0

    @property
    def name(self) -> str:
        """The project."""
        return self.log.project

    @property
    def version(self) -> str:
        """The run's id."""
        return self.log.run_id

    @property
    def save_dir(self) -> str | None:
        """The log folder: without it Lightning puts checkpoints into the working folder, and
        LightningCLI fails. None on other ranks, which Lightning tells rank 0's."""
        path = self.log.path
        return None if path == NoSink.path else str(path.parent)

    @property
    def experiment(self) -> RunLog:
        """The run log itself, for pictures and the like: `self.logger.experiment.media(…)`."""
        return self.log

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One record of train metrics, one of val and test metrics, whichever there are."""
        values = dict(metrics)
        self._epoch = float(values.pop("epoch", self._epoch))
        self._step = self._step if step is None else int(step)
        if not values or not self.log.reopen():
            return
        names = self._names.of(values)
        for sentence in self._names.news(names):
            warn(sentence)
        train = {names[k]: v for k, v in values.items() if names[k].startswith("train/")}
        val = {names[k]: v for k, v in values.items() if names[k] not in train}
        if train:
            self.log.train(self._step, self._epoch, train)
        if val:
            self.log.val(self._step, self._epoch, val)

    @rank_zero_only
    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """The module's and data module's hyperparameters, into the run's config."""
        self.log.update_config(params)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run, until the next stage, as Lightning says that this one ended."""
        interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt)  # which it calls a failure
        ended = "interrupted" if interrupted else STATUS.get(status, "failed")
        self.log.close(ended, final=False)
