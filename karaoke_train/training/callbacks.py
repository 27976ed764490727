"""Callbacks that watch the loop: a progress bar, stopping on a signal, what resuming needs,
patience."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from tqdm import tqdm
from transformers import TrainerCallback

from karaoke_train.atomic_file import replacing
from karaoke_train.model.resumable import RUN_FILE
from karaoke_train.training.spared import spared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from accelerate import Accelerator
    from transformers import TrainerControl, TrainerState, TrainingArguments

# Seconds in which a further signal is the first one's: Slurm and a terminal signal torchrun and
# what it started, and torchrun hands on what it gets
SAME_SIGNAL: Final = 2.0
SHOWN = {  # metric -> what the terminal calls it
    "eval_loss": "val loss",
    "eval_note_accuracy": "right semitone",
    "eval_pitch_tolerance_acc": "within a semitone",
    "eval_onset_pitch_f1": "COnP",
    "eval_note_f1": "COnPOff",
}


class ProgressBar(TrainerCallback):
    """A bar with loss and metrics on a terminal; in any case one line per epoch."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._loss: float | None = None  # until a first one is logged

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar where training begins or goes on."""
        if state.is_world_process_zero:
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="training",
                unit="step",
                dynamic_ncols=True,
                disable=not sys.stderr.isatty(),
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One step further."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Loss and pitch metrics in the bar; a line for a validation."""
        if self._bar is None or not logs:
            return
        if "loss" in logs:
            self._loss = logs["loss"]
            right = logs.get("note_accuracy")
            tail = "" if right is None else f" right semitone {right:.2f}"
            self._bar.set_postfix_str(f"loss {self._loss:.3f}{tail}")
        if "eval_loss" in logs:
            values = [f"{word} {logs[key]:.3f}" for key, word in SHOWN.items() if key in logs]
            epoch = f"epoch {state.epoch or 0:g}/{args.num_train_epochs:g}"
            loss = [] if self._loss is None else [f"loss {self._loss:.3f}"]
            self._bar.write("  ".join([epoch, *loss, *values]), file=sys.stderr)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Leave the terminal clean, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is Ctrl-C while data are read and models built, and after the last step. By itself
    it ends Python at once: a log without its end, and the upload beside it waiting on."""
    owner = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a data worker, forked with this handler in place
            os._exit(128 + number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class LogWithEpoch(TrainerCallback):
    """Has an epoch's last steps logged before its checkpoint is written. What they sum up to is in
    no checkpoint: a resumed run would log another loss than an unbroken one."""

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log, unless all of its steps are logged."""
        control.should_log = True


class StopOnSignal(TrainerCallback):
    """Ctrl-C and SIGTERM end training after the step, with a checkpoint; a second one at once.

    A distributed run asks every rank after each step, so that all of them stop at the same one.
    Use as a context manager around `Trainer.train`.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self.accelerator: Accelerator | None = None
        self._before: dict[int, Any] = {}
        self._owner = 0  # process id
        self._caught_at = 0.0  # of time.monotonic

    def __enter__(self) -> StopOnSignal:
        self._owner = os.getpid()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop and save if any rank was asked to."""
        if self._asked():
            control.should_training_stop = True
            control.should_log = True  # see LogWithEpoch
            control.should_save = True
            control.should_evaluate = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer ends a broken-off epoch as if it were whole: keep it from validating."""
        if self.caught is not None:
            control.should_evaluate = False
            control.should_save = False
            control.should_log = False

    def _asked(self) -> bool:
        if self.accelerator is None or self.accelerator.num_processes == 1:
            return self.caught is not None
        flag = torch.tensor([int(self.caught or 0)], device=self.accelerator.device)
        worst = int(self.accelerator.gather(flag).max())
        if worst and self.caught is None:
            self.caught = signal.Signals(worst)
        return worst > 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a data worker, forked with this handler in place
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return  # a terminal's Ctrl-C reaches workers too; training still needs them
        now = time.monotonic()
        if self.caught is not None:
            if _launched() and now - self._caught_at < SAME_SIGNAL:
                return
            raise KeyboardInterrupt
        self._caught_at = now
        self.caught = signal.Signals(number)
        print(f"\n{self.caught.name}: stopping after this step; again to stop now", file=sys.stderr)


def _launched() -> bool:
    """Whether torchrun, or what is built on it, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


class RunFileCallback(TrainerCallback):
    """Puts the run's log and flags into each checkpoint, last: its presence says "complete"."""

    def __init__(self, log_path: Path | None, flags: dict[str, Any]) -> None:
        self.log_path = log_path
        self.flags = flags
        self.latest: Path | None = None

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After the Trainer has written a checkpoint, or could not."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if not (folder / "trainer_state.json").is_file():  # which it writes last
            return
        if state.is_world_process_zero and self.log_path is not None:
            content = {"log": str(self.log_path.resolve()), "flags": self.flags}
            with spared(folder), replacing(folder / RUN_FILE) as file:
                file.write(f"{json.dumps(content, indent=2)}\n".encode())
            if not (folder / RUN_FILE).is_file():
                return
        self.latest = folder


class Patience(TrainerCallback):
    """Stop when the metric was not better for some validations.

    Counted from the Trainer's own log history, which its checkpoints hold: a resumed run is as
    patient as an unbroken one.
    """

    def __init__(self, patience: int, metric: str) -> None:
        self.patience = patience
        self.metric = metric

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look back over all validations so far."""
        values = [entry[self.metric] for entry in state.log_history if self.metric in entry]
        best = max(range(len(values)), key=values.__getitem__, default=0)
        if len(values) - 1 - best >= self.patience:
            control.should_training_stop = True
