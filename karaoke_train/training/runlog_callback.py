"""The Trainer's events in, records out: the one place where training meets the record log.

    Trainer(..., callbacks=[RunLogCallback(log)])

is all that anybody's `transformers.Trainer` needs.
"""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from math import floor
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from karaoke_train.runlog.metric_names import (
    LAST_WORD,
    TIMED,
    MetricNames,
    number,
    transformers_names,
)
from karaoke_train.runlog.objects import fields_of
from karaoke_train.runlog.warn import warn
from karaoke_train.runlog.writer import checked_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from karaoke_train.runlog import RunLog

    Pictures = Callable[[int], Mapping[str, Path]]


class RunLogCallback(TrainerCallback):
    """Writes what the Trainer logs: `train` and `val` records, a summary each epoch, pictures; and
    its TrainingArguments and the model's config into the run's config.

    log: a RunLog. Only rank 0 writes, so that a distributed run has one log; other ranks may
    pass None. pictures: called with the step after each validation; returns key -> PNG. close: end
    the run when training ends, and again after an evaluation or a prediction that comes later;
    False leaves that to the caller, as does a `with` block around it. config: False leaves the
    run's config as it is.

    The names are those of `metric_names`: `x` is `train/x`, `eval_x` is `val/x`, `test_x` is
    `test/x`. What an evaluation or a prediction with a prefix of its own logs is under that prefix.
    The Trainer's last word has its mean loss as `train/train_loss`, as `train/loss` is a step's.
    The epoch summary has the mean of each train metric over the epoch's logged steps. With several
    evaluation sets its `val_loss` is that of the one which `metric_for_best_model` names, else of
    the first.
    """

    def __init__(
        self,
        log: RunLog | None,
        pictures: Pictures | None = None,
        *,
        close: bool = True,
        config: bool = True,
    ) -> None:
        self.log = None if log is None else checked_log(log)
        self.pictures = pictures
        self._close = close
        self._config = config
        self._names = MetricNames()
        self._training = False
        self._status = "finished"  # as which a run that had ended ends again
        self._train: dict[str, list[float]] = defaultdict(list)
        self._val: dict[str, Any] = {}
        self._ended_epoch: int | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """The settings of the training and the model, into the run's config."""
        self._training, self._status = True, "finished"
        self._train.clear()
        self._recall(state)
        log = self._writing(state)
        if log is None:
            return
        if self._close:
            log.end_at_exit()  # an exception may end the training, and nobody the run
        if self._config:
            log.update_config(settings_of(args, model))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One `train` or `val` record, or one of each."""
        if (logs or {}).keys() >= LAST_WORD:
            self._summarise(args, state)
        self._write(state, dict(logs or {}))
        self._stage_ended(state)

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The metrics of a prediction, which the Trainer does not log itself."""
        self._write(state, dict(metrics or {}))
        self._stage_ended(state)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The pictures of a validation."""
        log = self._writing(state) if self.pictures is not None else None
        if log is not None and self.pictures is not None:
            for key, path in self.pictures(state.global_step).items():
                log.media(state.global_step, key, path)
        self._stage_ended(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember that the epoch ended; its last metrics are still to come."""
        epoch = float(state.epoch or 0.0)
        if abs(epoch - round(epoch)) < 1e-6:  # else it was broken off, and has no summary
            self._ended_epoch = round(epoch)

    # An epoch's validations, of which there may be several, are over when anything else begins

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Summarise the epoch that a checkpoint was made after."""
        self._summarise(args, state)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Summarise the epoch before."""
        self._summarise(args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Summarise the last epoch, and end the run."""
        self._summarise(args, state)
        self._training = False
        self._stage_ended(state)

    def _recall(self, state: TrainerState) -> None:
        """What was logged before, of an epoch that a resumed training is in the middle of."""
        steps = [entry for entry in state.log_history if "loss" in entry and "epoch" in entry]
        # Not of the newest of these: an epoch's last steps may not have been logged by its end
        begun = floor(max((entry["epoch"] for entry in steps), default=0.0))
        begun = max(begun, floor(state.epoch or 0.0))
        for entry in steps:
            if entry["epoch"] > begun:
                values = {key: x for key, x in entry.items() if key not in ("epoch", "step")}
                self._note(transformers_names(self._names, values), values)

    def _note(self, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
        """Keep the training's metrics for the epoch's summary."""
        for key, value in values.items():
            if names[key].startswith("train/") and (x := number(value)) is not None:
                self._train[names[key]].append(x)

    def _writing(self, state: TrainerState) -> RunLog | None:
        """The log, going on if it had ended; None for other ranks."""
        log = self.log if state.is_world_process_zero else None
        if log is None or log.ended is None:
            return log
        if not self._training:
            self._status = log.ended
        return log if log.reopen() else None

    def _stage_ended(self, state: TrainerState) -> None:
        if self._close and not self._training and state.is_world_process_zero and self.log:
            self.log.close(self._status, final=False)

    def _write(self, state: TrainerState, metrics: dict[str, Any]) -> None:
        epoch = round(float(state.epoch or 0.0), 4)
        if metrics.get("epoch") == state.epoch:  # the Trainer's own; else somebody's metric
            metrics.pop("epoch", None)
        log = self._writing(state) if metrics else None
        if log is None:
            return
        last_word = metrics.keys() >= LAST_WORD
        names = self._names_of(metrics, last_word)
        named = {names[key]: value for key, value in metrics.items()}
        train = {key: value for key, value in named.items() if key.startswith("train/")}
        val = {key: value for key, value in named.items() if key not in train}
        if train:
            log.train(state.global_step, epoch, train)
        if val:
            log.val(state.global_step, epoch, val)
        if not last_word:
            self._note(names, metrics)
        self._val |= {key: value for key, value in val.items() if key.startswith("val/")}

    def _names_of(self, metrics: Mapping[str, Any], last_word: bool) -> dict[str, str]:
        names = transformers_names(self._names, metrics)
        if not last_word:
            for sentence in self._names.news(names):
                warn(sentence)
        return names

    def _summarise(self, args: TrainingArguments, state: TrainerState) -> None:
        if self._ended_epoch is None:
            return
        log = self._writing(state)
        if log is not None:
            train = {key: sum(values) / len(values) for key, values in self._train.items()}
            best = args.metric_for_best_model if args is not None else None
            loss = loss_key(self._val, best or "")
            val_loss = self._val.get(loss)
            if loss == "val/loss":  # that of one set among several stays in its place, too
                self._val.pop(loss, None)
            log.epoch_summary(
                self._ended_epoch,
                train_loss=train.pop("train/loss", None),
                val_loss=val_loss,
                train_metrics=_bare(train),
                val_metrics=_bare(self._val),
            )
        self._train.clear()
        self._val, self._ended_epoch = {}, None


def settings_of(args: TrainingArguments, model: Any = None) -> dict[str, Any]:
    """TrainingArguments over the model's config, as transformers' own WandbCallback has them."""
    adapters = getattr(model, "peft_config", None)
    found: dict[str, Any] = {}
    if isinstance(adapters, dict):
        found["peft_config"] = {name: _as_dict(adapter) for name, adapter in adapters.items()}
    own = _as_dict(getattr(model, "config", None))
    found |= fields_of(own) or ({} if own is None else {"model_config": own})
    with suppress(Exception):  # a method of that name in somebody's own model
        found["model/num_parameters"] = model.num_parameters()
    arguments: dict[str, Any] = args.to_dict()  # which hides its tokens
    return found | arguments


def loss_key(val: Mapping[str, Any], best: str = "") -> str:
    """Under which key of an epoch's validations its loss is. `val/loss`; with several sets, that of
    the set whose name `best` (metric_for_best_model) begins with, else of the first."""
    if "val/loss" in val:
        return "val/loss"
    sets = [m[1] for key in val if (m := TIMED.fullmatch(key.removeprefix("val/")))]
    losses = [name for name in sets if f"val/{name}_loss" in val]
    best = best.removeprefix("eval_")
    named = [name for name in losses if best.startswith(f"{name}_")]
    chosen = max(named, key=len) if named else losses[0] if losses else ""
    return f"val/{chosen}_loss" if chosen else "val/loss"


def _as_dict(config: Any) -> Any:
    with suppress(Exception):  # somebody's own, which may be anything
        return config.to_dict()
    return config


def _bare(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Without the `train/` or `val/` in front: the summary's field says which it is."""
    return {key.split("/", 1)[-1]: value for key, value in metrics.items()}
