"""Notes and posteriors in, counts out; counts add up over batches and ranks, then give shares.

- `note_accuracy`: the share of reference notes whose predicted pitch, the median over the note's
  frames, rounds to the same semitone.
- `pitch_tolerance_acc`: the share whose predicted pitch is within 1 semitone of the note's.
  Both look at the pitch posterior within the reference's own times: they measure pitch alone.
- `onset_f1`, `onset_pitch_f1`, `note_f1`: COn, COnP and COnPOff of Molina et al. 2014
  ("Evaluation framework for automatic singing transcription"), as `mir_eval.transcription`
  computes them: onsets within 50 ms, pitch within 50 cents, offsets within max(50 ms, 20 % of
  the note). Here counts are pooled over all segments, where papers often average songs; the
  `evaluate` command gives both.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.notes import semitone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from karaoke_train.notes import Note

ONSET_TOLERANCE = 0.05  # s
PITCH_TOLERANCE = 50.0  # cents
OFFSET_RATIO, OFFSET_MIN = 0.2, 0.05  # of the note's length; s


@dataclass(frozen=True)
class Counts:
    """Notes counted. Adding two counts pools what they were counted on."""

    judged: int = 0  # reference notes whose pitch was judged
    same_semitone: int = 0
    within_semitone: int = 0
    reference: int = 0
    estimated: int = 0
    onset: int = 0  # matched pairs: onset; onset and pitch; onset, pitch and offset
    onset_pitch: int = 0
    full: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def pitch_metrics(self) -> dict[str, float]:
        """`note_accuracy` and `pitch_tolerance_acc`, 0..1; empty when no note was judged."""
        if not self.judged:
            return {}
        return {
            "note_accuracy": self.same_semitone / self.judged,
            "pitch_tolerance_acc": self.within_semitone / self.judged,
        }

    def note_metrics(self) -> dict[str, float]:
        """`onset_f1`, `onset_pitch_f1`, `note_f1`, each with its precision and recall, 0..1."""
        found = {"onset": self.onset, "onset_pitch": self.onset_pitch, "note": self.full}
        return {
            f"{name}_{kind}": value
            for name, matched in found.items()
            for kind, value in self._scores(matched).items()
        }

    def _scores(self, matched: int) -> dict[str, float]:
        both = self.reference + self.estimated
        return {
            "f1": 2 * matched / both if both else 1.0,  # nothing to find, and nothing found
            "precision": matched / self.estimated if self.estimated else 0.0,
            "recall": matched / self.reference if self.reference else 0.0,
        }


def total(counts: Iterable[Counts]) -> Counts:
    """All counts pooled."""
    return sum(counts, Counts())


def count_pitches(frame_pitch: np.ndarray, notes: Sequence[Note]) -> Counts:
    """The pitch part of the counts.

    frame_pitch: MIDI number of each 20 ms frame, (frames,). A note too short to hold a frame's
    centre is judged by the frame nearest to its middle; one outside the frames isn't judged.
    """
    judged = same = within = 0
    for note in notes:
        first = int(np.ceil(note.onset / FRAME_SECONDS))
        last = int(np.ceil(note.offset / FRAME_SECONDS))
        if last <= first:
            first = round((note.onset + note.offset) / 2 / FRAME_SECONDS)
            last = first + 1
        if first >= len(frame_pitch):
            continue
        predicted = float(np.median(frame_pitch[first:last]))
        judged += 1
        same += semitone(predicted) == semitone(note.pitch)
        within += abs(predicted - note.pitch) <= 1.0
    return Counts(judged=judged, same_semitone=same, within_semitone=within)


def count_notes(reference: Sequence[Note], estimated: Sequence[Note]) -> Counts:
    """The note part of the counts: matched pairs by mir_eval's largest matching."""
    sizes = Counts(reference=len(reference), estimated=len(estimated))
    if not reference or not estimated:
        return sizes
    # not at the top: it brings most of scipy along, also where pitches alone are counted
    from mir_eval import transcription

    ref_times, ref_hz = _arrays(reference)
    est_times, est_hz = _arrays(estimated)
    match = transcription.match_notes
    pitch = {"onset_tolerance": ONSET_TOLERANCE, "pitch_tolerance": PITCH_TOLERANCE}
    onsets = transcription.match_note_onsets(ref_times, est_times, ONSET_TOLERANCE)
    pitched = match(ref_times, ref_hz, est_times, est_hz, offset_ratio=None, **pitch)
    full = match(
        ref_times,
        ref_hz,
        est_times,
        est_hz,
        offset_ratio=OFFSET_RATIO,
        offset_min_tolerance=OFFSET_MIN,
        **pitch,
    )
    return sizes + Counts(onset=len(onsets), onset_pitch=len(pitched), full=len(full))


def _arrays(notes: Sequence[Note]) -> tuple[np.ndarray, np.ndarray]:
    times = np.array([(note.onset, note.offset) for note in notes])
    hz = 440.0 * 2 ** ((np.array([note.pitch for note in notes]) - 69) / 12)
    return times, hz
