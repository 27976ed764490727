"""The Trainer's events in, records out: the one place where training meets the record log.

    Trainer(..., callbacks=[RunLogCallback(log)])

is all that anybody's `transformers.Trainer` needs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from karaoke_train.runlog import RunLog

    Pictures = Callable[[int], Mapping[str, Path]]

# What the Trainer logs at the very end: totals of the whole run, no metrics of a step.
TOTALS = {"train_runtime", "train_loss", "total_flos"}


class RunLogCallback(TrainerCallback):
    """Writes what the Trainer logs: `train` and `val` records, a summary each epoch, pictures.

    log: an open RunLog; closing it is its owner's business. Only rank 0 writes, so that a
    distributed run has one log; other ranks may pass None.
    pictures: called with the step after each validation; returns key -> PNG.

    A metric named `x` is written as `train/x`, one named `eval_x` as `val/x`. The epoch summary
    has the mean of each train metric over the epoch's logged steps.
    """

    def __init__(self, log: RunLog | None, pictures: Pictures | None = None) -> None:
        self.log = log
        self.pictures = pictures
        self._train: dict[str, list[float]] = defaultdict(list)
        self._val: dict[str, float] = {}
        self._ended_epoch: int | None = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One `train` or `val` record."""
        log = self._writing(state)
        if log is None or not logs or not TOTALS.isdisjoint(logs):
            return
        metrics = {k: v for k, v in logs.items() if k not in ("epoch", "step")}
        epoch = round(float(state.epoch or 0.0), 4)
        val = {f"val/{k[5:]}": v for k, v in metrics.items() if k.startswith("eval_")}
        train = {f"train/{k}": v for k, v in metrics.items() if not k.startswith("eval_")}
        if train:
            log.train(state.global_step, epoch, train)
            for key, value in train.items():
                if isinstance(value, int | float):
                    self._train[key].append(float(value))
        if val:
            log.val(state.global_step, epoch, val)
            self._val = val

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The pictures of a validation, and the summary of an epoch that ended with it."""
        log = self._writing(state)
        if log is not None and self.pictures is not None:
            for key, path in self.pictures(state.global_step).items():
                log.media(state.global_step, key, path)
        self._summarise(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember that the epoch ended; its last metrics are still to come."""
        epoch = float(state.epoch or 0.0)
        if abs(epoch - round(epoch)) < 1e-6:  # else it was broken off, and has no summary
            self._ended_epoch = round(epoch)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Summarise an epoch that no validation followed."""
        self._summarise(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Summarise the last epoch if no validation followed it."""
        self._summarise(state)

    def _writing(self, state: TrainerState) -> RunLog | None:
        return self.log if state.is_world_process_zero else None

    def _summarise(self, state: TrainerState) -> None:
        log = self._writing(state)
        if self._ended_epoch is None:
            return
        if log is not None:
            train = {key: sum(values) / len(values) for key, values in self._train.items()}
            log.epoch_summary(
                self._ended_epoch,
                train_loss=train.pop("train/loss", None),
                val_loss=self._val.pop("val/loss", None),
                train_metrics=_bare(train),
                val_metrics=_bare(self._val),
            )
        self._train.clear()
        self._val, self._ended_epoch = {}, None


def _bare(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without the `train/` or `val/` in front: the summary's field says which it is."""
    return {key.split("/", 1)[-1]: value for key, value in metrics.items()}
