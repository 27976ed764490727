"""Where nothing can be written is said before the work whose result would be lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from karaoke_train.writable import NotWritable, check_folder, check_names


def check(folder: Path, *, may_be_full: bool = False) -> None:
    check_folder(folder, given_as="--out", lost="the notes", may_be_full=may_be_full)


def test_a_folder_that_takes_files_is_left_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    check(there)
    check(there / "to be" / "made")
    assert list(tmp_path.rglob("*")) == [there]


def test_a_file_a_link_to_nowhere_and_proc_take_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / "link", Path("/proc/x")):
        with pytest.raises(NotWritable) as said:
            check(place)
        assert str(said.value).startswith(f"--out {place} can't be written (")
        assert "no place for the notes" in str(said.value)


def test_a_full_disk_is_named_unless_what_is_to_be_written_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotWritable, match="No space left on device"):
        check(tmp_path)
    check(tmp_path, may_be_full=True)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_measured_in_bytes_and_whether_or_not_its_folder_is_there(tmp_path: Path) -> None:
    most = os.pathconf(tmp_path, "PC_NAME_MAX")
    check_names([tmp_path / ("x" * most), tmp_path / "new" / ("x" * most)])
    too_long = "é" * (most // 2 + 1)
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(NotWritable, match=f"its name has {2 * len(too_long)} bytes"):
            check_names([folder / "short", folder / too_long])
