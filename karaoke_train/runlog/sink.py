"""Bytes that must reach a file: appended in order, kept through a full disk or a vanished folder.

Lines that can't be written wait in memory, at most BUFFER bytes of them, oldest kept. A file that
was deleted from under its writer is written anew from the one that is still open; one that was
moved goes on where it is now.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Held, Lock
from karaoke_train.runlog.notice import notice

BUFFER: Final = 64 << 20  # bytes that may wait in memory, days of metrics
CLOSE_WAIT: Final = 5.0  # seconds that close gives a full disk to make room
RETRY_EVERY: Final = 0.1  # seconds between tries within them


class Sink:
    """An open file of lines and the lock that goes with it. Thread-safe; never raises for I/O."""

    def __init__(self, path: Path, descriptor: int, lock: Lock) -> None:
        self.path = path
        self.lost = 0  # lines that found no room in the buffer
        self._fd = descriptor  # -1 once closed
        self._lock = lock
        # Guards everything below. Reentrant: a signal handler may end the run while the thread
        # that it interrupted is writing.
        self._guard = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._sealed = False
        self._dirty = False
        self._nameless = False  # deleted, and not yet written again
        self._troubles: set[str] = set()  # those that the user has been told of

    def write(self, line: bytes, *, last: bool = False) -> bool:
        """Append one line, behind those that wait. After the `last` one: False, nothing done."""
        with self._guard:
            if self._sealed:
                return False
            self._sealed = last
            if self._waiting:
                self._queue(line, always=last)
            elif rest := self._try(line):
                self._queue(rest)
            return True

    def tend(self) -> None:
        """Retry what waits, see that the file is still where it was, and fsync what is new."""
        with self._guard:
            if self._fd < 0:
                return
            self._follow()
            self._drain()
            descriptor = self._duplicate_if_dirty()
        if descriptor >= 0:
            self._sync(descriptor)

    def end_torn_line(self) -> None:
        """End a last line that its writer didn't live to end, so that the next starts anew.

        Raises OSError when the file can't be read.
        """
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self.write(b"\n")

    def close(self) -> None:
        """Write and fsync what can be, within CLOSE_WAIT seconds; give the lock back."""
        deadline = time.monotonic() + CLOSE_WAIT
        self.tend()
        while (self._waiting or self._nameless) and time.monotonic() < deadline:
            time.sleep(RETRY_EVERY)
            self.tend()
        with self._guard:
            if self._fd < 0:
                return
            with suppress(OSError):
                os.close(self._fd)
            self._fd, self._sealed = -1, True
            self._lock.release()
        self._say_what_is_lost()

    def _try(self, data: bytes) -> bytes:
        """Write what the disk takes; what it didn't take comes back.

        A filling disk takes a part of a line. The rest goes on exactly there, or, if we die
        before, whoever continues the run ends the torn line.
        """
        try:
            while data:
                data = data[_write(self._fd, data) :]
                self._dirty = True
        except OSError as error:
            self._warn(
                "write",
                f"{self.path} can't be written ({error.strerror}). Training goes on; records wait "
                "in memory and are written as soon as the disk takes them.",
            )
        return data

    def _queue(self, line: bytes, *, always: bool = False) -> None:
        if self._waiting and self._waiting_bytes + len(line) > BUFFER and not always:
            self.lost += 1
            if self.lost == 1:
                notice(
                    f"{self.path} still can't be written and {BUFFER >> 20} MiB of records wait "
                    "in memory: newer ones are lost until the disk makes room."
                )
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _drain(self) -> None:
        while self._waiting:
            rest = self._try(self._waiting[0])
            self._waiting_bytes -= len(self._waiting[0]) - len(rest)
            if rest:
                self._waiting[0] = rest
                return
            self._waiting.popleft()
            self._troubles.discard("write")  # the next one is news again

    def _duplicate_if_dirty(self) -> int:
        """A descriptor to fsync outside of the guard, so that training doesn't wait for a disk;
        -1 when there's no need, or no descriptor to have."""
        if not self._dirty:
            return -1
        try:
            descriptor = os.dup(self._fd)
        except OSError:  # too many open files
            return -1
        self._dirty = False
        return descriptor

    def _sync(self, descriptor: int) -> None:
        try:
            os.fsync(descriptor)
            self._troubles.discard("flush")
        except OSError as error:
            self._dirty = True
            self._warn(
                "flush",
                f"{self.path} can't be flushed to the disk ({error.strerror}). Its records are "
                "written, but a power cut could take the latest.",
            )
        finally:
            os.close(descriptor)

    def _follow(self) -> None:
        """Go with our file where it was moved; if it was deleted, write it again."""
        try:
            home = _home(self._fd, self.path)
        except OSError:  # where we can't look now, nothing is known; writing goes on as it can
            return
        try:
            if home is None:
                self._restore()
            else:
                self._keep_lock(home)
                self.path = home
            self._nameless = False
            self._troubles.discard("restore")
        except OSError as error:
            self._nameless = True
            self._warn(
                "restore",
                f"{self.path} was deleted and can't be written again ({error.strerror}). Training "
                "goes on; its records are kept, and written when its folder takes them.",
            )

    def _restore(self) -> None:
        """Put all that was written there again. Copied with the guard held: rare, and in order."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._keep_lock(self.path)  # first: a file without one would look abandoned
        beside = (self.path.with_stem(f"{self.path.stem}_restored{n}") for n in count(1))
        path, descriptor = open_new([self.path, *(next(beside) for _ in range(100))])
        try:
            _copy(self._fd, descriptor)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        old, self._fd, self._dirty = self._fd, descriptor, True
        os.close(old)
        self._keep_lock(path)
        self.path = path
        notice(f"{path} had been deleted and was written again with all its records")

    def _keep_lock(self, path: Path) -> None:
        """Hold the lock of our file at `path`, also where it was deleted or couldn't be had yet."""
        wanted = lock_path(path)
        with suppress(OSError, Held):  # said when the run began; nothing new to say each second
            if self._lock.held and self._lock.path == wanted and wanted.exists():
                return
            self._lock.release()
            self._lock = Lock(wanted)
            self._lock.acquire()

    def _warn(self, trouble: str, text: str) -> None:
        """Say it once for as long as the trouble lasts, not at each try."""
        if trouble not in self._troubles:
            self._troubles.add(trouble)
            notice(text)

    def _say_what_is_lost(self) -> None:
        if self._nameless:
            notice(f"{self.path} was deleted and couldn't be written again: its records are lost")
        elif left := len(self._waiting) + self.lost:
            notice(f"{self.path}: {left} records could not be saved; the disk never made room")


