"""A lock that says who holds it: one writer a run log, one daemon a state folder or run.

The kernel's lock (flock) ends with its process, however that ends, so a held lock is a sign of
life. Where a file system has none (ENOSYS, ENOLCK, EOPNOTSUPP: NFS without lockd, Lustre mounted
with noflock, some FUSE), filelock's lease stands in: a marker file whose time stamp the holder
refreshes, free again LEASE seconds after the last refresh.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from karaoke_train.runlog.format import RunLogError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LEASE: Final = 30.0  # seconds without a refresh after which a soft lock is free
_NO_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as it wrote itself down."""

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Held(RunLogError):
    """Somebody else holds the lock."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.holder = holder


class Lock:
    """An exclusive lock at `path`; `soft` says that the file system had no real one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.soft = False
        self._lock: BaseFileLock | None = None

    def acquire(self, timeout: float = 0.0, *, signed: bool = True) -> None:
        """Take the lock within `timeout` seconds. Raises Held; OSError when no lock can be made.

        `signed=False` takes it without writing one's name into it, for those who only ask.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        from filelock import FileLock, SoftFileLease, Timeout

        sign = _sign if signed else None
        native = FileLock(self.path, thread_local=False, fallback_to_soft=False, on_acquired=sign)
        try:
            try:
                native.acquire(timeout=timeout, poll_interval=0.02)
                self._lock = native
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                lease = SoftFileLease(_soft(self.path), lease_duration=LEASE, thread_local=False)
                lease.acquire(timeout=timeout)
                if signed:
                    self.path.write_bytes(_signature())
                self._lock, self.soft = lease, True
        except Timeout:
            raise Held(self.path, read_holder(self.path)) from None

    def release(self) -> None:
        """Give the lock back; nothing happens when it isn't held."""
        if self._lock is not None:
            with suppress(OSError):  # a vanished folder took the lock with it
                self._lock.release(force=True)
            self._lock = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock is not None


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock at `path` now; None when it's free. Asking creates nothing."""
    if not path.exists():
        return None
    probe = Lock(path)
    try:
        probe.acquire(signed=False)
    except Held as held:
        return held.holder or Holder(host="unknown host", pid=0, since="unknown")
    except OSError:  # a read-only folder: nobody can be writing there through this path
        return None
    probe.release()
    return None


def read_holder(path: Path) -> Holder | None:
    """The name last written into the lock, held or not."""
    try:
        return Holder(**orjson.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # a full disk: the lock holds all the same, only unnamed
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _signature(), 0)


def _signature() -> bytes:
    return orjson.dumps(asdict(Holder()))


def _soft(path: Path) -> Path:
    return path.with_name(path.name + ".lease")
