"""What speaks for notes in each frame -> the best sequence of notes, by dynamic programming.

A hidden-state model with one state for silence and one per pitch, as in Ryynänen and Klapuri
(2008, "Automatic transcription of melody, bass line, and chords in polyphonic music") and pYIN's
note tracker in Tony (Mauch et al. 2015, "Computer-aided melody note transcription using the Tony
software"). It differs in that a note may follow a note of the same pitch, where the onset is
likely enough, and in its scores, which come from a network instead of hand-set distributions;
that a stray frame costs no more than two semitones is after SwiftF0's `segment_notes`.
The best sequence is exact (Viterbi 1967), whether its frames come at once or bit by bit: a past
that all states share can't change any more, and is given out. numpy alone, pure; about 15 µs per
frame of 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FARTHEST = 2.0  # semitones; a frame farther off than this is noise, and costs no more


@dataclass(frozen=True)
class Evidence:
    """Scores in nats, (frames,) each; the higher the likelier.

    begin: for a note that begins with this frame. go_on: for a note that goes on into it.
    end: for silence that begins with it after a note. voice: for a note sounding in it.
    pitch: MIDI number heard in it. per_semitone: what each semitone between it and the note's
    pitch costs, up to two semitones.
    """

    begin: np.ndarray
    go_on: np.ndarray
    end: np.ndarray
    voice: np.ndarray
    pitch: np.ndarray
    per_semitone: float

    def part(self, start: int, end: int) -> Evidence:
        """That of frames `start` to `end`."""
        frames = slice(start, end)
        return Evidence(
            begin=self.begin[frames],
            go_on=self.go_on[frames],
            end=self.end[frames],
            voice=self.voice[frames],
            pitch=self.pitch[frames],
            per_semitone=self.per_semitone,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """A note on the grid: frames `start` to `end` (exclusive), `pitch` a place in the grid."""

    start: int
    end: int
    pitch: int


def best_spans(evidence: Evidence, grid: np.ndarray) -> list[Span]:
    """The sequence of notes with the highest total score, in order, none overlapping.

    grid: MIDI numbers of the pitches a note may have, (pitches,).
    """
    search = BestSpans(grid)
    return [*search.feed(evidence), *search.end()]


class _Stretch(NamedTuple):
    """A note, or the silence between two, on some best path; it ends where the next one starts."""

    start: int
    state: int  # a place in the grid; past it: silence


class BestSpans:
    """The search of `best_spans` over frames that come bit by bit.

    Each state's best path is a chain of stretches. Notes that begin with the same frame follow the
    same stretch, whatever their pitch: so one link for each frame tells all paths. Links that no
    path needs any more are dropped.
    """

    def __init__(self, grid: np.ndarray) -> None:
        self._grid = grid
        self._silence = len(grid)
        self._frame = 0
        self._notes, self._quiet = np.full(len(grid), -np.inf), 0.0  # scores of the best paths
        self._since = np.zeros(len(grid), dtype=np.int64)  # where their last stretches start
        self._quiet_since = -1
        self._before: dict[tuple[int, bool], _Stretch] = {}  # by start, and whether it is silence
        self._root = _Stretch(-1, self._silence)  # the last stretch that all paths share
        self._open = 0

    @property
    def open(self) -> int:
        """The first frame that a note still to come, or to end, may hold; all before is settled."""
        return self._open

    def feed(self, evidence: Evidence) -> list[Span]:
        """Look at further frames; the notes that are settled with them, whatever comes later."""
        for place in range(len(evidence.begin)):
            self._step(evidence, place)
        return self._settle({_Stretch(self._quiet_since, self._silence), *self._sounding()})

    def end(self) -> list[Span]:
        """The other notes, when there are no more frames."""
        if self._quiet >= self._notes.max(initial=-np.inf):
            last = _Stretch(self._quiet_since, self._silence)
        else:
            state = int(self._notes.argmax())
            last = _Stretch(int(self._since[state]), state)
        spans = self._settle({last})
        return spans if last.state == self._silence else [*spans, _span(last, self._frame)]

    def _step(self, evidence: Evidence, place: int) -> None:
        frame, quiet = self._frame, self._quiet
        last = int(self._notes.argmax())
        loudest = float(self._notes[last])
        sounding = _Stretch(int(self._since[last]), last)
        if loudest > quiet:
            self._before[frame, False] = sounding
        else:
            self._before[frame, False] = _Stretch(self._quiet_since, self._silence)
        end = float(evidence.end[place])
        if loudest + end > quiet:
            self._before[frame, True] = sounding
            self._quiet, self._quiet_since = loudest + end, frame
        new = max(loudest, quiet) + evidence.begin[place]
        stayed = self._notes + evidence.go_on[place]
        np.copyto(self._since, frame, where=stayed < new)
        away = np.minimum(np.abs(self._grid - evidence.pitch[place]), FARTHEST)
        cost = evidence.voice[place] - evidence.per_semitone * away
        self._notes = np.maximum(stayed, new) + cost
        self._frame += 1

    def _sounding(self) -> list[_Stretch]:
        """The last stretches of all paths that end in a note."""
        if not self._frame:
            return []
        return [_Stretch(start, state) for state, start in enumerate(self._since.tolist())]

    def _settle(self, last: set[_Stretch]) -> list[Span]:
        """Go back from the last stretches of all paths to the one that they share, which becomes
        the root. The notes before it, from the old root on."""
        needed: dict[tuple[int, bool], _Stretch] = {}
        self._open = self._frame
        while len(last) > 1:
            latest = max(last)
            last.remove(latest)
            key = self._key(latest)
            needed[key] = self._before[key]
            last.add(needed[key])
            self._open = latest.start
        [shared] = last
        if shared.state != self._silence:
            self._open = shared.start
        spans: list[Span] = []
        at = shared
        while at != self._root:
            before = self._before[self._key(at)]
            if before.state != self._silence:
                spans.append(_span(before, at.start))
            at = before
        self._root, self._before = shared, needed
        return spans[::-1]

    def _key(self, stretch: _Stretch) -> tuple[int, bool]:
        return stretch.start, stretch.state == self._silence


def _span(note: _Stretch, end: int) -> Span:
    return Span(note.start, end, note.state)
