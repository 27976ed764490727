"""A lock that says who holds it: one writer per run log, one daemon per state folder or run.

The kernel's lock (flock) ends with its process, however that ends, so a held lock shows that its
holder lives; filelock closes it in forked children, so they do not prolong it. Where a file system
has none (ENOSYS, ENOLCK, EOPNOTSUPP: NFS without lockd, Lustre mounted with noflock, some FUSE),
filelock's lease stands in: a marker file whose time stamp the holder refreshes. It is free at once
when its process was of this host and has died, else after LEASE seconds without a refresh.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from karaoke_train.runlog.format import RunLogError
from karaoke_train.runlog.layout import LOCKS
from karaoke_train.runlog.regular_file import (
    UnsafeFile,
    check_regular,
    open_regular,
    user_name,
)

if TYPE_CHECKING:
    from filelock import BaseFileLock, SoftFileLease

LEASE: Final = 30.0  # seconds without a refresh after which a soft lock is free
# Seconds to wait for a lock that nobody ought to hold. `holder_of` takes a shared one for a moment
# to see whether it could, so a daemon that looks would otherwise turn a new writer away.
LOCK_WAIT: Final = 0.3
_LONGEST: Final = 4096  # bytes of a signature
_LONGEST_NAME: Final = 255  # characters of a host's name, as POSIX has it
_OWNERS: Final = 0o600
_BY_UMASK: Final = -1  # as filelock has it
_NO_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})
_TAKEN: Final = frozenset({errno.EAGAIN, errno.EACCES})  # EACCES: flock on NFS and CIFS


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as its holder wrote it into the lock."""

    host: str = field(default_factory=lambda: this_host())
    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    # Whose the lock's file is, where it is another user's: what is written in it is then their word
    user: str = ""

    def __str__(self) -> str:
        by = f" of {self.user}" if self.user else ""
        return f"process {self.pid or '(unknown)'}{by} on {self.host}, since {self.since}"


class LockKind(StrEnum):
    """What stands behind a held lock, as a config record says it."""

    FLOCK = "flock"  # the kernel's: free the moment its process ends
    LEASE = "lease"  # a time stamp in a file: free LEASE seconds after its last refresh
    NONE = "none"  # no lock could be had


