"""The few lines that hold a word, wherever the reads happen to end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Position, split_lines
from syncd.source import marked
from syncd.source.marked import lines_at, marked_lines

PIECES = (b'{"type":"media"}', b'{"type":"epoch_summary","epoch":1}', b'{"type":"train"}', b"",
          b"media media", b"\xff media", b'{"a":"\\n"}')  # fmt: skip
MARKS = (b"media", b"epoch_summary")


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.integers(1, 64), st.booleans())
def test_they_are_those_that_reading_every_line_finds(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], chunk: int, torn: bool
) -> None:
    data = b"".join(piece + b"\n" for piece in pieces) + (b"media" if torn else b"")
    path = tmp_path_factory.mktemp("marked") / "log"
    path.write_bytes(data)
    expected = [
        line
        for line in split_lines(data, Position())[0]
        if any(mark in data[line.at.offset : line.end.offset] for mark in MARKS)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marked, "CHUNK", chunk)
        assert list(marked_lines(path, MARKS, len(data))) == expected
    assert list(lines_at(path, [line.at for line in expected])) == expected


def test_lines_behind_one_that_is_too_long_have_their_ordinals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marked, "CHUNK", 1 << 18)
    (tmp_path / "log").write_bytes(b"x" * (3 * MAX_LINE) + b"\nmedia\n" + b"y" * MAX_LINE)
    found = list(marked_lines(tmp_path / "log", MARKS, 10 * MAX_LINE))
    assert [line.at for line in found] == [Position(1, 3 * MAX_LINE + 1)]


def test_nothing_beyond_the_end_that_was_asked_for_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"media\nmedia\n")
    assert len(list(marked_lines(tmp_path / "log", MARKS, 6))) == 1
