"""Frame posteriors in, notes out. numpy alone, pure.

Which notes there are is decided for the whole song at once by dynamic programming over onset,
voicing, end and pitch (`note_model`). Times between frames are then read from the triangles that
the model was trained on (Kong et al. 2021); pitch is the expectation around the peak of the
note's summed pitch posterior (as CREPE does for each frame, Kim et al. 2018). Where a sung note
begins and ends is a convention of whoever writes it down: hence `hold`, `legato` and `onset_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.model.note_model import Evidence, Span, best_spans
from karaoke_train.notes import Note

if TYPE_CHECKING:
    from karaoke_train.audio.features import FeatureSettings

HELD = 1.5  # semitones; a voice within them of its note still holds it
SURE = 0.7  # of the pitch posterior within them
LEGATO = 0.15  # s, the gap that --legato closes; longer ones are breaths and rests


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
    """The decoder's settings. They were fitted on synthetic validation songs alone, by
    `benchmarks/fit_decoder.py`; `hold` hardly matters there, and is on since people's notes end
    later. Weights multiply log-odds, in nats.

    onset_weight: of the onset at a note's start; an onset inside a note speaks against it by
    `inner_weight` of that. offset_weight: of the offset where silence follows. voicing_weight: per
    frame of a note. semitone_cost: per frame and semitone off the note's pitch.
    note_cost: of each note; higher gives fewer notes.
    min_duration: seconds; shorter notes are dropped.
    hold: 0..1; a note before a gap goes on while voicing is at least this high and the pitch stays
    within 1.5 semitones of it, up to `longest_hold` seconds: a voice that fades is still heard
    where none would be found to begin. Over 1: never.
    legato: seconds; gaps between notes up to this long are closed, as many corpora are labelled.
    onset_at: "attack", where the onset is heard; "voice", where a phrase's first note is
    first voiced at its pitch, before the attack is complete.
    """

    onset_weight: float = 1.5
    inner_weight: float = 1.0
    offset_weight: float = 0.25
    voicing_weight: float = 1.0
    semitone_cost: float = 1.0
    note_cost: float = 5.0
    min_duration: float = 0.06
    hold: float = 0.3
    longest_hold: float = 0.3
    legato: float = 0.0
    onset_at: Literal["attack", "voice"] = "attack"


def decode(
    posteriors: Posteriors, settings: FeatureSettings, options: DecodeOptions | None = None
) -> list[Note]:
    """The notes, in order, none overlapping; times in seconds from the first frame."""
    options = options or DecodeOptions()
    grid = settings.midi_min + np.arange(settings.pitch_classes) / settings.bins_per_semitone
    spans = best_spans(_evidence(posteriors, settings, options), grid)
    times = _Times(posteriors, settings, options)
    notes: list[Note] = []
    for span, after in zip(spans, [*spans[1:], None], strict=False):
        pitch = note_pitch(posteriors.pitch[span.start : span.end], settings)
        onset, offset = times.onset(span), times.offset(span, after, pitch)
        if options.onset_at == "voice":
            onset = max(notes[-1].offset if notes else 0.0, times.first_voiced(span, pitch))
        if offset - onset >= max(options.min_duration, 1e-6):
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
    summed = pitch[begin:].sum(axis=0, keepdims=True, dtype=np.float32)
    return float(np.clip(frame_pitch(summed, settings)[0], 0, 127))


def _evidence(
    posteriors: Posteriors, settings: FeatureSettings, options: DecodeOptions
) -> Evidence:
    """What the posteriors say, as scores. Onsets and ends count at their peaks alone."""
    onset = options.onset_weight * _log_odds(_peaks(posteriors.onset))
    return Evidence(
        begin=onset - options.note_cost,
        go_on=-options.inner_weight * np.maximum(onset, 0.0),
        end=options.offset_weight * _log_odds(_peaks(posteriors.offset)),
        voice=options.voicing_weight * _log_odds(posteriors.voicing),
        pitch=frame_pitch(posteriors.pitch, settings),
        per_semitone=options.semitone_cost,
    )


def _log_odds(share: np.ndarray) -> np.ndarray:
    """In nats, float64; nothing is surer than 50 to 1, so that no single frame decides alone."""
    clipped = share.astype(np.float64).clip(0.02, 0.98)
    return np.log(clipped / (1.0 - clipped))


def _peaks(curve: np.ndarray) -> np.ndarray:
    """The curve at its local maxima, 0 elsewhere."""
    padded = np.concatenate([[-1.0], curve, [-1.0]])
    top = (padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:])
    return np.where(top, curve, 0.0)


@dataclass(frozen=True)
class _Times:
    """Exact times of notes that lie on the grid of frames."""

    posteriors: Posteriors
    settings: FeatureSettings
    options: DecodeOptions

    def onset(self, span: Span) -> float:
        """Seconds: at a triangle's tip where there is one, else with the note's first frame."""
        curve = self.posteriors.onset
        near = curve[max(0, span.start - 1) : span.start + 2]
        tip = curve[span.start] >= max(near.max(), 0.1)
        return _between(curve, span.start) if tip else span.start * FRAME_SECONDS

    def first_voiced(self, span: Span, pitch: float) -> float:
        """Seconds: where the voice comes to the note's pitch, at its onset at the latest."""
        first = max(0, span.start - self._longest_hold)
        before = self._holds(slice(first, span.start), pitch)
        run = int(np.argmin([*before[::-1], False]))
        return self.onset(span) if run == 0 else (span.start - run) * FRAME_SECONDS

    def offset(self, span: Span, after: Span | None, pitch: float) -> float:
        """Seconds: at the next onset, where the voice leaves the pitch, or at an offset's tip."""
        last = len(self.posteriors.onset) if after is None else after.start
        limit = last * FRAME_SECONDS if after is None else self.onset(after)
        rest = slice(span.end, min(last, span.end + self._longest_hold))
        held = span.end + int(np.argmin([*self._holds(rest, pitch), False]))
        if held == last:
            return limit
        end = held * FRAME_SECONDS if held > span.end else self._tip(span)
        closed = after is not None and limit - end <= self.options.legato
        return limit if closed else min(end, limit)

    def _tip(self, span: Span) -> float:
        begin = max(span.start + 1, span.end - 3)
        window = self.posteriors.offset[begin : span.end + 3]
        if len(window) and window.max() >= 0.2:
            return _between(self.posteriors.offset, begin + int(window.argmax()))
        return span.end * FRAME_SECONDS

    def _holds(self, frames: slice, pitch: float) -> np.ndarray:
        """Whether the voice still sounds, and at `pitch`, (frames,)."""
        low, high = (
            round((pitch + reach - self.settings.midi_min) * self.settings.bins_per_semitone)
            for reach in (-HELD, HELD)
        )
        near = self.posteriors.pitch[frames, max(0, low) : max(0, high) + 1]
        stays = near.sum(axis=1, dtype=np.float32) >= SURE
        return np.asarray(stays & (self.posteriors.voicing[frames] >= self.options.hold))

    @property
    def _longest_hold(self) -> int:
        return round(self.options.longest_hold / FRAME_SECONDS)


def _between(curve: np.ndarray, peak: int) -> float:
    """The time of a triangle's tip, in seconds: its two sides weigh where it lies."""
    left = curve[peak - 1] if peak > 0 else curve[peak]
    right = curve[peak + 1] if peak + 1 < len(curve) else curve[peak]
    fall = curve[peak] - min(left, right)
    shift = 0.5 * (right - left) / fall if fall > 1e-6 else 0.0
    return max(0.0, (peak + float(shift)) * FRAME_SECONDS)
