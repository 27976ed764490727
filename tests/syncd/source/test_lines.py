"""Whole lines as bytes with their places: what a parser of single lines would say of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog import reader
from karaoke_train.runlog.reader import Position, overlong, parse_line
from syncd.source.lines import Lines, special_lines
from tests.karaoke_train.runlog.files import split_lines

START = Position(7, 100)
texts = st.lists(
    st.one_of(
        st.just(b""), st.just(b'{"type":"train","a":1}'), st.just(b"{bad"), st.binary(max_size=9)
    ).map(lambda raw: raw.replace(b"\n", b"") + b"\n"),
    max_size=6,
).map(b"".join)


@given(texts, st.sampled_from([b"", b"torn", b"{"]))
def test_they_are_what_the_reader_makes_of_the_bytes(data: bytes, torn: bytes) -> None:
    lines = Lines.of(data + torn, START)
    parsed, end = split_lines(data, START)
    assert (list(lines), lines.end, len(lines)) == (parsed, end, len(parsed))
    assert lines.data == data


@given(texts, st.integers(0, 8))
def test_the_first_of_them_and_where_each_begins(data: bytes, most: int) -> None:
    lines = Lines.of(data, START)
    assert list(lines.first(most)) == list(lines)[:most]
    for line in lines:
        assert lines.start_of(line.at.ordinal) == line.at
    assert lines.start_of(lines.end.ordinal) == lines.end


def test_the_first_is_had_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(
        reader, "parse_line", lambda raw, at: parsed.append(raw) or parse_line(raw, at)
    )
    first = next(iter(Lines.of(b'{"a":1}\n{"a":2}\n', START)))
    assert first.record == {"a": 1}
    assert parsed == [b'{"a":1}\n']


def test_a_line_too_long_to_be_kept_is_one_line() -> None:
    line = overlong(START, 5_000_000, b"head")
    lines = Lines.too_long(line)
    assert (list(lines), len(lines), lines.end) == ([line], 1, line.end)
    assert lines.first(9) is lines
    assert lines.data == b""


def test_all_but_plain_metrics_is_special() -> None:
    data = (
        b'{"type":"train","x":1}\n{"type":"val"}\n\n{bad\n{"type":"config"}\n'
        b'{"type":"new"}\n{"x":1}\n'
    )
    assert [line.at.ordinal for line in special_lines(Lines.of(data, Position()))] == [
        2,
        3,
        4,
        5,
        6,
    ]
