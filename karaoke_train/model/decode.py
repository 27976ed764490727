"""Frame posteriors in, notes out. numpy alone, pure.

Which notes there are is decided for the whole song at once by dynamic programming over onset,
voicing, end and pitch (`note_model`). The frames may come bit by bit all the same: what is decided
is given out, and its frames are forgotten, so that a long recording needs no more memory than a
short one (`Decoder`). Times between frames are then read from the triangles that
the model was trained on (Kong et al. 2021); pitch is the expectation around the peak of the
note's summed pitch posterior (as CREPE does for each frame, Kim et al. 2018). Where a sung note
begins and ends is a convention of whoever writes it down: hence `hold`, `legato` and `onset_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.model.note_model import BestSpans, Evidence, Span
from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from karaoke_train.audio.features import FeatureSettings

HELD = 1.5  # semitones; a voice within them of its note still holds it
SURE = 0.7  # of the pitch posterior within them
LEGATO = 0.15  # s, the gap that --legato closes; longer ones are breaths and rests
_BLOCK = 1500  # frames looked at before what is decided by them is asked for
_TIP = 3  # frames around a note's end in which the offset's triangle is looked for


@dataclass(frozen=True)
class Posteriors:
    """What the model says of each 20 ms frame, all 0..1.

    onset, offset, voicing: float32 (frames,). pitch: float32 (frames, classes), rows sum to 1.
    """

    onset: np.ndarray
    offset: np.ndarray
    voicing: np.ndarray
    pitch: np.ndarray

    def part(self, start: int, end: int | None = None) -> Posteriors:
        """Those of frames `start` to `end`, in the same memory."""
        return Posteriors(*(curve[start:end] for curve in self._curves()))

    @classmethod
    def joined(cls, parts: Sequence[Posteriors]) -> Posteriors:
        """Those of all parts, which follow each other; at least one."""
        curves = zip(*(part._curves() for part in parts), strict=True)
        return cls(*(np.concatenate(curve) for curve in curves))

    def _curves(self) -> tuple[np.ndarray, ...]:
        return self.onset, self.offset, self.voicing, self.pitch


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

    @property
    def hold_frames(self) -> int:
        """`longest_hold` in frames."""
        return round(self.longest_hold / FRAME_SECONDS)


def decode(
    posteriors: Posteriors, settings: FeatureSettings, options: DecodeOptions | None = None
) -> list[Note]:
    """The notes, in order, none overlapping; times in seconds from the first frame."""
    starts = range(0, len(posteriors.onset), _BLOCK)
    parts = (posteriors.part(start, start + _BLOCK) for start in starts)
    return decode_parts(parts, settings, options)


def decode_parts(
    parts: Iterable[Posteriors], settings: FeatureSettings, options: DecodeOptions | None = None
) -> list[Note]:
    """The same notes as `decode` finds in all parts together, which follow each other."""
    decoder = Decoder(settings, options)
    decided = [note for part in parts for note in decoder.feed(part)]
    return [*decided, *decoder.end()]


class Decoder:
    """Frames in, bit by bit; the notes that `decode` finds in all of them out, as soon as they are
    decided. Of the frames it keeps those alone that a note to come may need."""

    def __init__(self, settings: FeatureSettings, options: DecodeOptions | None = None) -> None:
        self._settings = settings
        self._options = options or DecodeOptions()
        grid = settings.midi_min + np.arange(settings.pitch_classes) / settings.bins_per_semitone
        self._search = BestSpans(grid)
        self._kept: Posteriors | None = None
        self._first = 0  # the frame that `_kept` begins with
        self._frames = 0  # frames that came
        self._searched = 0  # frames that the search has seen
        self._spans: list[Span] = []  # of notes whose frames are not all here
        self._last: _Heard | None = None  # a note whose end the next one may change
        self._free = 0.0  # s, where the last note ended

    def feed(self, posteriors: Posteriors) -> list[Note]:
        """The notes that are decided by these frames, which follow those before."""
        before = [] if self._kept is None else [self._kept]
        kept = Posteriors.joined([*before, posteriors])
        notes = self._decided(kept, ended=False)
        self._forget(kept)
        return notes

    def end(self) -> list[Note]:
        """The other notes, when there are no more frames."""
        if self._kept is None:
            return []
        return [*self._decided(self._kept, ended=True), *self._ended_by(None)]

    def _decided(self, kept: Posteriors, *, ended: bool) -> list[Note]:
        """Notes whose next note is known, too."""
        self._frames = self._first + len(kept.onset)
        self._search_on(kept, ended=ended)
        times = _Times(kept, self._first, self._settings, self._options)
        notes: list[Note] = []
        while self._spans and (ended or self._spans[0].end + self._reach < self._frames):
            heard = times.heard(self._spans.pop(0))
            notes += self._ended_by(heard)
            self._last = heard
        return notes

    def _search_on(self, kept: Posteriors, *, ended: bool) -> None:
        # Whether the last frame holds a peak, the one after it tells.
        known = self._frames if ended else max(self._frames - 1, 0)
        seen = max(self._first, self._searched - 1)
        evidence = _evidence(kept.part(seen - self._first), self._settings, self._options)
        self._spans += self._search.feed(evidence.part(self._searched - seen, known - seen))
        if ended:
            self._spans += self._search.end()
        self._searched = known

    def _ended_by(self, after: _Heard | None) -> list[Note]:
        """The last note, now that the next one is known; none where it is too short."""
        heard = self._last
        if heard is None:
            return []
        offset = heard.offset(after, self._frames, self._options.legato)
        onset = heard.onset
        if self._options.onset_at == "voice":
            onset = max(self._free, heard.voiced)
        if offset - onset < max(self._options.min_duration, 1e-6):
            return []
        self._free = offset
        return [Note(onset, offset, heard.pitch)]

    def _forget(self, kept: Posteriors) -> None:
        needed = min([self._search.open, self._searched, *(span.start for span in self._spans)])
        first = max(self._first, needed - self._reach)
        self._kept = Posteriors.joined([kept.part(first - self._first)])  # a copy frees the rest
        self._first = first

    @property
    def _reach(self) -> int:
        """Frames before and behind a note that its times may depend on."""
        return max(self._options.hold_frames, _TIP) + 1


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
class _Heard:
    """A note of the grid and its times, but for what the next note has to do with them.

    onset: s, of its attack. voiced: s, where the voice comes to its pitch, at the onset at the
    latest. held: the frame up to which the voice holds its pitch. tip: s, where its offset is
    heard if it isn't held.
    """

    span: Span
    pitch: float
    onset: float
    voiced: float
    held: int
    tip: float

    def offset(self, after: _Heard | None, frames: int, legato: float) -> float:
        """Seconds: at the next onset, where the voice leaves the pitch, or at an offset's tip."""
        last = frames if after is None else after.span.start
        limit = last * FRAME_SECONDS if after is None else after.onset
        held = min(self.held, last)
        if held == last:
            return limit
        end = held * FRAME_SECONDS if held > self.span.end else self.tip
        closed = after is not None and limit - end <= legato
        return limit if closed else min(end, limit)


