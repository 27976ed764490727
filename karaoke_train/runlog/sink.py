"""Bytes that must reach a file: appended in order, kept through a full disk or a vanished folder.

Lines that can't be written wait in memory, at most BUFFER bytes of them; when that is full, new
ones are lost, not the oldest. A file that was deleted from under its writer is written anew from
the one that is still open; one that was moved is appended to where it is now. One that takes no
writes, as an error had its file system made read-only or its server has forgotten it, goes on in
the file of its name once that file system is mounted anew.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from karaoke_train.runlog.folder_sync import sync_folder
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Held, Lock
from karaoke_train.runlog.warn import warn

# Bytes that may wait in memory: days of metrics. Bounded, since a training that is killed for its
# memory loses more than records; Fluent Bit (Mem_Buf_Limit) and Vector bound theirs, too. Once it
# is full, blocking would stop training, and dropping the oldest would cut a line that may be half
# on the disk.
BUFFER: Final = 64 << 20
# Seconds that `close` gives a full disk to make room. It has to end well before whoever stops us
# loses patience: Docker kills 10 s after its SIGTERM, Slurm 30 s, systemd 90 s.
CLOSE_WAIT: Final = 5.0
RETRY_EVERY: Final = 0.1  # seconds between tries within them
_HEAD: Final = 4096  # bytes of a file by which it is known: they hold the run's id and the part's


class Sink:
    """An open file of lines and the lock that goes with it. Thread-safe; never raises for I/O.

    unsynced: the folders in which a new file's name, or that of a folder around it, is new.
    """

    def __init__(
        self, path: Path, descriptor: int, lock: Lock, *, unsynced: Iterable[Path] = ()
    ) -> None:
        self.path = path
        self.lost = 0  # lines that found no room in the buffer
        # A bare descriptor, no Python file: that one has a buffer of its own, whose bytes go with
        # the process on SIGKILL, and refuses a write from a signal handler that interrupts another
        # ("reentrant call"). -1 once closed.
        self._fd = descriptor
        self._lock = lock
        # Guards everything below. Reentrant: a signal handler may end the run while the thread
        # that it interrupted is writing, and a plain Lock would wait for itself.
        self._mutex = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._sealed = False  # the last line was taken: later ones would stand behind an `end`
        self._dirty = False  # written, and not yet fsynced
        self._unlinked = False  # the file was deleted, and is not yet written again
        self._size = os.fstat(descriptor).st_size  # bytes of it that are written
        self._head = b""
        # A file's bytes may be on the disk and its name not: fsync(2) of the file does not see to
        # the folder's entry, and a power cut then takes all of it
        self._unsynced = set(unsynced)
        self._warned: set[str] = set()  # kinds of trouble that the user knows of and that last

    def write(self, line: bytes, *, last: bool = False) -> bool:
        """Append one line, behind those that wait. After the `last` one: False, nothing done."""
        with self._mutex:
            if self._sealed:
                return False
            self._sealed = last
            # Never past those that wait, even when there is room again: a record's ordinal is its
            # place in the file. They are written by `flush`, on the writer's own thread: training
            # does not try a full disk anew at each step.
            if self._waiting:
                self._queue(line, always=last)
            elif rest := self._write_now(line):
                self._queue(rest)
            return True

    def flush(self) -> None:
        """Retry what waits, see that the file is still where it was, and fsync what is new."""
        with self._mutex:
            if self._fd < 0:
                return
            # Looked at each time, not watched: inotify reports nothing that another client of an
            # NFS server does, and lines that are written into a deleted file meanwhile are not
            # lost, as they are copied with the rest.
            self._follow_file()
            if self._waiting:
                self._follow_mount()
            self._drain()
            descriptor = self._duplicate_if_dirty()
            folders, self._unsynced = self._unsynced, set()
        for folder in folders:
            with suppress(OSError):  # tried once and not told: the records come first
                sync_folder(folder)
        if descriptor >= 0:
            self._sync(descriptor)

    def end_torn_line(self) -> None:
        """End a last line whose writer was killed in the middle of it; the next line starts anew.

        Raises OSError when the file can't be read.
        """
        # Ended, not cut off as Redis does with its log (aof-load-truncated): readers hold no lock,
        # and rely on it that a byte once written never changes. The torn line is then a bad one
        # with an ordinal of its own.
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self.write(b"\n")

    def close(self) -> None:
        """Write and fsync what can be, within CLOSE_WAIT seconds; release the lock."""
        deadline = time.monotonic() + CLOSE_WAIT
        self.flush()
        while (self._waiting or self._unlinked) and time.monotonic() < deadline:
            time.sleep(RETRY_EVERY)
            self.flush()
        with self._mutex:
            if self._fd < 0:
                return
            # close(2) may report a delayed error of an earlier write (NFS, quotas), but Linux has
            # released the descriptor all the same: closing again could hit another thread's file.
            with suppress(OSError):
                os.close(self._fd)
            self._fd, self._sealed = -1, True
            # After the last byte: whoever finds the lock free may take the file for finished
            self._lock.release()
        self._warn_of_losses()

    def _write_now(self, data: bytes) -> bytes:
        """Write what the disk takes; returns what it didn't take."""
        # A filling disk takes a part of a line (write(2): "may be less than count"). The rest goes
        # on exactly there, and nothing comes between, since all else has to queue behind it. If we
        # are killed before, whoever resumes the run ends the torn line.
        try:
            # Between other work each function that a record passes through costs a microsecond:
            # nothing of it is in the processor's caches by then
            written = os.write(self._fd, data)
            self._dirty = True
            self._size += written
            if written == len(data):  # nearly always
                return b""
            data = data[written:]
            while data:
                written = _write(self._fd, data)
                self._size += written
                data = data[written:]
        except OSError as error:
            # Whatever it is, it may pass: ENOSPC and EDQUOT when somebody makes room, EIO and
            # ESTALE when a server is back, EFBIG when a limit is raised (Python ignores SIGXFSZ,
            # which would kill us instead). EINTR does not come here: Python writes again (PEP 475).
            self._warn_once(
                "write",
                f"{self.path} can't be written ({error.strerror}). Training goes on; records wait "
                "in memory and are written as soon as the disk takes them.",
            )
        return data

    def _queue(self, line: bytes, *, always: bool = False) -> None:
        # The first line always finds room, however long: it may be the rest of one that is half on
        # the disk. So does the run's end: without it, the run would count as crashed for ever.
        if self._waiting and self._waiting_bytes + len(line) > BUFFER and not always:
            self.lost += 1
            if self.lost == 1:
                warn(
                    f"{self.path} still can't be written and {BUFFER >> 20} MiB of records wait "
                    "in memory: newer ones are lost until the disk makes room."
                )
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _drain(self) -> None:
        while self._waiting:
            rest = self._write_now(self._waiting[0])
            self._waiting_bytes -= len(self._waiting[0]) - len(rest)
            if rest:
                self._waiting[0] = rest
                return
            self._waiting.popleft()
            self._warned.discard("write")  # the next time is news again

    def _duplicate_if_dirty(self) -> int:
        """A descriptor to fsync without the mutex; -1 when there's no need, or none to have."""
        # An fsync takes milliseconds on an SSD and seconds on a busy disk; under the mutex, a
        # training step that logs would wait for it. Without the mutex the descriptor itself could
        # be closed meanwhile, its number go to another file, and that one be synced instead.
        if not self._dirty:
            return -1
        try:
            descriptor = os.dup(self._fd)
        except OSError:  # EMFILE, too many open files: it stays dirty, and the next flush tries
            return -1
        # Before the fsync, not after: a line that is written during it may have missed it
        self._dirty = False
        return descriptor

    def _sync(self, descriptor: int) -> None:
        # Needed against power cuts and kernel panics alone. A record is in the page cache once
        # write(2) has returned, and the page cache belongs to the kernel: no kill of this process
        # takes it. What fsync can add is the error that write(2) could not know yet: NFS and
        # delayed allocation may find only now that there is no room.
        try:
            os.fsync(descriptor)
            self._warned.discard("flush")
        except OSError as error:
            # Tried again, though a later success proves little: Linux reports a page that it failed
            # to write once and may then count it as clean. PostgreSQL shuts down for this reason
            # since 2018; we warn, for a training that stopped would lose more than these records,
            # which the daemon has most likely read already.
            self._dirty = True
            self._warn_once(
                "flush",
                f"{self.path} can't be flushed to the disk ({error.strerror}). Its records are "
                "written, but a power cut could take the latest.",
            )
        finally:
            os.close(descriptor)

    def _follow_file(self) -> None:
        """Learn where our file was moved; if it was deleted, write it again."""
        # A descriptor means the file, not its name: after a rename, writes go to the renamed file,
        # and after an unlink to one without a name, whose bytes go when we close it. The name has
        # to be learnt all the same, for the lock beside it and for what the user is told.
        try:
            path = _current_path(self._fd, self.path)
            if len(self._head) < min(_HEAD, self._size):
                self._head = os.pread(self._fd, _HEAD, 0)
        except OSError:
            # EACCES, ESTALE, EIO: the folder can't be looked into, which says nothing about the
            # file. Taken for deleted, a mount that was away for a second would double it.
            return
        try:
            if path is None:
                self._restore()
            else:
                # None is made where the file isn't: the folder of a mount that is away is to stay
                # empty, and so is a new mount that is yet to get what was there
                if _is_at(path, self._fd):
                    self._keep_lock(path)
                self.path = path
            self._unlinked = False
            self._warned.discard("restore")
        except OSError as error:
            self._unlinked = True
            self._warn_once(
                "restore",
                f"{self.path} was deleted and can't be written again ({error.strerror}). Training "
                "goes on; its records are kept, and written when its folder takes them.",
            )

    def _restore(self) -> None:
        """Write everything that was in the deleted file to a new one of its name."""
        # The kernel keeps a deleted file until its last descriptor is closed (unlink(2)), hence
        # O_RDWR: all that was written can still be read. `mv` to another file system is such a
        # deletion, too, behind a copy that gets no more lines.
        #
        # The mutex is held meanwhile: rare, and a line that came in between would be out of order.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._keep_lock(self.path)  # first: a file without one would look like a dead writer's
        draft = self.path.with_name(f".{self.path.name}.restored")
        draft.unlink(missing_ok=True)  # of a writer that was killed right here
        _, descriptor = open_new([draft])
        try:
            _copy(self._fd, descriptor)
            path = self._publish(draft)
            self._unsynced.add(path.parent)
        except OSError:
            # The old descriptor is still the one that has everything
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        old, self._fd, self._dirty = self._fd, descriptor, True
        os.close(old)
        self._keep_lock(path)
        self.path = path
        warn(f"{path} had been deleted and was written again with all its records")

    def _follow_mount(self) -> None:
        """Go on in the file that has the name by now, where it is ours on a file system that was
        mounted anew: the one that we have open is on the old one, which takes no writes again."""
        # ext4's errors=remount-ro, and `umount --lazy` of a server that was away. Not made where
        # there is none: below a mount that is away is a folder too, and the log would be doubled
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags)
        except OSError:
            return
        try:
            is_ours = self._goes_on_in(descriptor)
        except OSError:  # what was copied is behind the same lines at the next try
            is_ours = False
        if not is_ours:
            os.close(descriptor)
            return
        old, self._fd, self._dirty = self._fd, descriptor, True
        self._size = os.fstat(descriptor).st_size
        with suppress(OSError):  # see `close`
            os.close(old)

    def _goes_on_in(self, target: int) -> bool:
        """Whether a file that has our file's name is that file on a disk that was mounted anew, and
        nobody else writes it; what ours has more is in it then. Raises OSError."""
        if not stat.S_ISREG(os.fstat(target).st_mode):
            return False
        try:
            if os.path.samestat(os.fstat(target), os.fstat(self._fd)):
                return False
            is_stale = False
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            is_stale = True  # its server was started anew: of what is open, nothing can be read
        if os.pread(target, len(self._head), 0) != self._head[: os.fstat(target).st_size]:
            return False
        self._keep_lock(self.path)
        if self._lock.lost:  # somebody else may write there
            return False
        return self._has_all(target) if is_stale else _copy_rest(self._fd, target)

    def _has_all(self, target: int) -> bool:
        """Whether what is on the disk anew is as long as what was written; where it is shorter, the
        rest is with nobody any more, and what waits goes on behind it."""
        size = os.fstat(target).st_size
        if not self._head or not len(self._head) <= size <= self._size:
            return False
        if size < self._size:
            warn(
                f"{self.path}: the last {self._size - size:,} bytes that were written did not get "
                "to the disk before its server forgot the open file: these records are lost. The "
                "run goes on behind what is there."
            )
            if os.pread(target, 1, size - 1) != b"\n":
                _write(target, b"\n")
        return True

    def _publish(self, draft: Path) -> Path:
        """Give the whole file its name back; another one where somebody took it meanwhile."""
        # Whole, and at once. A daemon that had read further than a half copy reaches would take it
        # for a truncated file, and leave the run to a person. The name is claimed first, since
        # rename(2) replaces whatever has it; and it is rename, not link(2) and unlink, because
        # /proc/self/fd goes with a rename and would call the other way a deletion.
        beside = (self.path.with_stem(f"{self.path.stem}_restored{n}") for n in count(1))
        path, claim = open_new([self.path, *(next(beside) for _ in range(100))])
        os.close(claim)
        return draft.rename(path)

    def _keep_lock(self, path: Path) -> None:
        """Hold the lock of our file at `path`, also where it was deleted or couldn't be had yet."""
        # flock(2) locks a file, not its name: once the lock file is deleted (`rm -r .locks`), ours
        # is still held, and the next to come makes and locks another. So it has to be there by its
        # name, too, and be the one that was locked: one that somebody made and locked meanwhile (a
        # `prune`, a second start) is free when they are done, and a quiet training would look dead.
        # That none can be had was said when the run began; it is no news each second.
        wanted = lock_path(path)
        with suppress(OSError, Held):
            if self._lock.path == wanted and wanted.exists() and not self._lock.lost:
                return
            self._lock.release()
            self._lock = Lock(wanted)
            self._lock.acquire()

    def _warn_once(self, trouble: str, text: str) -> None:
        """Warn once for as long as the trouble lasts, not at each try."""
        if trouble not in self._warned:
            self._warned.add(trouble)
            warn(text)

    def _warn_of_losses(self) -> None:
        if self._unlinked:
            warn(f"{self.path} was deleted and couldn't be written again: its records are lost")
        elif left := len(self._waiting) + self.lost:
            warn(f"{self.path}: {left} records could not be saved; the disk never made room")


