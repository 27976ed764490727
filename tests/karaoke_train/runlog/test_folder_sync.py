"""Folders whose names can't be synced, which is no failure of what was written into them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from karaoke_train import atomic_file
from karaoke_train.runlog.folder_sync import sync_folder
from syncd.state import atomic_json


@pytest.fixture
def folders_fail(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    real, number = os.fsync, request.param

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("folders_fail", [errno.EINVAL, errno.ENOTSUP], indirect=True)
@pytest.mark.usefixtures("folders_fail")
def test_where_folders_are_not_synced_files_are_written_all_the_same(tmp_path: Path) -> None:
    """CIFS, and file systems in user space."""
    sync_folder(tmp_path)
    with atomic_file.replacing(tmp_path / "a") as file:
        file.write(b"a")
    atomic_json.write(tmp_path / "b", 1)
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"a", b"1"]


@pytest.mark.parametrize("folders_fail", [errno.EIO], indirect=True)
@pytest.mark.usefixtures("folders_fail")
def test_a_disk_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)