def open_new(candidates: Iterable[Path]) -> tuple[Path, int]:
    """The first of `candidates` that nobody has, made and opened for appending."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for path in candidates:
        try:
            return path, os.open(path, flags, 0o644)
        except FileExistsError:
            continue
    raise OSError(errno.EEXIST, "every name is taken already")


def _write(descriptor: int, data: bytes) -> int:
    """os.write, for which a disk that takes nothing is an error: some FUSE only answers 0."""
    written = os.write(descriptor, data)
    if written == 0:
        raise OSError(errno.EIO, "nothing was written")
    return written


def _copy(source: int, target: int) -> None:
    offset = 0
    while chunk := os.pread(source, 1 << 20, offset):
        offset += _write(target, chunk)


def _home(descriptor: int, path: Path) -> Path | None:
    """Where the open file is now, expected at `path`; None when it was deleted."""
    if _is_at(path, descriptor):
        return path
    if os.fstat(descriptor).st_nlink == 0:
        return None
    try:
        found = Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:  # no /proc: moved, who knows where to
        return path
    # NFS keeps a deleted file that is open under a name of its own; a hard link keeps it, too
    if found.name.startswith(".nfs") or found.name.endswith(" (deleted)"):
        return None
    return found if _is_at(found, descriptor) else path


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
