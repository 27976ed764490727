"""What a training step costs: `karaoke-train`'s Trainer beside a plain loop in PyTorch.

    python -m benchmarks.training_step                  # with a validation after each epoch
    python -m benchmarks.training_step --validation no

Both train the same model on the same batches with the same optimizer, schedule and clipping, and
compare the same notes; both keep the newest model and optimizer after an epoch that they validate.
The plain loop does no more than that. The product's also logs, keeps the best model, draws a
picture of each validation, counts pitches of the training batches, and can be stopped and resumed.

The two take turns in one process, on one thread; figures are CPU time of all threads, medians over
the rounds, and the ratio is that of the medians. Imports and data come before the first step, and
are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback, get_cosine_schedule_with_warmup

from benchmarks.measure import command_of, table
from karaoke_train.dataset.batches import BucketSampler, SegmentDataset, collate
from karaoke_train.dataset.load import Data, dataset, load_data
from karaoke_train.inference.metrics import Counts, count_notes, count_pitches
from karaoke_train.model.build import build_model
from karaoke_train.model.decode import decode, frame_pitch
from karaoke_train.model.model import VoiceToNotesModel, unpack_posteriors
from karaoke_train.runlog import RunLog
from karaoke_train.settings import SCRATCH_LR, TrainSettings
from karaoke_train.training.fit import fit
from karaoke_train.training.runlog_callback import RunLogCallback
from karaoke_train.training.trainer import unpack_notes

HEAD: Final = (
    "model", "validation", "steps", "ours, ms per step", "plain, ms per step", "ratio", "command",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row of the table. model: a random-init one, of SCRATCH_SIZES."""

    model: str = "dev"
    validation: str = "yes"
    songs: int = 24
    epochs: int = 3
    rounds: int = 3

    @property
    def command(self) -> str:
        """What makes the row."""
        return command_of("benchmarks.training_step", self)

    @property
    def settings(self) -> TrainSettings:
        """What is trained."""
        return TrainSettings(
            from_scratch=self.model, synthetic=self.songs, max_segment_seconds=5.0, batch_size=8,
            lr=SCRATCH_LR, epochs=self.epochs, patience=1000, device="cpu", workers=0, offline=True,
        )  # fmt: skip


CASES: Final = (Case(), Case(validation="no"))


def shorter(case: Case) -> Case:
    """In minutes."""
    return replace(case, songs=8, epochs=2, rounds=1)


def row(case: Case) -> list[str]:
    """The table's row of a case."""
    torch.set_num_threads(1)
    data = load_data(case.settings)
    if case.validation == "no":
        data = replace(data, val=[])
    with tempfile.TemporaryDirectory() as name:
        sides: tuple[Callable[[Path], tuple[float, int]], ...] = (
            lambda folder: _ours(case.settings, data, folder),
            lambda folder: _plain(case.settings, data, folder),
        )
        times: tuple[list[float], list[float]] = [], []
        for turn in range(case.rounds + 1):
            for side in (0, 1) if turn % 2 else (1, 0):
                used, steps = sides[side](Path(name, f"{turn}-{side}"))
                if turn:  # the first is for imports and caches
                    times[side].append(used / steps * 1000)
    ours, plain = map(statistics.median, times)
    cells = [f"{steps:,}", f"{ours:.1f}", f"{plain:.1f}", f"{ours / plain:.2f} ×"]
    return [case.model, case.validation, *cells, f"`{case.command}`"]


class _Meter(TrainerCallback):
    """CPU seconds from the beginning of the training to its end."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the first step."""
        self.began = time.process_time()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the last one."""
        self.used = time.process_time() - self.began
        self.steps = int(state.global_step)


def _model(settings: TrainSettings, data: Data) -> VoiceToNotesModel:
    torch.manual_seed(settings.seed)
    model = build_model(settings)
    model.config.window_frames = data.longest_frames
    return model


def _ours(settings: TrainSettings, data: Data, folder: Path) -> tuple[float, int]:
    """CPU seconds and steps of the product's training."""
    meter = _Meter()
    with RunLog.create(folder / "logs", config=settings.as_config()) as log:
        model = _model(settings, data)
        fit(settings, data, model, run_dir=folder / "run", callbacks=[RunLogCallback(log), meter])
    return meter.used, meter.steps


def _plain(settings: TrainSettings, data: Data, folder: Path) -> tuple[float, int]:
    """CPU seconds and steps of the same training without all that is around it."""
    folder.mkdir()
    model = _model(settings, data)
    heard = dataset(data.train, model.config.feature_settings, settings)
    checked = dataset(data.val, model.config.feature_settings, settings) if data.val else None
    sampler = BucketSampler(heard.lengths, settings.batch_size, settings.seed)
    loader = DataLoader(heard, settings.batch_size, sampler=sampler, collate_fn=collate)
    steps = len(loader) * settings.epochs
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 10, steps)
    began = time.process_time()
    model.train()
    for epoch in range(settings.epochs):
        sampler.set_epoch(epoch)
        for batch in loader:
            model(**_inputs(batch)).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if checked is not None:
            _validate(model, checked, settings)
            torch.save([model.state_dict(), optimizer.state_dict()], folder / "newest.pt")
    return time.process_time() - began, steps


@torch.no_grad()
def _validate(model: VoiceToNotesModel, data: SegmentDataset, settings: TrainSettings) -> Counts:
    model.eval()
    features, counts = model.config.feature_settings, Counts()
    for batch in DataLoader(data, settings.batch_size, collate_fn=collate):
        outputs = model(**_inputs(batch))
        lengths = [int(length) for length in batch["lengths"]]
        references = unpack_notes(batch["notes"])
        for reference, posteriors in zip(
            references, unpack_posteriors(outputs, lengths), strict=True
        ):
            counts += count_notes(reference, decode(posteriors, features))
            counts += count_pitches(frame_pitch(posteriors.pitch, features), reference)
    model.train()
    return counts


def _inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in batch.items() if key not in ("index", "notes")}


def main() -> None:
    """Measure one case and print its table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--model", choices=("dev", "small"), default=Case.model)
    options.add_argument("--validation", choices=("yes", "no"), default=Case.validation)
    for name in ("songs", "epochs", "rounds"):
        options.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    print(table(HEAD, [row(Case(**vars(options.parse_args())))]), end="")


if __name__ == "__main__":
    main()
