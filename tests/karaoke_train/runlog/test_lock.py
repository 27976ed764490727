"""A lock says who holds it, ends with its holder, and is a lease where there are no locks."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from karaoke_train.runlog import lock as module
from karaoke_train.runlog.lock import Held, Holder, Lock, holder_of, read_holder
from karaoke_train.runlog.regular_file import UnsafeFile
from tests.karaoke_train.runlog.files import python
from tests.patience import patience

HOLD = """
from pathlib import Path
from karaoke_train.runlog.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
ELSEWHERE = "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=t\nduration={lease!r}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".locks" / "a.lock"


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no flock."""

    def flock(descriptor: int, operation: int) -> NoReturn:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def leave_lease(path: Path) -> Path:
    """The lease of a process on another host that we can't ask."""
    path.parent.mkdir()
    path.write_text('{"host": "elsewhere", "pid": 1, "since": "then"}')
    marker = path.with_name(path.name + ".lease")
    marker.write_text(ELSEWHERE.format(lease=module.LEASE))
    return marker


def test_a_second_lock_is_refused_and_names_the_holder(path: Path) -> None:
    first = Lock(path)
    first.acquire()
    with pytest.raises(Held) as held:
        Lock(path).acquire()
    assert (held.value.holder or Holder()).pid == os.getpid()
    assert f"process {os.getpid()} on {socket.gethostname()}" in str(held.value)
    assert holder_of(path) == held.value.holder
    first.release()
    Lock(path).acquire()


def test_release_is_nothing_when_not_held_and_when_its_folder_has_gone(path: Path) -> None:
    lock = Lock(path)
    lock.release()
    lock.acquire()
    path.unlink()
    path.parent.rmdir()
    lock.release()
    assert not lock.held


def test_a_lock_whose_file_is_removed_or_replaced_is_lost_and_can_be_taken_anew(
    path: Path,
) -> None:
    mine, other = Lock(path), Lock(path)
    assert mine.lost
    mine.acquire()
    assert not mine.lost
    path.unlink()
    assert mine.lost
    other.acquire()
    assert (mine.lost, other.lost) == (True, False)
    mine.release()
    assert not other.lost
    other.release()


def test_the_name_in_a_free_lock_is_nobodys(path: Path) -> None:
    lock = Lock(path)
    lock.acquire()
    lock.release()
    assert read_holder(path)
    assert holder_of(path) is None


def test_asking_creates_nothing(path: Path) -> None:
    assert holder_of(path) is None
    assert not path.parent.exists()


def test_two_who_ask_do_not_see_each_other(path: Path) -> None:
    """One in the middle of asking holds what asking takes: a shared lock."""
    path.parent.mkdir()
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert holder_of(path) is None


def test_who_holds_can_be_asked_in_a_folder_that_takes_no_writes(path: Path) -> None:
    lock = Lock(path)
    lock.acquire()
    opened: list[int] = []
    real = os.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            os, "open", lambda p, flags, *a, **k: opened.append(flags) or real(p, flags, *a, **k)
        )
        assert holder_of(path) == read_holder(path)
    assert opened
    assert all(flags & os.O_ACCMODE == os.O_RDONLY for flags in opened)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}', '{"odd": 1}', "\0" * 20])
def test_a_damaged_name_is_an_unknown_holder(path: Path, text: str) -> None:
    lock = Lock(path)
    lock.acquire()
    path.write_text(text)
    assert read_holder(path) is None
    assert "unknown host" in str(holder_of(path))
    with pytest.raises(Held, match="another process"):
        Lock(path).acquire()


@pytest.mark.process
def test_a_killed_holders_lock_is_free(path: Path) -> None:
    process = python(HOLD, path, stdin=-1)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    assert (holder_of(path) or Holder()).pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=patience(10))
    assert holder_of(path) is None
    Lock(path).acquire()


@pytest.mark.usefixtures("no_locks")
def test_without_flock_a_lease_stands_in(path: Path) -> None:
    first = Lock(path)
    first.acquire()
    assert first.soft
    assert (holder_of(path) or Holder(pid=0)).pid == os.getpid()
    with pytest.raises(Held, match=f"process {os.getpid()}"):
        Lock(path).acquire()
    first.release()
    assert holder_of(path) is None
    second = Lock(path)
    second.acquire()
    second.release()


@pytest.mark.usefixtures("no_locks")
def test_a_private_lease_is_its_owners_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        lock = Lock(path, private=True)
        lock.acquire()
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        lock.release()
    finally:
        os.umask(before)


@pytest.mark.usefixtures("no_locks")
def test_a_dead_hosts_lease_is_free_once_it_stood_still_for_its_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 0.3)
    leave_lease(path)
    lock = Lock(path)
    with pytest.raises(Held, match="process 1 on elsewhere"):
        lock.acquire()
    give_up = time.monotonic() + patience(10)
    while not lock.held and time.monotonic() < give_up:  # as a daemon asks, now and then
        try:
            lock.acquire()
        except Held:
            time.sleep(0.02)
    assert lock.held
    lock.release()


