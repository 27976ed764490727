"""Small files that a crash leaves whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from syncd.state import atomic_json


def as_is(data: Any) -> Any:
    return data


def test_what_is_written_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    atomic_json.write(path, {"a": [1, "ü"]})
    assert atomic_json.load(path, as_is) == {"a": [1, "ü"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_no_folder_on_the_way_is_others_to_write_in_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "servers" / "here" / "a.json"
    before = os.umask(0)
    try:
        atomic_json.write(path, {})
    finally:
        os.umask(before)
    made = [path.parent, path.parents[1], path.parents[2]]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in made} == {0o700}


def test_a_crash_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    atomic_json.write(path, {"n": 1})
    monkeypatch.setattr(Path, "replace", _fails)
    with pytest.raises(OSError, match="crash"):
        atomic_json.write(path, {"n": 2})
    assert atomic_json.load(path, as_is) == {"n": 1}


def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    atomic_json.write(path, {"n": 1})
    monkeypatch.setattr(os, "fsync", _fails)
    with pytest.raises(OSError, match="crash"):
        atomic_json.write(path, {"n": 2})
    assert atomic_json.load(path, as_is) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def noted_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    atomic_json.write_bytes(tmp_path / "a", b"x")
    assert done == ["file", "rename", "folder"]


def test_bytes_are_written_as_they_are_for_whom_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_json.write_bytes(path, b"\x00x", mode=0o644)
    assert path.read_bytes() == b"\x00x"
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    assert stat.S_IMODE(path.stat().st_mode) & 0o133 == 0


@pytest.mark.parametrize("data", [b"", b"{", b"\x00" * 64, b"\xff\xfe"])
def test_a_damaged_file_reads_as_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert atomic_json.load(path, as_is) is None


def test_what_is_not_there_or_no_file_reads_as_none(tmp_path: Path) -> None:
    assert atomic_json.load(tmp_path / "none.json", as_is) is None
    assert atomic_json.load(tmp_path, as_is) is None


def _fails(*_: object) -> None:
    raise OSError(28, "crash")


def test_what_may_be_lost_to_a_power_cut_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _fails)
    atomic_json.write(tmp_path / "a.json", {"a": 1}, sync=False)
    assert atomic_json.load(tmp_path / "a.json", as_is) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_name_of_a_file_that_is_no_utf_8_comes_back_as_it_was(tmp_path: Path) -> None:
    name = os.fsdecode(b"training_log_\xff\n.jsonl")
    atomic_json.write(tmp_path / "a.json", {"path": name, "count": 3})
    assert atomic_json.load(tmp_path / "a.json", as_is) == {"path": name, "count": 3}


def test_escapes_that_spell_no_character_damage_nothing_but_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"\\ud800": ' + b"[" * 100_000)
    assert atomic_json.load(tmp_path / "a.json", as_is) is None


def test_names_are_listed_in_the_order_of_their_files_on_the_disk(tmp_path: Path) -> None:
    for name in ("b", "d", "a", "c"):
        atomic_json.write(tmp_path / f"{name}.json", {})
    (tmp_path / "b.json").rename(tmp_path / "e.json")  # which moves the name alone
    (tmp_path / "no_json").touch()
    stems = atomic_json.stems(tmp_path)
    assert stems == {"a", "c", "d", "e"}
    assert [*stems] == sorted(stems, key=lambda name: (tmp_path / f"{name}.json").stat().st_ino)
