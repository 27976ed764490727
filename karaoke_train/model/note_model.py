"""What speaks for notes in each frame -> the best sequence of notes, by dynamic programming.

A hidden-state model with one state for silence and one per pitch, as in Ryynänen and Klapuri
(2008, "Automatic transcription of melody, bass line, and chords in polyphonic music") and pYIN's
note tracker in Tony (Mauch et al. 2015, "Computer-aided melody note transcription using the Tony
software"). It differs in that a note may follow a note of the same pitch, where the onset is
likely enough, and in its scores, which come from a network instead of hand-set distributions;
that a stray frame costs no more than two semitones is after SwiftF0's `segment_notes`.
The best sequence is exact (Viterbi 1967): every frame keeps, for each state, where its best past
came from. numpy alone, pure; about 15 µs per frame of 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    frames, silence = len(evidence.begin), len(grid)
    began = np.zeros((frames, silence), dtype=bool)  # whether a state's best past is a new note
    before_note = np.full(frames, silence)  # the state that a note beginning here follows
    before_silence = np.full(frames, silence)
    notes, quiet = np.full(silence, -np.inf), 0.0
    for frame in range(frames):
        last = int(notes.argmax())
        loudest = float(notes[last])
        if loudest > quiet:
            before_note[frame] = last
        new = max(loudest, quiet) + evidence.begin[frame]
        if loudest + evidence.end[frame] > quiet:
            before_silence[frame] = last
            quiet = loudest + float(evidence.end[frame])
        stayed = notes + evidence.go_on[frame]
        np.less(stayed, new, out=began[frame])
        away = np.minimum(np.abs(grid - evidence.pitch[frame]), FARTHEST)
        notes = np.maximum(stayed, new) + (evidence.voice[frame] - evidence.per_semitone * away)
    state = silence if quiet >= notes.max(initial=-np.inf) else int(notes.argmax())
    return _traced(state, began, before_note, before_silence)


def _traced(
    state: int, began: np.ndarray, before_note: np.ndarray, before_silence: np.ndarray
) -> list[Span]:
    """Follow the best past from the last frame's state to the first frame."""
    frames, silence = began.shape
    spans: list[Span] = []
    end = frames
    for frame in range(frames - 1, -1, -1):
        if state == silence:
            state, end = int(before_silence[frame]), frame
        elif began[frame, state]:
            spans.append(Span(frame, end, state))
            state, end = int(before_note[frame]), frame
    return spans[::-1]