@pytest.mark.usefixtures("no_locks")
def test_a_lease_that_was_refreshed_lately_is_alive(path: Path) -> None:
    marker = leave_lease(path)
    assert holder_of(path) == Holder("elsewhere", 1, "then")
    long_ago = time.time() - 3 * module.LEASE
    os.utime(marker, (long_ago, long_ago))
    assert holder_of(path) is None


@pytest.mark.usefixtures("no_locks")
def test_a_full_disk_leaves_a_lease_unsigned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_bytes(self: Path, data: bytes) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    lock = Lock(path)
    lock.acquire()
    assert lock.held
    lock.release()


def test_other_errors_are_raised(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"):
        Lock(path).acquire()


OTHERS = b"export PATH=/usr/bin\n"  # a file that somebody needs


def test_a_file_that_is_no_lock_is_locked_and_never_written_over(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(OTHERS)
    lock = Lock(path)
    lock.acquire()
    assert path.read_bytes() == OTHERS
    with pytest.raises(Held, match="another process"):
        Lock(path).acquire()


def test_a_second_name_of_a_file_elsewhere_is_never_written_over(
    path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    path.parent.mkdir()
    os.link(elsewhere, path)
    Lock(path).acquire()
    assert elsewhere.read_bytes() == b""


@pytest.mark.parametrize("left", [OTHERS, b'{"a": 1}', b"\xff{]" * 2000])
def test_in_a_folder_of_ones_own_a_damaged_lock_is_signed_anew(path: Path, left: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(left)
    lock = Lock(path, private=True)
    lock.acquire()
    holder = holder_of(path)
    assert holder is not None
    assert (holder.pid, len(path.read_bytes()) < 200) == (os.getpid(), True)


def test_a_second_name_is_never_written_over_in_a_folder_of_ones_own_either(
    path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(OTHERS)
    path.parent.mkdir()
    os.link(elsewhere, path)
    Lock(path, private=True).acquire()
    assert elsewhere.read_bytes() == OTHERS


@pytest.mark.parametrize("left", [b"", b"\0" * 90, b'{"host": "h", "pid": 1, "since": "then"}'])
def test_what_a_lock_of_ours_leaves_is_signed_anew(path: Path, left: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(left)
    lock = Lock(path)
    lock.acquire()
    assert read_holder(path) == holder_of(path)
    assert f'"pid":{os.getpid()}'.encode() in path.read_bytes()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_no_lock_and_is_not_waited_for(
    path: Path, make: Callable[[Path], None]
) -> None:
    path.parent.mkdir()
    make(path)
    with pytest.raises(UnsafeFile, match="no regular file"):
        Lock(path).acquire()
    assert holder_of(path) is None
    assert read_holder(path) is None


def test_a_link_in_the_place_of_the_folder_of_locks_is_not_followed(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFile, match="symbolic link"):
        Lock(path).acquire()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.usefixtures("no_locks")
def test_without_flock_nothing_is_written_over_either(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(OTHERS)
    lock = Lock(path)
    lock.acquire()
    assert path.read_bytes() == OTHERS
    lock.release()
    own = Lock(path, private=True)
    own.acquire()
    assert (holder_of(path) or Holder(pid=0)).pid == os.getpid()
    own.release()


def test_of_an_endless_lock_a_bounded_part_is_read(path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert read_holder(path) is None
    assert holder_of(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("text", ["", '{"host": "h", "pid": 1, "since": "then"}'])
def test_a_lock_in_another_users_file_names_the_user(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    os.chown(path, 12345, 12345)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = holder_of(path)
    assert holder is not None
    assert holder.user == "user 12345"
    assert str(holder).startswith(f"process {1 if text else '(unknown)'} of user 12345 on ")


def test_a_lock_that_says_nothing_is_held_since_its_file_was_changed(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    os.utime(path, (86_400, 86_400))
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert str(holder_of(path)).endswith("since 1970-01-02T00:00:00+00:00")


def test_a_name_that_a_full_disk_did_not_take_is_written_once_there_is_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*what: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    lock = Lock(path)
    lock.sign_again()
    assert not path.exists()  # only a lock that is held is signed
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        lock.acquire()
        lock.sign_again()
    assert read_holder(path) is None
    lock.sign_again()
    holder = holder_of(path)
    assert holder is not None
    assert holder.pid == os.getpid()
    with pytest.raises(Held):
        Lock(path).acquire()
    path.unlink()
    path.touch()
    lock.sign_again()
    assert not path.read_bytes()  # another one in its place is nobody's yet
    lock.release()
