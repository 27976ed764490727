"""Settings in, a trained model out: data, model and Trainer put together."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    WhisperConfig,
    set_seed,
)
from transformers import WhisperModel as PretrainedWhisper

from karaoke_train.augment import augment
from karaoke_train.checkpoints import RunFileCallback, save_model
from karaoke_train.corpora import read_corpus
from karaoke_train.data import FeatureCache, SegmentDataset, collate
from karaoke_train.features import FeatureSettings
from karaoke_train.model import VoiceToNotesConfig, VoiceToNotesModel
from karaoke_train.plot import piano_roll_png
from karaoke_train.progress import Patience, ProgressBar, StopOnSignal
from karaoke_train.settings import SCRATCH_SIZES, TrainSettings
from karaoke_train.songs import Problem, Segment, Song, read_folder, segments, split
from karaoke_train.synth import HELD_OUT_VOICES, synthetic_songs
from karaoke_train.trainer import NoteTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

BEST = "onset_pitch_f1"  # COnP: what singing transcription is compared by
VAL_SHARE = 0.1
FAST_DEV_VAL_SONGS = 6


class DataError(ValueError):
    """There is nothing to train on; the message says why and what to do."""


class EncoderError(ValueError):
    """The Whisper encoder can't be had; the message says which and what to do."""


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on, and the files that could not be used."""

    train: list[Segment]
    val: list[Segment]
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    status: finished or interrupted. history: the Trainer's log entries, over resumes.
    best: folder of the best model, None when interrupted. checkpoint: the newest checkpoint.
    """

    status: str
    history: list[dict[str, Any]]
    best: Path | None
    checkpoint: Path | None
    epochs: float


def load_data(settings: TrainSettings) -> Data:
    """Songs as segments, split by song. Raises DataError when no song is usable."""
    problems: list[Problem] = []
    if settings.synthetic is not None:
        train, val = _synthetic(settings)
    else:
        if settings.voices_dir is None:
            raise DataError(
                "no data to train on: give --voices_dir and --notes_dir, or --synthetic N for "
                "synthetic singing, or --fast_dev for a quick run"
            )
        songs, problems = _recordings(settings)
        if not songs:
            raise DataError(
                f"no usable song in {settings.voices_dir} with notes in {settings.notes_dir}. "
                "`karaoke-train data check` says what is wrong with each file."
            )
        train, val = split(songs, settings.seed, VAL_SHARE)
    pieces = [segment for song in train for segment in segments(song, settings.longest)]
    checks = [segment for song in val for segment in segments(song, settings.longest)]
    return Data(pieces[: settings.max_samples], checks[: settings.max_samples], problems)


def build_model(settings: TrainSettings) -> VoiceToNotesModel:
    """A new model around the encoder that the settings name. Raises EncoderError."""
    set_seed(settings.seed)
    if settings.scratch is not None:
        model = VoiceToNotesModel(_scratch_config(settings.scratch))
    else:
        encoder = _pretrained(settings)
        features = {"mel_bands": encoder.config.num_mel_bins}
        model = VoiceToNotesModel(VoiceToNotesConfig(encoder=encoder.config, features=features))
        model.encoder.load_state_dict(encoder.state_dict())
    if settings.freeze_encoder or settings.unfreeze_layers:
        try:
            model.freeze_encoder(settings.unfreeze_layers)
        except ValueError as error:
            raise EncoderError(f"--unfreeze_layers {settings.unfreeze_layers}: {error}") from None
    return model


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
    trainer = NoteTrainer(
        model=model,
        args=_arguments(settings, run_dir, validates=bool(data.val)),
        train_dataset=_dataset(data.train, features, settings, augments=settings.augment),
        eval_dataset=_dataset(data.val, features, settings) if data.val else None,
        data_collator=collate,
        callbacks=[*callbacks, run_file, stop, bar],
        features=features,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_EpochOrder(trainer))
    if data.val:
        trainer.add_callback(Patience(settings.patience, f"eval_{BEST}"))
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
    best = None
    if stop.caught is None:
        best = run_dir / "best"
        if trainer.is_world_process_zero():
            save_model(trainer.accelerator.unwrap_model(trainer.model), best)
    return Outcome(
        status="finished" if stop.caught is None else "interrupted",
        history=trainer.state.log_history,
        best=best,
        checkpoint=run_file.latest or resume_from,
        epochs=float(trainer.state.epoch or 0.0),
    )


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
        piano_roll_png(
            path,
            shown.picture,
            self.trainer.features,
            shown.predicted,
            shown.reference,
            title=title,
        )
        return {"val/piano_roll": path}


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