@dataclass(frozen=True)
class _Times:
    """Exact times of notes that lie on the grid of frames. first: the posteriors' first frame."""

    posteriors: Posteriors
    first: int
    settings: FeatureSettings
    options: DecodeOptions

    def heard(self, span: Span) -> _Heard:
        """A note with its times."""
        start, end = span.start - self.first, span.end - self.first
        pitch = note_pitch(self.posteriors.pitch[start:end], self.settings)
        onset = self._onset(start)
        reach = self.options.hold_frames
        before = self._holds(slice(max(0, start - reach), start), pitch)
        early = int(np.argmin([*before[::-1], False]))
        late = int(np.argmin([*self._holds(slice(end, end + reach), pitch), False]))
        return _Heard(
            span=span,
            pitch=pitch,
            onset=onset,
            voiced=onset if early == 0 else (span.start - early) * FRAME_SECONDS,
            held=span.end + late,
            tip=self._tip(start, end),
        )

    def _onset(self, start: int) -> float:
        """Seconds: at a triangle's tip where there is one, else with the note's first frame."""
        curve = self.posteriors.onset
        near = curve[max(0, start - 1) : start + 2]
        tip = curve[start] >= max(near.max(), 0.1)
        return self._between(curve, start) if tip else (self.first + start) * FRAME_SECONDS

    def _tip(self, start: int, end: int) -> float:
        begin = max(start + 1, end - _TIP)
        window = self.posteriors.offset[begin : end + _TIP]
        if len(window) and window.max() >= 0.2:
            return self._between(self.posteriors.offset, begin + int(window.argmax()))
        return (self.first + end) * FRAME_SECONDS

    def _holds(self, frames: slice, pitch: float) -> np.ndarray:
        """Whether the voice still sounds, and at `pitch`, (frames,)."""
        low, high = (
            round((pitch + reach - self.settings.midi_min) * self.settings.bins_per_semitone)
            for reach in (-HELD, HELD)
        )
        near = self.posteriors.pitch[frames, max(0, low) : max(0, high) + 1]
        stays = near.sum(axis=1, dtype=np.float32) >= SURE
        return np.asarray(stays & (self.posteriors.voicing[frames] >= self.options.hold))

    def _between(self, curve: np.ndarray, peak: int) -> float:
        """The time of a triangle's tip, in seconds: its two sides weigh where it lies."""
        left = curve[peak - 1] if peak > 0 else curve[peak]
        right = curve[peak + 1] if peak + 1 < len(curve) else curve[peak]
        fall = curve[peak] - min(left, right)
        shift = 0.5 * (right - left) / fall if fall > 1e-6 else 0.0
        return max(0.0, (self.first + peak + float(shift)) * FRAME_SECONDS)