def open_new(candidates: Iterable[Path]) -> tuple[Path, int]:
    """The first of `candidates` that does not exist yet, made and opened for appending."""
    # O_EXCL: of two that start in the same second, one gets the name; on NFS, since version 3.
    # O_APPEND: each write finds the file's end by itself, in one step with writing (open(2)), so no
    # offset of ours can be wrong. NFS has no such step, and two clients that append overwrite each
    # other there; what keeps a second writer out is the lock.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for path in candidates:
        try:
            return path, os.open(path, flags, 0o644)
        except FileExistsError:
            continue
    raise OSError(errno.EEXIST, "every name is taken already")


def _write(descriptor: int, data: bytes) -> int:
    """os.write, for which a disk that takes nothing is an error."""
    written = os.write(descriptor, data)
    if written == 0:  # some FUSE file systems return 0 when they are full; a loop would never end
        raise OSError(errno.EIO, "nothing was written")
    return written


def _copy(source: int, target: int, offset: int = 0) -> None:
    # pread: it needs no seek, and so leaves the shared offset of the descriptor alone
    while chunk := os.pread(source, 1 << 20, offset):
        offset += _write(target, chunk)


def _copy_rest(source: int, target: int) -> bool:
    """Write behind the target's bytes what the source has more; whether the target's are those that
    the source begins with, else nothing is written. A crash may have taken the last of them."""
    offset = end = 0
    while there := os.pread(target, 1 << 20, offset):
        if os.pread(source, len(there), offset) != there:
            return False
        offset = end = offset + len(there)
    while rest := os.pread(source, 1 << 20, end):
        if b"\0" in rest:  # no line has one: ext4 shows them for what it has let go after an error
            return False
        end += len(rest)
    _copy(source, target, offset)
    return True


def _current_path(descriptor: int, path: Path) -> Path | None:
    """Where the open file is now, expected at `path`; None when it was deleted."""
    if _is_at(path, descriptor):
        return path
    if os.fstat(descriptor).st_nlink == 0:
        return None
    try:
        found = Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:  # no /proc (macOS): moved, but there is no telling where to
        return path
    # Deleted, though links are left. An NFS client that is asked to delete an open file renames it
    # to `.nfs…` instead; and where another hard link exists (snapshots by `cp -l`), the kernel
    # still shows the name by which the file was opened, with " (deleted)" behind it.
    if found.name.startswith(".nfs") or found.name.endswith(" (deleted)"):
        return None
    return found if _is_at(found, descriptor) else path


def _is_at(path: Path, descriptor: int) -> bool:
    # Device and inode. An inode's number is given to another file only after this one is gone, and
    # it is not gone while it is open: equal means the same file.
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
