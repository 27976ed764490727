"""Segments in, padded batches out: the torch dataset, its feature cache, sampler and collate."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from karaoke_train.atomic_file import replacing
from karaoke_train.audio.features import Features, FeatureSettings, extract
from karaoke_train.audio.io import AudioError
from karaoke_train.dataset.songs import FileSong, Segment
from karaoke_train.dataset.targets import Targets, frame_targets
from karaoke_train.runlog.warn import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from karaoke_train.notes import Note

    Augment = Callable[
        [np.ndarray, tuple[Note, ...], np.random.Generator], tuple[np.ndarray, tuple[Note, ...]]
    ]

BUCKET_REACH = 16  # batches shuffled and sorted by length together


@dataclass(frozen=True)
class Example:
    """One segment, ready for a batch. `index` says which, so that a doubled one shows."""

    index: int
    features: Features
    targets: Targets
    notes: tuple[Note, ...]


class FeatureCache:
    """Features kept as half floats: of files in a folder, if one is given, of all else in memory.

    A file's entry is found by its path, size and time of change: an edited recording is computed
    anew. An entry that cannot be read is computed anew, too.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._memory: dict[str, Features] = {}

    def features(self, segment: Segment, settings: FeatureSettings) -> Features:
        """The segment's features, computed once where they are kept. Raises AudioError."""
        if not isinstance(segment.song, FileSong):
            key = _identity(segment, settings)
            if key not in self._memory:
                self._memory[key] = _half(extract(segment.load(), settings))
            return _single(self._memory[key])
        if self.folder is None:  # a hundred hours in memory would take 12 GB of each worker
            return extract(segment.load(), settings)
        path = self.folder / f"{_identity(segment, settings)}.npz"
        found = _read_entry(path)
        if found is None:
            found = extract(segment.load(), settings)
            _write_entry(path, found)
        return found

    def holds(self, segment: Segment, settings: FeatureSettings) -> bool:
        """Whether its features are in memory. Raises AudioError."""
        return _identity(segment, settings) in self._memory

    def fill(self, segments: Sequence[Segment], settings: FeatureSettings, workers: int) -> None:
        """Compute many segments' features into memory, with `workers` processes and a bar."""
        job: DataLoader[Any] = DataLoader(
            _Extraction(segments, settings), batch_size=None, num_workers=workers, collate_fn=list
        )
        bar = tqdm(job, total=len(segments), desc="singing", unit="segment", leave=False,
                   disable=not sys.stderr.isatty())  # fmt: skip
        for segment, (mel, log_frequency) in zip(segments, bar, strict=True):
            found = Features(torch.from_numpy(mel), torch.from_numpy(log_frequency))
            self._memory[_identity(segment, settings)] = found


