"""Settings in, segments to train and validate on out: read or sung, split by song."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from karaoke_train.audio.augment import augment
from karaoke_train.audio.units import MAX_FRAMES, SAMPLE_RATE, frame_count
from karaoke_train.dataset.batches import FeatureCache, SegmentDataset
from karaoke_train.dataset.corpora import read_corpus
from karaoke_train.dataset.songs import (
    Problem,
    Segment,
    Song,
    read_folder,
    remarks_of,
    segments,
    split,
)
from karaoke_train.synth import (
    HELD_OUT_VOICES,
    VALIDATION_VOICES,
    SyntheticSong,
    synthetic_songs,
)

if TYPE_CHECKING:
    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.settings import TrainSettings

VAL_SHARE = 0.1
FAST_DEV_VAL_SONGS = 6


class DataError(ValueError):
    """There is nothing to train on; the message says why and what to do."""


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on, and the files that could not be used. remarks: what the
    label files of the others were read without, or what their values alone told."""

    train: list[Segment]
    val: list[Segment]
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def longest_frames(self) -> int:
        """The length of the longest segment to train on, in frames of 20 ms."""
        longest = max(segment.duration for segment in self.train)
        return min(MAX_FRAMES, frame_count(round(longest * SAMPLE_RATE)))


def load_data(settings: TrainSettings) -> Data:
    """Songs as segments, split by song. Raises DataError when no song is usable."""
    problems: list[Problem] = []
    remarks: list[str] = []
    _check_folders(settings)
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
                f"no usable song in {settings.voices_dir} with notes in "
                f"{settings.notes_dir or settings.voices_dir}. "
                "`karaoke-train data check` says what is wrong with each file."
            )
        remarks = remarks_of(songs)
        train, val = split(songs, settings.seed, VAL_SHARE)
    pieces = [segment for song in train for segment in segments(song, settings.max_segment_seconds)]
    checks = [segment for song in val for segment in segments(song, settings.max_segment_seconds)]
    most = settings.max_samples
    return Data(pieces[:most], checks[:most], problems, remarks)


def dataset(
    parts: list[Segment],
    features: FeatureSettings,
    settings: TrainSettings,
    *,
    augments: bool = False,
) -> SegmentDataset:
    """Synthetic singing in memory, sung once; recordings cached on disk, or else augmented."""
    folder = Path(settings.cache_features) if settings.cache_features else None
    sung = [part for part in parts if isinstance(part.song, SyntheticSong)]
    cache = FeatureCache(folder)
    if sung:
        cache.fill(sung, features, worker_count(settings))
    changes = augments and folder is None and len(sung) < len(parts)
    changed = augment if changes else None
    return SegmentDataset(parts, features, cache=cache, augment=changed, seed=settings.seed)


def worker_count(settings: TrainSettings) -> int:
    """On a GPU, features must be ready in time; on a CPU, workers would take from the training."""
    if settings.workers is not None:
        return settings.workers
    on_gpu = settings.device != "cpu" and torch.cuda.is_available()
    return min(8, (os.cpu_count() or 1) - 1) if on_gpu else 0


def _synthetic(settings: TrainSettings) -> tuple[list[Song], list[Song]]:
    """Training songs, and validation songs in every style that training never hears."""
    count = settings.synthetic or 0
    simple = settings.fast_dev
    train: list[Song] = [*synthetic_songs(count, settings.seed, simple=simple)]
    if simple:
        val = synthetic_songs(
            FAST_DEV_VAL_SONGS, settings.seed + 1, simple=True, voices=HELD_OUT_VOICES
        )
        return train, list(val)
    each = max(2, round(count * VAL_SHARE / len(VALIDATION_VOICES)))
    return train, [
        song
        for voices in VALIDATION_VOICES.values()
        for song in synthetic_songs(each, settings.seed + 1, voices=voices)
    ]


def _recordings(settings: TrainSettings) -> tuple[list[Song], list[Problem]]:
    assert settings.voices_dir is not None
    if settings.corpus is not None:
        return read_corpus(settings.corpus, settings.voices_dir)
    return read_folder(settings.voices_dir, settings.notes_dir or settings.voices_dir)


def _check_folders(settings: TrainSettings) -> None:
    for folder in (settings.voices_dir, settings.notes_dir, settings.pseudo_label):
        if folder is not None and not Path(folder).is_dir():
            raise DataError(f"there is no folder {folder} to read songs from")
