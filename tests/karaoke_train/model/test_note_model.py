"""The note model beside an exhaustive search, and what each of its scores decides."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from karaoke_train.model.note_model import FARTHEST, Evidence, Span, best_spans

GRID = np.array([60.0, 60.5, 62.0])


def evidence(rng: np.random.Generator, frames: int) -> Evidence:
    begin, go_on, end, voice = rng.normal(0.0, 2.0, (4, frames))
    return Evidence(begin - 1.0, -np.abs(go_on), end, voice, rng.uniform(59.0, 63.0, frames), 0.7)


def score(evidence: Evidence, states: tuple[int, ...]) -> float:
    """The total of one path. Silence is 0, a pitch that goes on 1 .., one that begins -1 .."""
    total, before = 0.0, 0
    for frame, state in enumerate(states):
        if state == 0:
            total += evidence.end[frame] if before else 0.0
        else:
            if state > 0 and abs(before) != state:
                return -np.inf  # nothing to go on with
            total += evidence.begin[frame] if state < 0 else evidence.go_on[frame]
            away = min(abs(GRID[abs(state) - 1] - evidence.pitch[frame]), FARTHEST)
            total += evidence.voice[frame] - evidence.per_semitone * away
        before = state
    return float(total)


def path(spans: list[Span], frames: int) -> tuple[int, ...]:
    states = [0] * frames
    for span in spans:
        states[span.start : span.end] = [span.pitch + 1] * (span.end - span.start)
        states[span.start] *= -1
    return tuple(states)


@pytest.mark.parametrize("seed", range(12))
def test_no_sequence_of_notes_scores_higher(seed: int) -> None:
    given = evidence(np.random.default_rng(seed), frames := 5)
    every = product(range(-len(GRID), len(GRID) + 1), repeat=frames)
    best = max(score(given, states) for states in every)
    assert score(given, path(best_spans(given, GRID), frames)) == pytest.approx(best)


def test_nothing_to_gain_is_silence() -> None:
    quiet = np.full(4, -1.0)
    none = Evidence(quiet, quiet, quiet, quiet, np.full(4, 60.0), 1.0)
    assert best_spans(none, GRID) == []


def test_a_repeated_pitch_begins_anew_where_its_onset_pays() -> None:
    zeros = np.zeros(6)
    begin = np.array([1.0, -9.0, -9.0, 1.0, -9.0, -9.0])
    sung = Evidence(begin, zeros, zeros - 9.0, zeros + 1.0, np.full(6, 62.0), 1.0)
    assert best_spans(sung, GRID) == [Span(0, 3, 2), Span(3, 6, 2)]
