"""Lines reach the file in order, through any trouble that a disk or a folder can make."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog import sink as module
from karaoke_train.runlog.layout import LOG_FILES, lock_path
from karaoke_train.runlog.lock import Held, Lock, holder_of
from karaoke_train.runlog.sink import Sink, open_new
from tests.karaoke_train.runlog.files import warned


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "training_log_1.jsonl"


@pytest.fixture
def sink(path: Path) -> Iterator[Sink]:
    sink = make(path)
    yield sink
    sink.close()


def make(path: Path) -> Sink:
    lock = Lock(lock_path(path))
    lock.acquire()
    return Sink(*open_new([path]), lock)


class Disk:
    """os.write as a disk does it that has `room` bytes left; None for all there is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.calls = 0
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        self.calls += 1
        if self.room is None:
            return self._write(descriptor, data)
        if self.room == 0:
            raise OSError(self.error, os.strerror(self.error))
        taken = self._write(descriptor, data[: self.room])
        self.room -= taken
        return taken


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_line_is_one_write(sink: Sink, path: Path, disk: Disk) -> None:
    sink.write(b"a\n")
    sink.write(b"b\n")
    assert disk.calls == 2
    assert path.read_bytes() == b"a\nb\n"


@pytest.mark.parametrize(
    "error", [errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EDQUOT, errno.EFBIG]
)
def test_what_the_disk_refuses_waits_and_is_said_once(
    sink: Sink, path: Path, disk: Disk, error: int
) -> None:
    disk.room, disk.error = 0, error
    with warned(os.strerror(error)):
        sink.write(b"a\n")
        sink.write(b"b\n")
        sink.flush()
    disk.room = None
    sink.write(b"c\n")
    assert path.read_bytes() == b""  # behind those that wait
    sink.flush()
    assert path.read_bytes() == b"a\nb\nc\n"


def test_a_later_trouble_is_said_again(sink: Sink, disk: Disk) -> None:
    for _ in range(2):
        disk.room = 0
        with warned("No space left"):
            sink.write(b"a\n")
        disk.room = None
        sink.flush()


@pytest.mark.parametrize("room", range(7))
def test_a_line_that_found_half_its_room_goes_on_where_it_was(
    sink: Sink, path: Path, disk: Disk, room: int
) -> None:
    disk.room = room
    with warned("No space left"):
        sink.write(b"abc\n")
        sink.write(b"def\n")
    assert path.read_bytes() == b"abc\ndef\n"[:room]
    disk.room = None
    sink.flush()
    assert path.read_bytes() == b"abc\ndef\n"


@pytest.mark.parametrize("room", range(9))
def test_waiting_lines_that_find_some_room_go_on_where_they_were(
    sink: Sink, path: Path, disk: Disk, room: int
) -> None:
    disk.room = 0
    with warned("No space left"):
        sink.write(b"abc\n")
        sink.write(b"def\n")
    disk.room = room
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sink.flush()
    assert path.read_bytes() == b"abc\ndef\n"[:room]
    disk.room = None
    sink.flush()
    assert path.read_bytes() == b"abc\ndef\n"