class _Extraction(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Features as half-float arrays: torch passes each tensor between processes as an open file."""

    def __init__(self, segments: Sequence[Segment], settings: FeatureSettings) -> None:
        self.segments = segments
        self.settings = settings

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        features = _half(extract(self.segments[index].load(), self.settings))
        return features.mel.numpy(), features.log_frequency.numpy()


class SegmentDataset(Dataset[Example]):
    """Segments as examples, computed when asked for.

    What the cache holds from the start is heard as it is; `augment` changes all other segments.
    A key is `epoch * len(self) + index`: what augmentation does is a function of the key and the
    seed, so that a resumed run sees what an unbroken one would have seen, whatever the workers.
    A segment whose audio turns out to be damaged is named once and the next one stands in for it.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        settings: FeatureSettings,
        *,
        cache: FeatureCache | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.segments = list(segments)
        self.settings = settings
        self.cache = cache
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def lengths(self) -> list[float]:
        """Seconds of each segment, for length bucketing."""
        return [segment.duration for segment in self.segments]

    def __getitem__(self, key: int) -> Example:
        count = len(self.segments)
        for offset in range(count):
            index = (key + offset) % count
            try:
                return self._example(index, key)
            except AudioError as error:
                warn(f"left out of training: {error}")
        raise AudioError(Path("data"), "has no segment left whose audio can be read")

    def _example(self, index: int, key: int) -> Example:
        segment = self.segments[index]
        notes = segment.notes
        if self.augment is not None and not self._is_held(segment):
            rng = np.random.default_rng([self.seed, key])
            audio, notes = self.augment(segment.load(), notes, rng)
            features = extract(audio, self.settings)
        elif self.cache is not None:
            features = self.cache.features(segment, self.settings)
        else:
            features = extract(segment.load(), self.settings)
        return Example(index, features, frame_targets(notes, features.frames), notes)

    def _is_held(self, segment: Segment) -> bool:
        return self.cache is not None and self.cache.holds(segment, self.settings)


class BucketSampler(Sampler[int]):
    """Shuffled keys, in batches of similar length, the same for every rank and every resume.

    Within stretches of 16 batches the segments are sorted by length, then whole batches are
    shuffled: little padding, and still another order each epoch.
    """

    def __init__(self, lengths: Sequence[float], batch_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = [int(i) for i in rng.permutation(len(self.lengths))]
        reach = BUCKET_REACH * self.batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), reach):
            stretch = sorted(order[start : start + reach], key=lambda i: -self.lengths[i])
            batches += [
                stretch[i : i + self.batch_size] for i in range(0, len(stretch), self.batch_size)
            ]
        # A short batch may stand only at the end, or the batches behind it would be cut askew.
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        short = [batch for batch in batches if len(batch) < self.batch_size]
        for at in rng.permutation(len(whole)):
            yield from (self.epoch * len(self) + i for i in whole[at])
        for batch in short:
            yield from (self.epoch * len(self) + i for i in batch)


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """A batch for the model: padded to its longest segment, spectrograms with their lowest value.

    Beside the model's inputs: `index` (batch,) and `notes` (batch, most notes, 3) float32 as
    onset, offset, pitch, padded with -1, for the metrics (2 µs off at most).
    """
    frames = max(example.features.frames for example in examples)
    batch = {
        "mel": torch.stack([_padded(e.features.mel, 2 * frames) for e in examples]),
        "log_frequency": torch.stack([_padded(e.features.log_frequency, frames) for e in examples]),
        "lengths": torch.tensor([e.features.frames for e in examples]),
        "index": torch.tensor([e.index for e in examples]),
        "notes": _note_table([e.notes for e in examples]),
    }
    for name in ("onset", "offset", "voicing", "midi"):
        rows = [getattr(e.targets, name) for e in examples]
        batch[name] = torch.stack([pad(row, (0, frames - len(row))) for row in rows])
    return batch


def _padded(spectrogram: torch.Tensor, width: int) -> torch.Tensor:
    missing = width - spectrogram.shape[-1]
    return pad(spectrogram, (0, missing), value=float(spectrogram.min()))


def _note_table(songs: Sequence[tuple[Note, ...]]) -> torch.Tensor:
    table = torch.full((len(songs), max(1, *map(len, songs)), 3), -1.0)
    for row, notes in zip(table, songs, strict=True):
        for cell, note in zip(row, notes, strict=False):
            cell[:] = torch.tensor([note.onset, note.offset, note.pitch])
    return table


def _identity(segment: Segment, settings: FeatureSettings) -> str:
    """Raises AudioError."""
    song = segment.song
    if isinstance(song, FileSong):
        try:
            stat = song.path.stat()
        except OSError as error:  # it was moved or deleted since training began
            raise AudioError(song.path, f"can't be read ({error.strerror})") from error
        who = f"{song.path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    else:
        who = repr(song)
    text = f"{who} {segment.start} {segment.end} {settings}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _half(features: Features) -> Features:
    return Features(mel=features.mel.half(), log_frequency=features.log_frequency.half())


def _single(features: Features) -> Features:
    return Features(mel=features.mel.float(), log_frequency=features.log_frequency.float())


def _read_entry(path: Path) -> Features | None:
    try:
        # Opened here, since np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as entry:
            mel, log_frequency = (
                torch.from_numpy(entry[name]) for name in ("mel", "log_frequency")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return _single(Features(mel=mel, log_frequency=log_frequency))


def _write_entry(path: Path, features: Features) -> None:
    """Whole or not at all; a cache that cannot be written is only slow."""
    try:
        halves = _half(features)
        with replacing(path, sync=False) as file:  # one that a power cut damaged is made anew
            np.savez(file, mel=halves.mel.numpy(), log_frequency=halves.log_frequency.numpy())
    except OSError as error:
        # Once per process, not per segment: so the entry is not named
        warn(
            f"features are not cached in {path.parent} ({error.strerror}). Training goes on and "
            "computes them each time; make room there, or make it writable."
        )
