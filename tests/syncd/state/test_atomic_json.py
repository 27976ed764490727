"""Small files that a crash leaves whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from syncd.state import atomic_json


def test_what_is_written_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    atomic_json.write(path, {"a": [1, "ü"]})
    assert atomic_json.read(path) == {"a": [1, "ü"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_crash_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    atomic_json.write(path, {"n": 1})
    monkeypatch.setattr(Path, "replace", _fails)
    with pytest.raises(OSError, match="crash"):
        atomic_json.write(path, {"n": 2})
    assert atomic_json.read(path) == {"n": 1}


def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    atomic_json.write(path, {"n": 1})
    monkeypatch.setattr(os, "fsync", _fails)
    with pytest.raises(OSError, match="crash"):
        atomic_json.write(path, {"n": 2})
    assert atomic_json.read(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"{", b"\x00" * 64, b"\xff\xfe"])
def test_a_damaged_file_reads_as_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert atomic_json.read(path) is None


def test_what_is_not_there_or_no_file_reads_as_none(tmp_path: Path) -> None:
    assert atomic_json.read(tmp_path / "none.json") is None
    assert atomic_json.read(tmp_path) is None


def _fails(*_: object) -> None:
    raise OSError(28, "crash")
