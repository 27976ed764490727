"""Frame posteriors in, notes out. numpy alone, pure.

A note begins at a peak of the onset posterior, or where voice begins without one; it ends at the
next note's onset, or where voice ends. This is how Onsets and Frames (Hawthorne et al. 2018)
makes notes, with a voicing posterior in place of one frame posterior per pitch, since a voice sings
one note at a time. Times between frames are read from the triangles that the model was trained on
(Kong et al. 2021); pitch is the expectation around the peak of the note's summed pitch posterior
(as CREPE does for each frame, Kim et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.notes import Note

if TYPE_CHECKING:
    from karaoke_train.audio.features import FeatureSettings


@dataclass(frozen=True)
class Posteriors:
    """What the model says of each 20 ms frame, all 0..1.

    onset, offset, voicing: float32 (frames,). pitch: float32 (frames, classes), rows sum to 1.
    """

    onset: np.ndarray
    offset: np.ndarray
    voicing: np.ndarray
    pitch: np.ndarray


@dataclass(frozen=True)
class DecodeOptions:
    """The decoder's settings; the defaults were chosen on synthetic validation melodies.

    onset_threshold: 0..1; an onset peak at least this high begins a note.
    voicing_threshold: 0..1; frames at least this high are sung.
    max_gap_frames: unvoiced frames inside a note that do not end it.
    min_duration: seconds; shorter notes are dropped.
    min_onset_distance: frames; of two onset peaks closer than this the higher one counts.
    """

    onset_threshold: float = 0.4
    voicing_threshold: float = 0.5
    max_gap_frames: int = 1
    min_duration: float = 0.06
    min_onset_distance: int = 3


def decode(
    posteriors: Posteriors, settings: FeatureSettings, options: DecodeOptions | None = None
) -> list[Note]:
    """The notes, in order, none overlapping; times in seconds from the first frame."""
    options = options or DecodeOptions()
    voiced = _close_gaps(posteriors.voicing >= options.voicing_threshold, options.max_gap_frames)
    starts = _starts(posteriors.onset, voiced, options)
    notes: list[Note] = []
    for place, (frame, onset) in enumerate(starts):
        limit = starts[place + 1] if place + 1 < len(starts) else (len(voiced), None)
        end, offset = _end(posteriors, voiced, frame, limit)
        if offset - onset < options.min_duration:
            continue
        pitch = note_pitch(posteriors.pitch[frame:end], settings)
        notes.append(Note(onset, offset, pitch))
    return notes


def frame_pitch(pitch: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """The pitch of each frame as a MIDI number, (frames,), from its posterior (frames, classes).

    The expectation over the classes within 4/3 of a semitone of the likeliest one.
    """
    around = np.arange(-4, 5) * settings.bins_per_semitone // 3
    places = pitch.argmax(axis=1)[:, None] + around[None, :]
    inside = (places >= 0) & (places < pitch.shape[1])
    weights = np.take_along_axis(pitch, places.clip(0, pitch.shape[1] - 1), axis=1) * inside
    steps = (weights * places).sum(axis=1) / weights.sum(axis=1).clip(min=1e-9)
    return np.asarray(settings.midi_min + steps / settings.bins_per_semitone)


def note_pitch(pitch: np.ndarray, settings: FeatureSettings) -> float:
    """One note's pitch as a MIDI number, from its frames' posteriors (frames, classes).

    The first quarter, at most 80 ms, is left out: singers scoop into notes.
    """
    begin = min(4, len(pitch) // 4)
    summed = pitch[begin:].sum(axis=0, keepdims=True)
    return float(np.clip(frame_pitch(summed, settings)[0], 0, 127))


def _close_gaps(voiced: np.ndarray, longest: int) -> np.ndarray:
    """Fill runs of at most `longest` False frames that have True on both sides."""
    closed = voiced.copy()
    sung = np.flatnonzero(voiced)
    for left, right in pairwise(sung):
        if 1 < right - left <= longest + 1:
            closed[left:right] = True
    return closed


def _starts(
    onset: np.ndarray, voiced: np.ndarray, options: DecodeOptions
) -> list[tuple[int, float]]:
    """Where notes begin: frame and exact time in seconds, in order."""
    peaks = [p for p in _peaks(onset, options) if voiced[p : p + 4].any()]
    begins = np.flatnonzero(voiced & ~np.concatenate([[False], voiced[:-1]]))
    near = options.min_onset_distance + 1
    bare = [b for b in begins if not any(abs(b - p) <= near for p in peaks)]
    exact = [(p, _between(onset, p)) for p in peaks] + [(int(b), b * FRAME_SECONDS) for b in bare]
    return sorted(exact)


def _peaks(curve: np.ndarray, options: DecodeOptions) -> list[int]:
    """Local maxima over the threshold, the higher one of two that are too close."""
    padded = np.concatenate([[-1.0], curve, [-1.0]])
    rising, falling = padded[1:-1] >= padded[:-2], padded[1:-1] > padded[2:]
    found = np.flatnonzero(rising & falling & (curve >= options.onset_threshold))
    kept: list[int] = []
    for place in sorted(found, key=lambda p: -curve[p]):
        if all(abs(place - other) >= options.min_onset_distance for other in kept):
            kept.append(int(place))
    return sorted(kept)


def _between(curve: np.ndarray, peak: int) -> float:
    """The time of a triangle's tip, in seconds: its two sides weigh where it lies."""
    left = curve[peak - 1] if peak > 0 else curve[peak]
    right = curve[peak + 1] if peak + 1 < len(curve) else curve[peak]
    fall = curve[peak] - min(left, right)
    shift = 0.5 * (right - left) / fall if fall > 1e-6 else 0.0
    return max(0.0, (peak + float(shift)) * FRAME_SECONDS)


def _end(
    posteriors: Posteriors, voiced: np.ndarray, start: int, limit: tuple[int, float | None]
) -> tuple[int, float]:
    """The frame a note ends before, and the exact time."""
    last, time = limit
    sung = start + int(np.argmax(voiced[start:last])) if voiced[start:last].any() else start
    silent = np.flatnonzero(~voiced[sung:last])
    if len(silent) == 0:
        return last, last * FRAME_SECONDS if time is None else time
    end = max(sung + int(silent[0]), start + 1)
    begin = max(start + 1, end - 3)
    window = posteriors.offset[begin : end + 3]
    if len(window) and window.max() >= 0.2:
        exact = _between(posteriors.offset, begin + int(window.argmax()))
    else:
        exact = end * FRAME_SECONDS
    return end, exact if time is None else min(exact, time)
