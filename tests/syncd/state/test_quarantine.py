"""Bad lines: each counted once, kept with its place and first bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from karaoke_train.runlog.reader import Position
from syncd.state import quarantine
from tests.karaoke_train.runlog.files import split_lines

LOG = Path("/logs/a.jsonl")


def add(folder: Path, data: bytes, start: Position = Position()) -> Position:  # noqa: B008
    lines, end = split_lines(data, start)
    quarantine.BadLines(folder, "run-1").add(LOG, lines)
    return end


def test_a_bad_line_is_kept_with_its_place_and_first_bytes(tmp_path: Path) -> None:
    add(tmp_path, b'{"a":1}\n{torn\n\x00\x00\n\xff' + b"x" * 500 + b"\n\n")
    found = quarantine.load(tmp_path, "run-1")
    assert (found.count, found.path) == (3, str(LOG))
    assert [(line.ordinal, line.offset) for line in found.lines] == [(1, 8), (2, 14), (3, 17)]
    assert [line.head[:6] for line in found.lines] == ["{torn", "\\0\\0", "\\xffxx"]
    assert len(found.lines[2].head) <= 203
    assert all(line.problem for line in found.lines)


def test_a_secret_in_a_bad_line_is_not_kept(tmp_path: Path) -> None:
    add(tmp_path, b'{"config": {"api_key": "hf_abcdefghijklmnop"\n')
    assert "hf_abcdefghijklmnop" not in (tmp_path / "run-1.json").read_text()
    assert "***" in quarantine.load(tmp_path, "run-1").lines[0].head


def test_lines_seen_again_are_counted_once(tmp_path: Path) -> None:
    add(tmp_path, b"bad\nbad\n")
    end = add(tmp_path, b"bad\nbad\nbad\n")
    add(tmp_path, b"{}\n", end)
    assert quarantine.load(tmp_path, "run-1").count == 3


def test_good_lines_leave_no_file(tmp_path: Path) -> None:
    add(tmp_path, b'{"a":1}\n\n')
    assert list(tmp_path.iterdir()) == []


def test_all_are_counted_where_not_all_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "KEPT", 3)
    add(tmp_path, b"bad\n" * 5)
    found = quarantine.load(tmp_path, "run-1")
    assert (found.count, len(found.lines)) == (5, 3)


@pytest.mark.parametrize("value", [None, [], {"lines": [1]}, {"lines": [], "path": ""}, {"a": 1}])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, value: object) -> None:
    (tmp_path / "run-1.json").write_text(json.dumps(value))
    assert quarantine.load(tmp_path, "run-1") == quarantine.Quarantine()
    add(tmp_path, b"bad\n")
    assert quarantine.load(tmp_path, "run-1").count == 1
