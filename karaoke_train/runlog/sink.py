"""Bytes that must reach a file: appended in order, kept through a full disk or a vanished folder.

Lines that can't be written wait in memory, at most BUFFER bytes of them, oldest kept. A file that
vanished from under its writer is written anew from the one that is still open.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Held, Lock

BUFFER: Final = 64 << 20  # bytes that may wait in memory, days of metrics
RETRY_EVERY: Final = 0.5  # seconds between tries while the disk refuses
CLOSE_WAIT: Final = 5.0  # seconds that close gives a full disk to make room


class Sink:
    """An open file of lines and the lock that goes with it. Thread-safe; never raises for I/O."""

    def __init__(self, path: Path, descriptor: int, lock: Lock) -> None:
        self.path = path
        self.lost = 0  # lines that found no room in the buffer
        self._fd = descriptor
        self._lock = lock
        self._guard = threading.Lock()  # for everything below
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dirty = False
        self._retry_at = 0.0
        self._warned = False

    def write(self, line: bytes) -> None:
        """Append one line, behind those that wait."""
        with self._guard:
            if self._waiting:
                self._queue(line)
                if time.monotonic() >= self._retry_at:
                    self._drain()
                return
            rest = self._try(line)
            if rest:
                self._queue(rest)

    def tend(self) -> None:
        """Retry what waits, see that the file is still where it was, and fsync what is new."""
        with self._guard:
            self._follow()
            if self._waiting and time.monotonic() >= self._retry_at:
                self._drain()
            dirty, self._dirty = self._dirty, False
            # fsync a duplicate, outside the guard: training must not wait for the disk
            descriptor = os.dup(self._fd) if dirty else -1
        if descriptor >= 0:
            try:
                os.fsync(descriptor)
            except OSError as error:
                self._warn(error)
            finally:
                os.close(descriptor)

    def end_torn_line(self) -> None:
        """End a last line that its writer didn't live to end, so that the next starts anew."""
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self.write(b"\n")

    def close(self) -> None:
        """Write and fsync what can be, within CLOSE_WAIT seconds; give the lock back."""
        deadline = time.monotonic() + CLOSE_WAIT
        self.tend()
        while self._waiting and time.monotonic() < deadline:
            time.sleep(RETRY_EVERY / 5)
            self.tend()
        left = len(self._waiting) + self.lost
        if left:
            warnings.warn(
                f"{self.path}: {left} records could not be saved; the disk never made room",
                stacklevel=3,
            )
        with suppress(OSError):
            os.close(self._fd)
        self._lock.release()

    def _try(self, data: bytes) -> bytes:
        """Write what the disk takes; what it didn't take comes back.

        A filling disk takes a part of a line. The rest goes on exactly there, or, if we die
        before, whoever continues the run ends the torn line.
        """
        while data:
            try:
                data = data[os.write(self._fd, data) :]
                self._dirty = True
            except OSError as error:
                self._warn(error)
                self._retry_at = time.monotonic() + RETRY_EVERY
                break
        return data

    def _queue(self, line: bytes) -> None:
        if self._waiting_bytes + len(line) > BUFFER and self._waiting:
            self.lost += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _drain(self) -> None:
        while self._waiting:
            line = self._waiting.popleft()
            self._waiting_bytes -= len(line)
            if rest := self._try(line):
                self._waiting.appendleft(rest)
                self._waiting_bytes += len(rest)
                return
        self._warned = False

    def _follow(self) -> None:
        """If our file was deleted, put all that was written to it there again.

        A file that was moved has a name still: it goes on as the same run where it is now.
        """
        try:
            if os.fstat(self._fd).st_nlink == 0:
                self._restore()
        except OSError as error:
            self._warn(error)

    def _restore(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.restored")
        descriptor = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            offset = 0
            while chunk := os.pread(self._fd, 1 << 20, offset):
                offset += os.write(descriptor, chunk)
            self.path = _link(draft, self.path)
        except OSError:
            os.close(descriptor)
            raise
        finally:
            draft.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd, self._dirty = descriptor, True
        self._lock.release()
        self._lock = locked_for_writing(self.path)
        warnings.warn(
            f"{self.path} had been deleted and was written again with all its records",
            stacklevel=2,
        )

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.path} can't be written ({error.strerror}). Training goes on; "
                "records wait in memory and are written as soon as the disk takes them.",
                stacklevel=4,
            )


def locked_for_writing(path: Path) -> Lock:
    """The writer's lock on a file that is ours. Where none can be had the run goes on without,
    with a warning: the daemon then knows only by the silence that a writer has died."""
    lock = Lock(lock_path(path))
    try:
        lock.acquire(timeout=1.0)
    except (OSError, Held) as error:
        warnings.warn(f"{path} has no lock ({error}); the run goes on without", stacklevel=3)
    return lock


def _link(draft: Path, path: Path) -> Path:
    """Give `draft` the name `path`, or one beside it where another file has come meanwhile."""
    target, attempt = path, 0
    while True:
        try:
            os.link(draft, target)  # unlike rename, never over another file
        except FileExistsError:
            attempt += 1
            target = path.with_stem(f"{path.stem}_restored{attempt}")
        else:
            return target
