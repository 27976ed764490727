from __future__ import annotations

import numpy as np
import pytest

from karaoke_train.inference.metrics import Counts, count_notes, count_pitches, total
from karaoke_train.notes import Note

REFERENCE = [Note(0.0, 0.5, 60.0), Note(0.5, 1.0, 62.0), Note(1.2, 2.0, 64.0)]


def frames(*runs: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(count, pitch) for pitch, count in runs])


def test_note_accuracy_is_the_median_rounded_and_tolerance_one_semitone() -> None:
    heard = frames((60.4, 25), (63.0, 25), (0.0, 10), (66.0, 40))
    counts = count_pitches(heard, REFERENCE)
    assert counts.pitch_metrics() == {
        "note_accuracy": pytest.approx(1 / 3),
        "pitch_tolerance_acc": pytest.approx(2 / 3),
    }


def test_a_note_between_two_semitones_counts_as_the_upper_one() -> None:
    notes = [Note(0.0, 0.5, 60.5), Note(0.5, 1.0, 61.5)]
    assert count_pitches(frames((61.0, 25), (62.0, 25)), notes).same_semitone == 2
    assert count_pitches(frames((60.0, 25), (61.0, 25)), notes).same_semitone == 0
    whole = [Note(0.0, 0.5, 61.0), Note(0.5, 1.0, 62.0)]
    assert count_pitches(frames((60.5, 25), (61.5, 25)), whole).same_semitone == 2


def test_median_ignores_a_scoop_that_is_shorter_than_half_the_note() -> None:
    heard = frames((50.0, 12), (60.0, 13))
    assert count_pitches(heard, [Note(0.0, 0.5, 60.0)]).same_semitone == 1


def test_note_between_two_frames_is_judged_by_the_nearest() -> None:
    assert count_pitches(frames((60.0, 3)), [Note(0.021, 0.029, 60.0)]).judged == 1


def test_note_after_the_last_frame_is_not_judged() -> None:
    assert count_pitches(frames((60.0, 3)), [Note(5.0, 6.0, 60.0)]).judged == 0


def test_equal_notes_score_one_everywhere() -> None:
    metrics = count_notes(REFERENCE, REFERENCE).note_metrics()
    assert set(metrics.values()) == {1.0}


def test_each_tolerance_takes_its_match() -> None:
    late_onset = Note(0.06, 0.5, 60.0)
    wrong_pitch = Note(0.5, 1.0, 62.6)
    early_offset = Note(1.2, 1.8, 64.0)
    metrics = count_notes(REFERENCE, [late_onset, wrong_pitch, early_offset]).note_metrics()
    assert metrics["onset_f1"] == pytest.approx(2 / 3)
    assert metrics["onset_pitch_f1"] == pytest.approx(1 / 3)
    assert metrics["note_f1"] == 0.0


def test_the_scores_are_those_that_mir_eval_gives_itself() -> None:
    from mir_eval.transcription import precision_recall_f1_overlap

    late, sharp = Note(0.03, 0.7, 60.2), Note(0.52, 0.9, 62.7)
    estimated = [late, sharp, Note(1.19, 2.1, 64.3), Note(2.5, 3.0, 64.0)]

    def f1(offset_ratio: float | None) -> float:
        times, hz = zip(*(_times_and_hz(notes) for notes in (REFERENCE, estimated)), strict=True)
        score = precision_recall_f1_overlap(
            times[0], hz[0], times[1], hz[1], offset_ratio=offset_ratio
        )
        return float(score[2])

    metrics = count_notes(REFERENCE, estimated).note_metrics()
    assert metrics["note_f1"] == pytest.approx(f1(0.2))
    assert metrics["onset_pitch_f1"] == pytest.approx(f1(None))
    assert 0 < metrics["note_f1"] < metrics["onset_pitch_f1"] < metrics["onset_f1"]


def _times_and_hz(notes: list[Note]) -> tuple[np.ndarray, np.ndarray]:
    times = np.array([(note.onset, note.offset) for note in notes])
    return times, np.array([440.0 * 2 ** ((note.pitch - 69) / 12) for note in notes])


def test_two_guesses_for_one_note_match_once() -> None:
    counts = count_notes(REFERENCE[:1], [Note(0.0, 0.5, 60.0), Note(0.04, 0.5, 60.0)])
    assert (counts.onset, counts.onset_pitch, counts.full) == (1, 1, 1)


def test_nothing_found_is_zero_and_nothing_to_find_is_one() -> None:
    assert count_notes(REFERENCE, []).note_metrics()["note_f1"] == 0.0
    assert count_notes([], []).note_metrics()["note_f1"] == 1.0


def test_counts_of_parts_add_up_to_the_counts_of_the_whole() -> None:
    parts = total(count_notes([note], [note]) for note in REFERENCE)
    assert parts == count_notes(REFERENCE, REFERENCE)
    assert total([]) == Counts()
