"""Settings in, a trained model out: data, model and Trainer put together."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from karaoke_train.dataset.batches import collate
from karaoke_train.dataset.load import Data, dataset, worker_count
from karaoke_train.inference.plot import piano_roll_png
from karaoke_train.model.checkpoints import save_model
from karaoke_train.model.model import VoiceToNotesModel
from karaoke_train.settings import TrainSettings
from karaoke_train.training.callbacks import (
    LogWithEpoch,
    Patience,
    ProgressBar,
    RunFileCallback,
    StopOnSignal,
)
from karaoke_train.training.encoded import EncodedCache
from karaoke_train.training.spared import spared
from karaoke_train.training.trainer import NoteTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

BEST = "onset_pitch_f1"  # COnP: what singing transcription is compared by


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    status: finished or interrupted. history: the Trainer's log entries, over resumes.
    best: folder of the best model, None when interrupted before the first validation.
    checkpoint: the newest checkpoint, None when none could be written.
    epochs: trained, over resumes.
    """

    status: str
    history: list[dict[str, Any]]
    best: Path | None
    checkpoint: Path | None
    epochs: float


def fit(
    settings: TrainSettings,
    data: Data,
    model: VoiceToNotesModel,
    *,
    run_dir: Path,
    callbacks: Sequence[TrainerCallback],
    log_path: Path | None = None,
    flags: dict[str, Any] | None = None,
    resume_from: Path | None = None,
) -> Outcome:
    """Train. Everything the run leaves is in `run_dir`: checkpoints, `best`, nothing else.

    callbacks: the record log's, and any others. log_path and flags go into the checkpoints for
    `--resume`. A signal ends training with a checkpoint and the status `interrupted`.
    """
    features = model.config.feature_settings
    run_file = RunFileCallback(log_path, flags or {})
    stop, bar = StopOnSignal(), ProgressBar()
    heard = dataset(data.train, features, settings, augments=settings.augment)
    trainer = NoteTrainer(
        model=model,
        args=_arguments(settings, run_dir, data),
        train_dataset=heard,
        eval_dataset=dataset(data.val, features, settings) if data.val else None,
        data_collator=collate,
        callbacks=[*callbacks, run_file, LogWithEpoch(), stop, bar],
        features=features,
        encoder_lr=settings.encoder_rate,
        cache=EncodedCache() if model.has_fixed_states and heard.augment is None else None,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_EpochOrder(trainer))
    if data.val:
        trainer.add_callback(Patience(settings.patience, f"eval_{BEST}"))
        trainer.add_callback(KeepBest(trainer, run_dir / "best"))
    picture = ValidationPicture(trainer)
    for callback in callbacks:
        if getattr(callback, "pictures", False) is None:
            callback.pictures = picture  # type: ignore[attr-defined]
    stop.accelerator = trainer.accelerator
    try:
        with stop:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    finally:
        bar.close()
        picture.close()
    best = run_dir / "best"
    # Of a best checkpoint that could not be written, `best` alone has the model
    kept = trainer.state.best_model_checkpoint
    loaded = not data.val or (kept is not None and Path(kept).is_dir())
    if stop.caught is None and trainer.is_world_process_zero() and (loaded or not best.is_dir()):
        with spared(best):
            save_model(trainer.accelerator.unwrap_model(trainer.model), best)
    return Outcome(
        status="finished" if stop.caught is None else "interrupted",
        history=trainer.state.log_history,
        best=best if best.is_dir() else None,
        checkpoint=run_file.latest or resume_from,
        epochs=float(trainer.state.epoch or 0.0),
    )


class KeepBest(TrainerCallback):
    """Keeps the best model so far, from the first validation on: a run that is killed has one."""

    def __init__(self, trainer: NoteTrainer, folder: Path) -> None:
        self.trainer = trainer
        self.folder = folder
        self._score: float | None = None  # of the model that is there

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the model where no validation before was as good; resumed runs look back, too."""
        key = f"eval_{BEST}"
        values = [entry[key] for entry in state.log_history if key in entry]
        if self._score is None:
            self._score = max(values[:-1], default=-1.0)
        if state.is_world_process_zero and values[-1] > self._score:
            with spared(self.folder):
                save_model(self.trainer.accelerator.unwrap_model(self.trainer.model), self.folder)
                self._score = values[-1]


class ValidationPicture:
    """The first validation segment's notes over its spectrogram, drawn after each validation."""

    def __init__(self, trainer: NoteTrainer) -> None:
        self.trainer = trainer
        self._folder = tempfile.TemporaryDirectory(prefix="karaoke-train-")

    def close(self) -> None:
        """Remove the pictures: the run has copies of its own."""
        self._folder.cleanup()

    def __call__(self, step: int) -> dict[str, Path]:
        shown = self.trainer.shown
        if shown is None:
            return {}
        path = Path(self._folder.name) / f"piano_roll_{step}.png"
        title = f"step {step}: reference outlined, prediction filled"
        drawn: dict[str, Path] = {}
        with spared(path):
            piano_roll_png(
                path,
                shown.spectrogram,
                self.trainer.features,
                shown.predicted,
                shown.reference,
                title=title,
            )
            drawn["val/piano_roll"] = path
        return drawn


def rank(settings: TrainSettings) -> int:
    """This process's place in a distributed run, 0 in a plain one. Joins the process group."""
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    return int(PartialState(cpu=on_cpu).process_index)


def share(value: T) -> T:
    """Rank 0's value, on every rank; what the others give does not matter."""
    if PartialState().num_processes == 1:
        return value
    box = [value]
    broadcast_object_list(box)
    return box[0]


def own_share(settings: TrainSettings) -> slice:
    """Of what all ranks do together, this one's part."""
    return slice(rank(settings), None, PartialState().num_processes)


def wait_for_all() -> None:
    """Until each rank is here; torch gives one that is minutes behind the others up."""
    PartialState().wait_for_everyone()


class _EpochOrder(TrainerCallback):
    """Tells the sampler the epoch: accelerate doesn't reach it behind a sharded batch sampler."""

    def __init__(self, trainer: NoteTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.bucket_sampler.set_epoch(int(state.epoch or 0))


def _arguments(settings: TrainSettings, run_dir: Path, data: Data) -> TrainingArguments:
    precision, workers = _precision(settings), worker_count(settings)
    validates = bool(data.val)
    at_once = settings.batch_size * settings.grad_accum_steps * PartialState().num_processes
    steps = max(1, len(data.train) // at_once)  # an epoch
    arguments = TrainingArguments(
        output_dir=str(run_dir),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.grad_accum_steps,
        num_train_epochs=settings.epochs,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,  # share of all steps
        max_grad_norm=1.0,
        seed=settings.seed,
        use_cpu=settings.device == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        torch_compile=settings.compile,
        logging_strategy="steps",
        logging_nan_inf_filter=False,  # a loss that is no number must show in the log
        logging_steps=1 if settings.fast_dev else min(10, steps),
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch",
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=validates,
        metric_for_best_model=BEST if validates else None,
        greater_is_better=True if validates else None,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=workers > 0,
        dataloader_pin_memory=settings.device != "cpu" and torch.cuda.is_available(),
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        ddp_find_unused_parameters=False,
    )
    # Several GPUs in one process would mean nn.DataParallel; torchrun is the way to use them all.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _precision(settings: TrainSettings) -> str:
    if settings.precision != "auto":
        return settings.precision
    on_gpu = settings.device != "cpu" and torch.cuda.is_available()
    return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"