def test_a_disk_that_takes_nothing_and_says_nothing_does_not_stop_training(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, warned("nothing was written"):
        patch.setattr(os, "write", lambda descriptor, data: 0)
        sink.write(b"a\n")
    sink.flush()


def test_warnings_made_errors_do_not_stop_training(
    sink: Sink, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.room = 0
    sink.write(b"a\n")  # pytest runs with warnings as errors
    assert "No space left" in capsys.readouterr().err
    disk.room = None


def test_a_full_buffer_keeps_the_oldest_counts_the_rest_and_takes_the_last(
    sink: Sink, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUFFER", 10)
    disk.room = 0
    with warned("can't be written", "lost until"):
        for number in range(10):
            sink.write(b"%d23\n" % number)
        sink.write(b"end\n", last=True)
    assert sink.lost == 8
    disk.room = None
    with warned("8 records could not be saved"):
        sink.close()
    assert path.read_bytes() == b"023\n123\nend\n"


def test_a_line_larger_than_the_buffer_still_waits(
    sink: Sink, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUFFER", 2)
    disk.room = 0
    with warned("No space left"):
        sink.write(b"abcdef\n")
    disk.room = None
    sink.flush()
    assert path.read_bytes() == b"abcdef\n"


def test_nothing_is_written_after_the_last_line_or_close(sink: Sink, path: Path) -> None:
    assert sink.write(b"end\n", last=True)
    assert not sink.write(b"late\n")
    assert not sink.write(b"end\n", last=True)
    sink.close()
    sink.close()
    sink.flush()
    assert not sink.write(b"late\n")
    assert path.read_bytes() == b"end\n"


def test_close_waits_for_room_but_not_for_ever(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_WAIT", 0.2)
    sink = make(path)
    disk.room = 0
    with warned("No space left", "2 records could not be saved"):
        sink.write(b"a\n")
        sink.write(b"b\n")
        sink.close()
    assert holder_of(lock_path(path)) is None


def test_close_saves_what_waits_once_there_is_room(path: Path, disk: Disk) -> None:
    sink = make(path)
    disk.room = 0
    with warned("No space left"):
        sink.write(b"a\n")
    timer = threading.Timer(0.15, lambda: setattr(disk, "room", None))
    timer.start()
    sink.close()
    timer.join()
    assert path.read_bytes() == b"a\n"


def test_what_was_written_is_flushed_once(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    sink.flush()
    assert len(calls) == 0
    sink.write(b"a\n")
    sink.flush()
    sink.flush()
    assert len(calls) == 1


def test_a_failed_flush_is_said_and_tried_again(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    sink.write(b"a\n")
    with monkeypatch.context() as patch, warned("can't be flushed"):
        patch.setattr(os, "fsync", fail)
        sink.flush()
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    sink.flush()
    assert len(calls) == 1


def test_one_trouble_does_not_keep_another_from_being_said(
    sink: Sink, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, warned("can't be flushed", "No space left"):
        patch.setattr(os, "fsync", fail)
        sink.write(b"a\n")
        sink.flush()
        disk.room = 0
        sink.write(b"b\n")
    disk.room = None


def test_too_many_open_files_put_the_flush_off(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    sink.write(b"a\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", fail)
        sink.flush()
    sink.flush()
    assert len(calls) == 1


def test_a_torn_line_is_ended_and_a_whole_one_left_alone(sink: Sink, path: Path) -> None:
    sink.end_torn_line()
    assert path.read_bytes() == b""
    for _ in range(2):
        sink.write(b"a")
        sink.end_torn_line()
        sink.end_torn_line()
    assert path.read_bytes() == b"a\na\n"


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def remove_and_make_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir()


def remove_file(path: Path) -> None:
    path.unlink()


def replace_by_rename(path: Path) -> None:
    """The name goes to another file and comes free again."""
    (path.parent / "other").write_bytes(b"other")
    (path.parent / "other").rename(path)
    path.unlink()


def unlink_beside_a_hard_link(path: Path) -> None:
    os.link(path, path.parent.parent / "snapshot")
    path.unlink()


@pytest.mark.parametrize(
    "harm",
    [
        remove_folder,
        remove_and_make_folder,
        remove_file,
        replace_by_rename,
        unlink_beside_a_hard_link,
    ],
)
def test_a_deleted_file_is_written_again_whole(
    sink: Sink, path: Path, harm: Callable[[Path], None]
) -> None:
    sink.write(b"a\n")
    harm(path)
    sink.write(b"b\n")
    with warned("written again"):
        sink.flush()
    sink.write(b"c\n")
    assert path.read_bytes() == b"a\nb\nc\n"
    assert holder_of(lock_path(path))


def test_the_name_of_a_file_that_is_written_again_is_fsynced(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    sink.write(b"a\n")
    shutil.rmtree(path.parent)
    with warned("written again"):
        sink.flush()
    assert sorted(synced) == [path.parent, path]


def test_a_file_that_is_written_again_is_locked_before_it_is_there(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    copy = module._copy

    def look(source: int, target: int) -> None:
        held.append(holder_of(lock_path(path)) is not None)
        copy(source, target)

    monkeypatch.setattr(module, "_copy", look)
    shutil.rmtree(path.parent)
    with warned("written again"):
        sink.flush()
    assert held == [True]


def test_a_file_that_is_written_again_appears_whole(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []
    copy = module._copy

    def look(source: int, target: int) -> None:
        copy(source, target)
        seen.append(list(path.parent.glob(LOG_FILES)))

    monkeypatch.setattr(module, "_copy", look)
    sink.write(b"a\n")
    path.unlink()
    with warned("written again"):
        sink.flush()
    assert seen == [[]]
    assert [found.name for found in path.parent.iterdir() if found.is_file()] == [path.name]


def test_a_file_that_was_written_again_can_be_moved(sink: Sink, path: Path, tmp_path: Path) -> None:
    sink.write(b"a\n")
    path.unlink()
    with warned("written again"):
        sink.flush()
    moved = path.rename(tmp_path / "moved.jsonl")
    sink.flush()
    sink.write(b"b\n")
    assert moved.read_bytes() == b"a\nb\n"
    assert not path.exists()


def test_a_half_copy_of_a_killed_writer_is_not_taken_up(sink: Sink, path: Path) -> None:
    sink.write(b"a\n")
    path.unlink()
    path.with_name(f".{path.name}.restored").write_bytes(b"torn")
    with warned("written again"):
        sink.flush()
    assert path.read_bytes() == b"a\n"


def test_a_file_that_took_the_name_meanwhile_is_left_alone(sink: Sink, path: Path) -> None:
    sink.write(b"a\n")
    path.unlink()
    path.write_bytes(b"somebody else's\n")
    with warned("_restored1.jsonl had been deleted"):
        sink.flush()
    assert path.read_bytes() == b"somebody else's\n"
    assert sink.path.name == "training_log_1_restored1.jsonl"
    assert sink.path.read_bytes() == b"a\n"
    assert holder_of(lock_path(sink.path))


def test_a_deleted_file_that_can_not_be_written_again_yet_is_tried_again(
    sink: Sink, path: Path, disk: Disk
) -> None:
    sink.write(b"abc\n")
    shutil.rmtree(path.parent)
    disk.room = 2
    with warned("deleted and can't be written again"):
        sink.flush()
    assert not path.exists()  # no half of it stays
    disk.room = None
    with warned("written again"):
        sink.flush()
    assert path.read_bytes() == b"abc\n"


def test_a_deleted_file_that_can_never_be_written_again_is_said_to_be_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_WAIT", 0.1)
    sink = make(path)
    sink.write(b"a\n")
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"in the way")
    with warned("can't be written again", "its records are lost"):
        sink.close()


def test_a_moved_file_goes_on_where_it_is(sink: Sink, path: Path, tmp_path: Path) -> None:
    sink.write(b"a\n")
    (tmp_path / "kept").mkdir()
    moved = path.rename(tmp_path / "kept" / path.name)
    sink.write(b"b\n")
    sink.flush()
    sink.write(b"c\n")
    assert sink.path == moved
    assert moved.read_bytes() == b"a\nb\nc\n"
    assert not path.exists()
    assert holder_of(lock_path(moved))
    assert holder_of(lock_path(path)) is None


def test_a_moved_folder_goes_on_where_it_is(sink: Sink, path: Path, tmp_path: Path) -> None:
    path.parent.rename(tmp_path / "kept")
    sink.write(b"a\n")
    sink.flush()
    assert sink.path.read_bytes() == b"a\n"
    assert sink.path == tmp_path / "kept" / path.name
    assert holder_of(lock_path(sink.path))
    assert not path.parent.exists()


def test_a_removed_lock_is_taken_again(sink: Sink, path: Path) -> None:
    shutil.rmtree(path.parent / ".locks")
    assert holder_of(lock_path(path)) is None
    sink.flush()
    assert holder_of(lock_path(path))


def test_a_removed_lock_that_somebody_else_took_meanwhile_is_taken_when_that_one_is_done(
    sink: Sink, path: Path
) -> None:
    shutil.rmtree(path.parent / ".locks")
    other = Lock(lock_path(path))
    other.acquire()
    sink.flush()
    other.release()
    assert holder_of(lock_path(path)) is None
    sink.flush()
    assert holder_of(lock_path(path))


def test_a_lock_that_could_not_be_had_is_taken_when_it_can(path: Path) -> None:
    sink = Sink(*open_new(_in(path)), Lock(lock_path(path)))
    sink.flush()
    assert holder_of(lock_path(path))
    sink.close()


def _in(path: Path) -> list[Path]:
    path.parent.mkdir()
    return [path]


def test_a_folder_that_can_not_be_looked_into_says_nothing_about_the_file(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(self: Path, **options: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stat)
        sink.flush()
    sink.write(b"a\n")
    assert path.read_bytes() == b"a\n"


def mounted_anew(sink: Sink, path: Path, there: bytes | None, patch: pytest.MonkeyPatch) -> None:
    """The open file's disk takes no more writes, and the name leads to another disk, which has
    these bytes of it."""
    old, write = sink._fd, os.write

    def read_only(descriptor: int, data: bytes) -> int:
        if descriptor == old:
            raise OSError(errno.EROFS, "Read-only file system")
        return write(descriptor, data)

    patch.setattr(os, "write", read_only)
    patch.setattr(module, "_current_path", lambda descriptor, path: path)
    os.link(path, path.with_name("below the mount"))
    path.unlink()
    if there is not None:
        path.write_bytes(there)


@pytest.mark.parametrize("there", [b"a\nb\n", b"a\n", b"a\nb", b""])
def test_a_file_whose_disk_was_mounted_anew_goes_on_there(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch, there: bytes
) -> None:
    """Also where its last bytes were not on the disk yet."""
    sink.write(b"a\n")
    sink.write(b"b\n")
    mounted_anew(sink, path, there, monkeypatch)
    with pytest.warns(UserWarning, match="Read-only"):
        sink.write(b"c\n")
    sink.flush()
    sink.write(b"d\n")
    assert path.read_bytes() == b"a\nb\nc\nd\n"
    sink.close()
    assert sink.lost == 0


@pytest.mark.parametrize("there", [b"other\n", b"a\nb\nand more\n", None])
def test_a_file_that_is_not_ours_on_another_disk_is_left_alone(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch, there: bytes | None
) -> None:
    sink.write(b"a\n")
    sink.write(b"b\n")
    with monkeypatch.context() as patch:
        mounted_anew(sink, path, there, patch)
        with pytest.warns(UserWarning, match="Read-only"):
            sink.write(b"c\n")
        sink.flush()
        assert (path.read_bytes() if path.exists() else None) == there
        assert list(sink._waiting) == [b"c\n"]


def test_what_a_failed_disk_shows_in_place_of_lost_lines_is_not_copied(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.write(b"a\n")
    sink.write(b"\0\0\0\n")
    with monkeypatch.context() as patch:
        mounted_anew(sink, path, b"a\n", patch)
        with pytest.warns(UserWarning, match="Read-only"):
            sink.write(b"b\n")
        sink.flush()
        assert path.read_bytes() == b"a\n"


def forgotten(sink: Sink, path: Path, there: bytes, patch: pytest.MonkeyPatch) -> None:
    """The server of the open file was started anew and knows nothing of it; a new mount has these
    bytes under its name."""
    stale, close = {sink._fd}, os.close

    def closed(descriptor: int) -> None:
        close(descriptor)
        stale.discard(descriptor)  # its number may be another file's now

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(descriptor: int, *arguments: Any) -> Any:
            if descriptor in stale:
                raise OSError(errno.ESTALE, "Stale file handle")
            return call(descriptor, *arguments)

        return called

    for name in ("write", "pread", "fstat", "fsync"):
        patch.setattr(os, name, refusing(getattr(os, name)))
    patch.setattr(os, "close", closed)
    os.link(path, path.with_name("on the old mount"))
    path.unlink()
    path.write_bytes(there)


def test_a_file_that_its_server_has_forgotten_goes_on_on_the_new_mount(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.write(b"a\n")
    sink.flush()
    with monkeypatch.context() as patch:
        forgotten(sink, path, b"a\n", patch)
        with pytest.warns(UserWarning, match="Stale file handle"):
            sink.write(b"b\n")
        sink.flush()
        sink.write(b"c\n")
        assert path.read_bytes() == b"a\nb\nc\n"
    with pytest.raises(Held):
        Lock(lock_path(path)).acquire()


@pytest.mark.parametrize("there", [b"a\nb\n", b"a\nb\nc"])
def test_what_a_server_lost_with_a_file_that_it_forgot_is_said(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch, there: bytes
) -> None:
    sink.write(b"a\nb\n")
    sink.flush()
    sink.write(b"cc\n")
    with monkeypatch.context() as patch:
        forgotten(sink, path, there, patch)
        with pytest.warns(UserWarning, match="Stale file handle"):
            sink.write(b"d\n")
        with pytest.warns(UserWarning, match=f"the last {7 - len(there)} bytes .* lost"):
            sink.flush()
        assert path.read_bytes() == there.removesuffix(b"\n") + b"\nd\n"


@pytest.mark.parametrize("there", [b"other\n", b"a\nand more\n", b""])
def test_a_forgotten_file_goes_on_in_no_other(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch, there: bytes
) -> None:
    sink.write(b"a\n")
    sink.flush()
    with monkeypatch.context() as patch:
        forgotten(sink, path, there, patch)
        with pytest.warns(UserWarning, match="Stale file handle"):
            sink.write(b"b\n")
        sink.flush()
        assert path.read_bytes() == there
        assert list(sink._waiting) == [b"b\n"]


def test_no_lock_is_made_where_the_file_is_not(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below a mount that is away, or in a new one that is yet to get what was there: whoever copies
    it finds the place empty."""
    sink.write(b"a\n")
    with monkeypatch.context() as patch:
        mounted_anew(sink, path, None, patch)
        shutil.rmtree(lock_path(path).parent)
        with pytest.warns(UserWarning, match="Read-only"):
            sink.write(b"b\n")
        sink.flush()
        assert not lock_path(path).parent.exists()
        path.write_bytes(b"a\n")
        sink.flush()
        assert (path.read_bytes(), lock_path(path).exists()) == (b"a\nb\n", True)


def test_a_file_on_another_disk_that_somebody_else_writes_is_left_alone(
    sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.write(b"a\n")
    with monkeypatch.context() as patch:
        mounted_anew(sink, path, b"a\n", patch)
        lock_path(path).unlink()
        other = Lock(lock_path(path))
        other.acquire()
        with pytest.warns(UserWarning, match="Read-only"):
            sink.write(b"b\n")
        sink.flush()
        assert path.read_bytes() == b"a\n"
        other.release()
        sink.flush()
        assert path.read_bytes() == b"a\nb\n"
    sink.close()
