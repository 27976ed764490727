"""Where the few lines are that a run's end needs: a cache that knows when it is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from karaoke_train.runlog.reader import Position
from syncd.state.notes import Notes


def at(*ordinals: int) -> list[Position]:
    return [Position(ordinal, 10 * ordinal) for ordinal in ordinals]


def begun(folder: Path, before: int = 0, count: int = 0) -> Notes:
    notes = Notes(folder, "run-1")
    notes.begin(before, count)
    return notes


def places(notes: Notes, before: int) -> list[Position] | None:
    found = notes.places(before)
    return None if found is None else list(found)


def test_lines_that_were_noted_are_found_in_order_and_once(tmp_path: Path) -> None:
    notes = begun(tmp_path)
    notes.add(at(3, 5))
    notes.add(at(5, 7))
    assert notes.count(6) == 2
    assert places(notes, 6) == at(3, 5)
    assert places(notes, 99) == at(3, 5, 7)


def test_a_torn_note_spoils_none_behind_it(tmp_path: Path) -> None:
    begun(tmp_path).add(at(3))
    with (tmp_path / "run-1.txt").open("ab") as file:
        file.write(b"5 ")  # of 5 50, where its writer was killed
    notes = begun(tmp_path, before=4, count=1)
    notes.add(at(7))
    assert places(notes, 99) == at(3, 7)


def test_another_session_goes_on_where_its_cursor_is(tmp_path: Path) -> None:
    begun(tmp_path).add(at(3, 7, 9))
    notes = begun(tmp_path, before=8, count=2)  # the last was noted, and not confirmed
    notes.add(at(9, 12))
    assert (notes.count(8), notes.count(20)) == (2, 4)
    assert places(notes, 20) == at(3, 7, 9, 12)


def test_a_run_that_begins_anew_forgets_what_was_noted(tmp_path: Path) -> None:
    begun(tmp_path).add(at(3, 7))
    assert places(begun(tmp_path), 99) == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"3 30\n", b"\xff\xfe", b"3 30\n5 50\n7 70\n", b"3 30\n7 " + b"9" * 5000 + b"\n"],
)
def test_notes_that_are_not_what_the_cursor_counts_are_none(damage: bytes, tmp_path: Path) -> None:
    begun(tmp_path).add(at(3, 7))
    (tmp_path / "run-1.txt").write_bytes(damage)
    assert begun(tmp_path, before=8, count=2).places(8) is None


def test_a_torn_note_spoils_no_other(tmp_path: Path) -> None:
    begun(tmp_path).add(at(3))
    with (tmp_path / "run-1.txt").open("ab") as file:
        file.write(b"7 7")  # of 70
    notes = begun(tmp_path, before=5, count=1)
    notes.add(at(7, 9))
    assert places(notes, 6) == at(3)
    assert notes.count(99) == 3


def test_a_cursor_without_notes_says_that_it_knows_of_none(tmp_path: Path) -> None:
    notes = begun(tmp_path, before=8, count=-1)
    notes.add(at(9))
    assert (notes.count(99), notes.places(99)) == (-1, None)


def test_notes_that_could_not_be_written_count_as_not_known(tmp_path: Path) -> None:
    notes = begun(tmp_path)
    (tmp_path / "run-1.txt").mkdir()
    with pytest.raises(OSError, match="directory"):
        notes.add(at(3))
    assert (notes.count(99), notes.places(99)) == (-1, None)


def test_only_lines_that_are_not_confirmed_yet_are_held_in_memory(tmp_path: Path) -> None:
    notes = begun(tmp_path)
    for first in range(0, 50_000, 1000):
        notes.add(at(*range(first, first + 1000)))
        notes.count(first + 900)
    assert len(notes._newer) == 100
    assert notes.count(50_000) == sum(1 for _ in notes.places(50_000) or ()) == 50_000
