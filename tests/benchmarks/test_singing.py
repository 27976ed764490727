"""The singing benchmark's own logic: what is left of polyphonic notes for one voice."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.singing import as_notes, one_voice

times = st.integers(0, 40).map(lambda step: step / 4)
events = st.lists(
    st.tuples(times, st.integers(1, 12), st.integers(40, 80), st.floats(0, 1)).map(
        lambda e: (e[0], e[0] + e[1] / 4, float(e[2]), e[3])
    ),
    max_size=12,
)


@given(events)
def test_one_voice_never_sings_two_notes_at_once(polyphonic: list) -> None:
    sung = one_voice(polyphonic)
    assert all(first[1] <= second[0] for first, second in pairwise(sung))
    assert all(onset < offset for onset, offset, *_ in sung)


@given(events)
def test_one_voice_keeps_the_loudest_note_whole(polyphonic: list) -> None:
    if polyphonic:
        assert max(polyphonic, key=lambda event: event[3]) in one_voice(polyphonic)


def test_an_octave_above_a_louder_note_is_left_out() -> None:
    assert one_voice([(0.0, 1.0, 60.0, 0.9), (0.1, 0.8, 72.0, 0.5)]) == [(0.0, 1.0, 60.0, 0.9)]


def test_the_quieter_of_two_notes_is_cut_where_they_touch() -> None:
    legato = [(0.0, 1.1, 60.0, 0.5), (1.0, 2.0, 62.0, 0.9), (1.9, 3.0, 64.0, 0.5)]
    cut = [(0.0, 1.0, 60.0, 0.5), (1.0, 2.0, 62.0, 0.9), (2.0, 3.0, 64.0, 0.5)]
    assert one_voice(legato) == cut


def test_a_loud_note_inside_a_long_quiet_one_ends_it() -> None:
    assert one_voice([(0.0, 3.0, 60.0, 0.5), (1.0, 1.5, 72.0, 0.9)]) == [
        (0.0, 1.0, 60.0, 0.5),
        (1.0, 1.5, 72.0, 0.9),
    ]


def test_a_note_moved_before_the_sound_is_cut_or_gone() -> None:
    moved = as_notes([(0.0, 0.02, 60.0, 1.0), (0.01, 0.5, 62.0, 1.0)], earlier=0.02)
    assert [(note.onset, note.offset) for note in moved] == [(0.0, 0.48)]


def test_a_quieter_note_that_is_mostly_covered_leaves_no_tail() -> None:
    assert one_voice([(0.0, 1.0, 60.0, 0.9), (0.25, 1.5, 67.0, 0.5)]) == [(0.0, 1.0, 60.0, 0.9)]