class Held(RunLogError):
    """Somebody else holds the lock."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.holder = holder


class Lock:
    """An exclusive lock at `path`; `soft`: the file system had no real one, so it is a lease.
    private: its file is made for its owner alone, whatever the umask, in a folder that is a
    program's own, where anything in the lock's place is written over; else as the umask says, and
    what has never been a lock stays as it is.

    Try again with the same object, not with a new one: whether another host's lease is still
    refreshed is seen only from one try to the next.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self.path = path
        self._private = private
        self._mode = _OWNERS if private else _BY_UMASK
        self.soft = False
        self._lock: BaseFileLock | None = None  # the one that is held
        self._lease: SoftFileLease | None = None
        self._file: tuple[int, int] | None = None  # device and inode of the kernel's lock
        self._signed = False  # whether our name is in it

    def acquire(self, timeout: float = 0.0) -> None:
        """Take the lock within `timeout` seconds, and write host, process id and time into it, for
        whoever is refused. Raises Held; OSError when no lock can be made."""
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        _check_place(self.path)

        def acquired(descriptor: int) -> None:
            self._file = _identity(os.fstat(descriptor))
            self._signed = _sign(descriptor, self._private)

        native = FileLock(
            self.path, mode=self._mode, thread_local=False, fallback_to_soft=False,
            on_acquired=acquired,
        )  # fmt: skip
        try:
            try:
                native.acquire(timeout=timeout, poll_interval=0.02)
                self._lock, self.soft = native, False
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                self._acquire_lease(timeout)
        except Timeout:
            raise Held(self.path, read_holder(self.path)) from None

    def sign_again(self) -> None:
        """Write our name into the lock that is held, where the disk did not take it so far: the
        holder before is named in it else, or nobody."""
        if self._signed or self.soft or not self.held:
            return
        with suppress(OSError):
            descriptor = os.open(
                self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
            try:
                if _identity(os.fstat(descriptor)) == self._file:
                    self._signed = _sign(descriptor, self._private)
            finally:
                os.close(descriptor)

    def release(self) -> None:
        """Release the lock; does nothing when it isn't held."""
        if self._lock is not None:
            with suppress(OSError):  # a vanished folder took the lock with it
                self._lock.release(force=True)
            self._lock = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock is not None

    @property
    def lost(self) -> bool:
        """Whether nobody is kept out by this object: it holds no lock, or the lock's file was
        removed or replaced, and another can be taken in its place."""
        if self.soft or not self.held:
            return not self.held
        try:
            return _identity(self.path.lstat()) != self._file
        except OSError:
            return True

    @property
    def kind(self) -> LockKind:
        """Which kind of lock this object holds, NONE while it holds none."""
        if not self.held:
            return LockKind.NONE
        return LockKind.LEASE if self.soft else LockKind.FLOCK

    def _acquire_lease(self, timeout: float) -> None:
        self.soft = True
        self._lease = self._lease or _lease(self.path, self._mode)
        self._lease.acquire(timeout=timeout)
        self._lock = self._lease
        with suppress(OSError):  # as for _sign
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            mode = 0o644 if self._mode == _BY_UMASK else self._mode
            with os.fdopen(os.open(self.path, flags, mode), "rb") as file:
                _sign(file.fileno(), self._private)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def this_host() -> str:
    """The name by which locks of this machine's processes are told from others'."""
    import socket  # 2 ms, for who takes or finds a lock

    return socket.gethostname()


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock at `path` now; None when it is free, not ours to see, or a trap in the
    place of a lock. Creates and writes nothing."""
    try:
        return seen_holder(path)
    except OSError:
        return None


def seen_holder(path: Path) -> Holder | None:
    """Who holds the lock at `path` now; None when it is free. Raises UnsafeFile, OSError where that
    can't be seen."""
    try:
        # Opened to read, and locked shared below: two that ask do not take each other for holders,
        # and a folder in which we may not write can be asked, too
        descriptor = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        taken = error.errno in _TAKEN or (error.errno in _NO_LOCKS and _lease_lives(path))
    else:
        taken = False
    finally:
        os.close(descriptor)
    if not taken:
        return None
    return read_holder(path) or _unknown(path)


def read_holder(path: Path) -> Holder | None:
    """Who is written in the lock, held or not; None where nobody is, or nothing readable."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    try:
        holder = _signed(descriptor)
        owner = os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
    return replace(holder, user=_other_user(owner)) if holder else None


def _unknown(path: Path) -> Holder:
    """Whoever holds a lock that says nothing: since when its file was last changed, and whose."""
    since, user = "unknown", ""
    with suppress(OSError, ValueError, OverflowError):
        found = path.lstat()
        user = _other_user(found.st_uid)
        since = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
    return Holder(host="unknown host", pid=0, since=since, user=user)


def _other_user(owner: int) -> str:
    """The name of the user; empty for this one, and for root, which trains in containers."""
    return "" if owner in (os.geteuid(), 0) else user_name(owner)


def _signed(descriptor: int) -> Holder | None:
    """Who is written in an open file; None where nobody is."""
    try:
        name = orjson.loads(os.pread(descriptor, _LONGEST + 1, 0))
        host, since = str(name["host"]), str(name["since"])
        return Holder(host=host[:_LONGEST_NAME], pid=int(name["pid"]), since=since[:_LONGEST_NAME])
    except (OSError, ValueError, TypeError, LookupError, OverflowError):
        return None


def _sign(descriptor: int, private: bool) -> bool:
    """Write our name into a lock; False where the disk does not take it. What may not be written
    over stays as it is. private: see `Lock`."""
    try:
        if _is_ours(descriptor, private):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _signature(), 0)
    except OSError:  # a full disk: the lock is held all the same, only unsigned
        return False
    return True


def _is_ours(descriptor: int, private: bool) -> bool:
    """Whether an open file may be written over: it is new, or has been a lock. Anything else was
    put there, perhaps as a hard link to a file that somebody needs. private: in a folder of our
    own, it was a lock that was damaged, and unsigned it would hide who holds it."""
    found = os.fstat(descriptor)
    if found.st_nlink != 1:
        return False
    if private:
        return True
    if found.st_size > _LONGEST:
        return False
    # Zeros are what a power cut leaves of a signature
    return not os.pread(descriptor, _LONGEST, 0).strip(b"\0") or _signed(descriptor) is not None


def _check_place(path: Path) -> None:
    """See that a lock at `path` would be a file of this folder. Raises UnsafeFile."""
    if path.parent.name == LOCKS and path.parent.is_symlink():  # beside logs: others may write
        raise UnsafeFile(errno.ELOOP, f"{path.parent} is a symbolic link, which is not followed")
    with suppress(FileNotFoundError):
        check_regular(path.lstat())


def _signature() -> bytes:
    signed = asdict(Holder())
    del signed["user"]  # the file system says it
    return orjson.dumps(signed)


def _lease_lives(path: Path) -> bool:
    """Whether a lease on `path` is held: refreshed of late, and not by a dead process of here."""
    from filelock import Timeout

    try:
        # Twice LEASE, since this compares our clock with the file server's
        if time.time() - _marker(path).stat().st_mtime > 2 * LEASE:
            return False
        probe = _lease(path)
        probe.acquire(timeout=0)  # succeeds at once for a dead process's marker only
    except FileNotFoundError:
        return False
    except (Timeout, OSError):  # OSError: a read-only folder, where the time alone can tell
        return True
    probe.release()
    return False


def _lease(path: Path, mode: int = _BY_UMASK) -> SoftFileLease:
    from filelock import SoftFileLease

    return SoftFileLease(_marker(path), mode=mode, lease_duration=LEASE, thread_local=False)


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".lease")
