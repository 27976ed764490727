"""The few lines that may be records of some types, wherever the reads happen to end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Line, Position
from karaoke_train.runlog.record_types import RecordType
from syncd.source.lines import Lines
from syncd.source.marked import lines_at, mark_of, marked, marked_lines, marked_or_odd
from tests.karaoke_train.runlog.files import split_lines

MEDIA = b'{"type":"media"}\n'
PIECES = (MEDIA, b'{"type": "epoch_summary","epoch":1}\n', b'{"type":"train","a":1}\n', b"\n",
          b'"media" "media"\n', b'\xff "media"\n', b'{"a":"\\n"}\n', b'{"torn\n', b"}\n", b"{}{}\n",
          b'{"type":"config","media":{"type":"train"}}\n', b'{"media":1}\r\n')  # fmt: skip
TYPES = (RecordType.MEDIA, RecordType.EPOCH_SUMMARY)
MARK = mark_of(*TYPES)
pieces = st.lists(st.sampled_from(PIECES), max_size=30)
ends = st.lists(st.integers(0, 30), max_size=4)


def chunks(pieces: list[bytes], ends: list[int]) -> list[Lines]:
    """The lines of these pieces in several reads."""
    made, at = [], Position()
    for begin, end in zip([0, *sorted(ends)], [*sorted(ends), 30], strict=True):
        made.append(Lines.of(b"".join(pieces[begin:end]), at))
        at = made[-1].end
    return made


@given(pieces, ends)
def test_no_record_of_the_types_is_missed_and_each_has_its_place(
    pieces: list[bytes], ends: list[int]
) -> None:
    parsed = split_lines(b"".join(pieces), Position())[0]
    found = [line for lines in chunks(pieces, ends) for line in marked(lines, MARK)]
    assert [line for line in found if of_the_types(line)] == list(filter(of_the_types, parsed))
    assert set(map(repr, found)) <= set(map(repr, parsed))
    assert all(b'"media"' in pieces[line.at.ordinal] or of_the_types(line) for line in found)


@given(pieces, ends)
def test_lines_that_are_not_in_braces_are_found_as_well(
    pieces: list[bytes], ends: list[int]
) -> None:
    found = [line for lines in chunks(pieces, ends) for line in marked_or_odd(lines, MARK)]
    bad = {
        line.at.ordinal for line in split_lines(b"".join(pieces), Position())[0] if not line.record
    }
    hidden = {place for place, piece in enumerate(pieces) if piece == b"{}{}\n"}
    assert bad - hidden <= {line.at.ordinal for line in found}


@pytest.mark.parametrize("odd", [b"}\n", b'"}\n', b"\n", b'{"torn\n'])
@pytest.mark.parametrize("place", range(3))
def test_an_odd_line_is_found_wherever_it_is(odd: bytes, place: int) -> None:
    lines = [b"{}\n", b"{}\n"]
    lines.insert(place, odd)
    found = marked_or_odd(Lines.of(b"".join(lines), Position()), MARK)
    assert place in {line.at.ordinal for line in found}


def test_lines_in_braces_are_not_parsed() -> None:
    lines = Lines.of(b'{"type":"train"}\n{"broken}\n' + MEDIA, Position(5, 50))
    assert [line.at.ordinal for line in marked_or_odd(lines, MARK)] == [7]


def test_a_line_that_is_too_long_is_odd() -> None:
    line = Line(Position(), Position(1, 2 * MAX_LINE), None, "over-long")
    assert list(marked_or_odd(Lines.too_long(line), MARK)) == [line]
    assert list(marked(Lines.too_long(line), MARK)) == []


def test_lines_behind_one_that_is_too_long_have_their_ordinals(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * (3 * MAX_LINE) + b"\n" + MEDIA + b"y" * MAX_LINE)
    found = list(marked_lines(tmp_path / "log", MARK, Position(9, 10 * MAX_LINE)))
    assert [line.at for line in found] == [Position(1, 3 * MAX_LINE + 1)]
    assert list(lines_at(tmp_path / "log", [Position(1, 3 * MAX_LINE + 1)])) == found


def test_nothing_beyond_the_end_that_was_asked_for_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(MEDIA + MEDIA)
    assert len(list(marked_lines(tmp_path / "log", MARK, Position(1, len(MEDIA))))) == 1


def test_a_place_without_a_whole_line_has_none(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(MEDIA + b'{"torn')
    places = [Position(1, len(MEDIA)), Position(2, 10_000)]
    assert list(lines_at(tmp_path / "log", places)) == []


def of_the_types(line: Line) -> bool:
    return RecordType.of(line.record or {}) in TYPES
