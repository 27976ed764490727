"""The note model beside an exhaustive search, and what each of its scores decides."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest

from karaoke_train.model.note_model import FARTHEST, BestSpans, Evidence, Span, best_spans

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


def in_parts(given: Evidence, cuts: list[int]) -> list[Span]:
    """The notes of a search that sees its frames in parts."""
    search = BestSpans(GRID)
    found: list[Span] = []
    for start, end in pairwise(cuts):
        assert all(span.end <= search.open for span in found)
        found += search.feed(given.part(start, end))
    settled, still_open = len(found), search.open
    found += search.end()
    assert all(span.start >= still_open for span in found[settled:])
    return found


def whole_numbers(rng: np.random.Generator, frames: int) -> Evidence:
    """Evidence full of ties."""
    begin, go_on, end, voice = rng.integers(-2, 3, (4, frames)).astype(float)
    pitch = rng.choice([60.0, 60.25, 61.0, 64.0], frames)
    return Evidence(begin - 1.0, -np.abs(go_on), end, voice, pitch, 0.5)


@pytest.mark.parametrize("made", [evidence, whole_numbers])
@pytest.mark.parametrize("seed", range(20))
def test_frames_that_come_in_parts_give_the_notes_of_the_whole(
    seed: int, made: Callable[[np.random.Generator, int], Evidence]
) -> None:
    rng = np.random.default_rng(seed)
    given = made(rng, frames := 300)
    cuts = sorted(rng.integers(0, frames + 1, int(rng.integers(0, 40))).tolist())
    whole = best_spans(given, GRID)
    assert len(whole) > 10
    assert in_parts(given, [0, *cuts, frames]) == whole
    assert in_parts(given, list(range(frames + 1))) == whole


@pytest.mark.parametrize("seed", range(12))
def test_no_sequence_scores_higher_than_that_of_single_frames(seed: int) -> None:
    given = evidence(np.random.default_rng(seed), frames := 5)
    every = product(range(-len(GRID), len(GRID) + 1), repeat=frames)
    best = max(score(given, states) for states in every)
    found = in_parts(given, list(range(frames + 1)))
    assert score(given, path(found, frames)) == pytest.approx(best)


def test_a_note_is_settled_before_the_song_ends() -> None:
    silence, note = np.full(20, -3.0), np.full(20, 3.0)
    voice = np.concatenate([silence, note, silence])
    begin = np.where(np.arange(60) == 20, 2.0, -8.0)
    sung = Evidence(begin, np.zeros(60), np.zeros(60), voice, np.full(60, 62.0), 1.0)
    search = BestSpans(GRID)
    assert search.feed(sung.part(0, 40)) == []
    assert search.open == 20
    assert search.feed(sung.part(40, 60)) == [Span(20, 40, 2)]
    assert search.open > 50  # what lies before can hold no note any more


def test_nothing_to_gain_is_silence() -> None:
    quiet = np.full(4, -1.0)
    none = Evidence(quiet, quiet, quiet, quiet, np.full(4, 60.0), 1.0)
    assert best_spans(none, GRID) == []


def test_a_repeated_pitch_begins_anew_where_its_onset_pays() -> None:
    zeros = np.zeros(6)
    begin = np.array([1.0, -9.0, -9.0, 1.0, -9.0, -9.0])
    sung = Evidence(begin, zeros, zeros - 9.0, zeros + 1.0, np.full(6, 62.0), 1.0)
    assert best_spans(sung, GRID) == [Span(0, 3, 2), Span(3, 6, 2)]
