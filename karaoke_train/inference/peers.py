"""Sound in, the notes of other programs out: what a model is worth is told beside them.

SwiftF0 (PyPI `swift-f0`, MIT): a small network for pitch, and its own exact segmentation into
notes. pYIN (Mauch and Dixon 2014, in librosa): probabilistic pitch without a network, and the rule
of `steady_runs`. Both are used as they come, where they are installed: `pip install
'karaoke-train[peers]'`. What they find is for comparison alone; no model of ours learns from it.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.units import FRAME, FRAME_SECONDS, SAMPLE_RATE
from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[[np.ndarray], list[Note]]  # float32 mono 16 kHz -> its notes

LOWEST, HIGHEST = 65.0, 1760.0  # Hz, what our models hear
STRAYED = 0.8  # semitones from a note's median pitch at which another note begins
SHORTEST = 0.08  # s


def installed() -> dict[str, Listener]:
    """Name and version -> how it listens, of those that are installed here."""
    found: dict[str, Listener] = {}
    if importlib.util.find_spec("swift_f0"):
        found[f"SwiftF0 {version('swift-f0')}"] = swift_f0
    if importlib.util.find_spec("librosa"):
        found[f"pYIN of librosa {version('librosa')}"] = pyin
    return found


def swift_f0(samples: np.ndarray) -> list[Note]:
    """SwiftF0's pitch and notes with its defaults, in our models' range of pitch. samples: float32
    (samples,), 16 kHz mono."""
    from swift_f0 import SwiftF0, segment_notes

    heard = SwiftF0(threads=1).detect(samples, SAMPLE_RATE, fmin=LOWEST, fmax=HIGHEST)
    return [
        Note(max(0.0, note.start), note.end, _midi(note.pitch_hz))
        for note in segment_notes(heard)
        if note.end > max(0.0, note.start)
    ]


def pyin(samples: np.ndarray) -> list[Note]:
    """pYIN's pitch, cut into notes where it is unvoiced or moves away. samples: as above."""
    import librosa

    hertz, voiced, _ = librosa.pyin(
        samples, fmin=LOWEST, fmax=HIGHEST, sr=SAMPLE_RATE, hop_length=FRAME
    )
    midi = np.where(voiced, 69.0 + 12.0 * np.log2(np.nan_to_num(hertz, nan=440.0) / 440.0), np.nan)
    return steady_runs(midi)


def steady_runs(midi: np.ndarray) -> list[Note]:
    """Notes from a pitch per 20 ms frame, nan where there is none, (frames,).

    A note lasts while the pitch is within 0.8 semitones of its median so far; shorter ones
    than 80 ms are dropped.
    """
    notes: list[Note] = []
    start = 0
    for frame in range(1, len(midi) + 1):
        run = midi[start:frame]
        if frame < len(midi) and abs(midi[frame] - np.median(run)) <= STRAYED:
            continue
        if np.isfinite(run).all() and len(run) * FRAME_SECONDS >= SHORTEST - 1e-9:
            times = start * FRAME_SECONDS, frame * FRAME_SECONDS
            notes.append(Note(*times, float(np.median(run))))
        start = frame
    return notes


def _midi(hertz: float) -> float:
    return float(np.clip(69.0 + 12.0 * np.log2(hertz / 440.0), 0.0, 127.0))