class _EpochOrder(TrainerCallback):
    """Tells the sampler the epoch: accelerate doesn't reach it behind a sharded batch sampler."""

    def __init__(self, trainer: NoteTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.bucket_sampler.set_epoch(int(state.epoch or 0))


def _synthetic(settings: TrainSettings) -> tuple[list[Song], list[Song]]:
    """Training songs, and validation songs by other voices from other seeds."""
    count = settings.synthetic or 0
    simple = settings.fast_dev
    held_out = FAST_DEV_VAL_SONGS if settings.fast_dev else max(4, round(count * VAL_SHARE))
    train = synthetic_songs(count, settings.seed, simple=simple)
    val = synthetic_songs(held_out, settings.seed + 1, simple=simple, voices=HELD_OUT_VOICES)
    return list(train), list(val)


def _recordings(settings: TrainSettings) -> tuple[list[Song], list[Problem]]:
    assert settings.voices_dir is not None
    if settings.corpus is not None:
        return read_corpus(settings.corpus, settings.voices_dir)
    return read_folder(settings.voices_dir, settings.notes_dir or settings.voices_dir)


def _dataset(
    parts: list[Segment],
    features: FeatureSettings,
    settings: TrainSettings,
    *,
    augments: bool = False,
) -> SegmentDataset:
    """Synthetic singing in memory, sung once; recordings cached on disk, or else augmented."""
    if settings.synthetic is not None:
        cache = FeatureCache()
        cache.fill(parts, features, settings.workers)
        return SegmentDataset(parts, features, cache=cache)
    if settings.cache_features:
        return SegmentDataset(parts, features, cache=FeatureCache(Path(settings.cache_features)))
    changed = augment if augments else None
    return SegmentDataset(parts, features, augment=changed, seed=settings.seed)


def _scratch_config(name: str) -> VoiceToNotesConfig:
    size = SCRATCH_SIZES[name]
    encoder = WhisperConfig(
        d_model=size["width"],
        encoder_layers=size["layers"],
        encoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["ffn"],
    )
    return VoiceToNotesConfig(
        encoder=encoder, head_width=size["head"], salience_channels=size["salience"]
    )


def _pretrained(settings: TrainSettings) -> Any:
    """The encoder of a Whisper checkpoint, from a folder, the cache or the hub."""
    try:
        whisper = PretrainedWhisper.from_pretrained(
            settings.encoder, local_files_only=settings.offline, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(
            f"the Whisper encoder {settings.encoder!r} can't be loaded: {why}\n"
            "Give --encoder PATH of a Whisper checkpoint on this machine, --from_scratch small "
            "for one with random weights, or --fast_dev for a quick run without any."
        ) from None
    return whisper.get_encoder()


def _arguments(settings: TrainSettings, run_dir: Path, *, validates: bool) -> TrainingArguments:
    precision = _precision(settings)
    arguments = TrainingArguments(
        output_dir=str(run_dir),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.grad_accum_steps,
        num_train_epochs=settings.epochs,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,  # of all steps: attention from scratch diverges without
        max_grad_norm=1.0,
        seed=settings.seed,
        use_cpu=settings.device == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        torch_compile=settings.compile,
        logging_strategy="steps",
        logging_nan_inf_filter=False,  # a loss that is no number must show in the log
        logging_steps=1 if settings.fast_dev else 10,
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch",
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=validates,
        metric_for_best_model=BEST if validates else None,
        greater_is_better=True if validates else None,
        dataloader_num_workers=settings.workers,
        dataloader_persistent_workers=settings.workers > 0,
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
