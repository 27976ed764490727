"""Bytes -> lines: each byte in one line or the tail, at the same place however they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import HEAD, Line, Position, overlong, parse_line
from tests.karaoke_train.runlog.files import split_lines

PIECES = st.sampled_from(
    [b'{"a": 1}', b'{"type": "train"', b"\n", b"\r\n", b"\0\0\0", b"\xff", b"\xef\xbb\xbf", b" "]
)
BYTES = st.lists(PIECES | st.binary(max_size=5), max_size=30).map(b"".join)


@given(BYTES)
def test_every_byte_is_in_exactly_one_line_or_the_tail(data: bytes) -> None:
    start = Position(7, 1000)
    lines, end = split_lines(data, start)
    place = start
    for line in lines:
        assert line.at == place
        assert line.end.ordinal == place.ordinal + 1
        place = line.end
    assert place == end
    assert b"\n" not in data[end.offset - start.offset :]


@given(BYTES)
def test_an_ordinal_is_the_number_of_newlines_before(data: bytes) -> None:
    lines, end = split_lines(data, Position())
    for line in lines:
        assert line.at.ordinal == data[: line.at.offset].count(b"\n")
    assert end.ordinal == data.count(b"\n")


@given(BYTES, st.lists(st.integers(0, 200), max_size=12))
def test_chunks_give_the_lines_that_one_piece_gives(data: bytes, cuts: list[int]) -> None:
    """As a tailer reads a growing file: from the last line's end, up to what is there."""
    got: list[Line] = []
    place = Position()
    for cut in sorted(min(cut, len(data)) for cut in [*cuts, len(data)]):
        lines, place = split_lines(data[place.offset : cut], place)
        got += lines
    assert (got, place) == split_lines(data, Position())


@given(BYTES)
def test_a_line_has_a_record_or_a_problem_and_its_head(data: bytes) -> None:
    for line in split_lines(data, Position())[0]:
        raw = data[line.at.offset : line.end.offset]
        if line.record is None:
            assert line.problem
            assert line.head == raw[:HEAD]
        else:
            assert (line.problem, line.head) == ("", b"")


def test_torn_tail_waits_for_its_newline() -> None:
    data = b'{"a":1}\n{"b":2}'
    lines, end = split_lines(data, Position())
    assert [line.record for line in lines] == [{"a": 1}]
    assert split_lines(data[end.offset :], end) == ([], end)
    (late,), _ = split_lines(data[end.offset :] + b"\n", end)
    assert (late.record, late.at) == ({"b": 2}, Position(1, 8))


def test_a_bad_line_takes_its_ordinal() -> None:
    lines, end = split_lines(b'{"a":1}\n\0\0\0\n\n{"b":2}\r\n', Position())
    assert [line.record for line in lines] == [{"a": 1}, None, {}, {"b": 2}]
    assert end == Position(4, 22)


def test_an_overlong_line_is_bad_and_the_same_given_whole_or_not() -> None:
    raw = b'{"x":"' + b"a" * MAX_LINE + b'"}\n'
    whole = parse_line(raw, Position(3, 50))
    assert whole.record is None
    assert whole == overlong(Position(3, 50), len(raw), raw[:1000])


def test_positions_are_in_the_order_of_the_file() -> None:
    assert Position() < Position(1, 2) < Position(2, 4)
