"""Runs that are at the server, whole and ended, -> room on this disk: deleted, or compressed.

What the cursor says is not enough to take a file's only copy away: the run is read back from the
server and compared, record by record, right before. Of a line that is no record, and of a picture
that could not be uploaded, the server has a placeholder, so that they are never deleted here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from karaoke_train.runlog.format import MAX_LINE, BadRecord, RunHeader, decode
from karaoke_train.runlog.layout import LOG_FILES, lock_path
from karaoke_train.runlog.lock import Held, Lock, holder_of
from karaoke_train.runlog.parts import parts_of
from karaoke_train.runlog.reader import Position
from karaoke_train.runlog.regular_file import UnsafeFile
from syncd.destination.base import Destination, RunRef
from syncd.errors import SyncError
from syncd.source.fingerprint import first_line
from syncd.source.safe_open import open_log, remove_folder
from syncd.source.scanner import LogFile
from syncd.state import cursor, lease
from syncd.sync.content import Content
from syncd.sync.outcome import outcome_before
from syncd.sync.parts import may_have_parts

SUFFIX: Final = ".zst"
_SEVERAL: Final = "its run is in several files, which share its pictures and sounds"
_LEVEL: Final = 10  # of 22: a log is a tenth of its size from 3 on, and this one takes seconds
_READ: Final = 1 << 20  # bytes

Look = tuple[int, int, int, int, int]  # device, inode, size, times of content and inode in ns


@dataclass(frozen=True, slots=True)
class Target:
    """Where the runs of some log folders are. project: instead of their own. state: the folder of
    the destination's state."""

    destination: Destination
    entity: str
    project: str
    state: Path
    lock_dir: Path | None = None


def why_kept(
    file: LogFile, at: Target, older_than: float, now: float, *, compressed: bool = False
) -> str:
    """What keeps the run's file here; empty where it may go. older_than: seconds that nothing may
    have been written for. now: seconds since 1970. compressed: all that it has stays here. Raises
    UploadError, OSError."""
    if why := _by_what_is_here(file, at, older_than, now):
        return why
    if not compressed and (why := _who_shares_media(file)):
        return why
    return _by_what_is_there(file, at, compressed=compressed)


def _by_what_is_here(file: LogFile, at: Target, older_than: float, now: float) -> str:
    known = cursor.load(at.state / "cursors", file.key)
    project = at.project or file.header.project
    if known is None or (known.project, known.entity) != (project, at.entity):
        return "it was not uploaded there"
    stat = file.path.stat()
    if known.confirmed.offset != stat.st_size:
        return "not all of its records are confirmed"
    outcome = outcome_before(file.path, stat.st_size)
    if outcome is None or not outcome.told:
        return "it has no end: it may be resumed"
    if not known.ended:
        return "how it ended is not confirmed"
    if known.unsettled:
        return "its end is looked at once more, by a daemon or the next karaoke-syncd sync"
    if now - stat.st_mtime < older_than:
        return "it is not old enough"
    if may_have_parts(file.header) and len(parts_of(file.path.parent, file.run_id)) > 1:
        return _SEVERAL
    return _in_use(file, at)


def _in_use(file: LogFile, at: Target) -> str:
    if holder_of(lock_path(file.path)):
        return "its writer lives"
    if any(map(holder_of, lease.leases_of(file.path, file.run_id, at.lock_dir))):
        return "it is being uploaded"
    return ""


def _who_shares_media(file: LogFile) -> str:
    """What else here needs the run's pictures and sounds; empty for nothing. Raises OSError."""
    if not os.path.lexists(file.media.path):
        return ""
    # By the id that the file names, not the one that it is uploaded as: a copy that was made a run
    # of its own has its pictures where the original has them
    if len(parts_of(file.path.parent, file.named)) > 1:
        return _SEVERAL
    for packed in sorted(file.path.parent.glob(f"{LOG_FILES}{SUFFIX}")):
        is_part = _is_of(packed, file.named)
        if is_part is None:
            return (
                f"{packed.name} may be of the same run and need its pictures and sounds, which "
                "can't be seen without zstandard: pip install 'karaoke-train[zstd]'"
            )
        if is_part:
            return f"{packed.name} is of the same run, and needs its pictures and sounds"
    return ""


def _is_of(packed: Path, run_id: str) -> bool | None:
    """Whether a compressed log is of the run; None without the library. Raises OSError."""
    try:
        found = packed.lstat()
        return _run_in(packed, (found.st_ino, found.st_size, found.st_mtime_ns)) == run_id
    except ImportError:
        return None
    except FileNotFoundError:  # gone by now
        return False


@lru_cache(4096)  # each run that has pictures asks for each log that was compressed
def _run_in(packed: Path, look: tuple[int, ...]) -> str:
    """Which run a compressed log is of, that looks like this; empty where it is none. Raises
    OSError, ImportError."""
    try:
        line = _begins(packed, MAX_LINE).partition(b"\n")[0]
        return RunHeader.of(decode(line)).run_id
    except (BadRecord, UnsafeFile):
        return ""


def _by_what_is_there(file: LogFile, at: Target, *, compressed: bool) -> str:
    ref = RunRef(at.entity, at.project or file.header.project, file.run_id)
    remote = at.destination.remote_run(ref)
    outcome = outcome_before(file.path, file.path.stat().st_size)
    if remote is None or outcome is None or not remote.shows(outcome):
        return f"{at.destination.identity.name} does not show how it ended"
    known = cursor.load(at.state / "cursors", file.key)
    start = Position(known.base if known else 0)
    content = Content(file.path, file.media, file.header, ref, at.destination, file.key, start)
    found = content.compared(with_files=True)
    if found.absent:
        return f"{found.absent:,} of its pictures and sounds are missing there"
    if not found.equal:
        return f"{at.destination.identity.name} has other records"
    if found.placeholder and not compressed:
        return (
            f"{found.placeholder:,} of its lines, pictures and sounds could not be uploaded, and "
            "are here alone"
        )
    return ""


def look_at(file: LogFile) -> Look:
    """The file as it is now. Raises OSError."""
    stat = file.path.stat(follow_symlinks=False)
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def delete(file: LogFile, compared: Look) -> int:
    """Delete the run's log, its pictures and its sounds. compared: as it looked before it was
    compared. Returns the bytes that this frees. Raises SyncError where somebody goes on with the
    run, OSError."""
    with _locked(file, compared):
        freed = sum(path.stat().st_size for path in _media(file))
        file.path.unlink()
        remove_folder(file.media.path)
    return freed + file.size


def compress(file: LogFile, compared: Look) -> int:
    """Put `FILE.jsonl.zst` in the log's place; `zstd -d` brings it back. compared: as it looked
    before it was compared. Returns the bytes that this frees. Raises SyncError where somebody goes
    on with the run, or without the library, OSError."""
    target = file.path.with_name(f"{file.path.name}{SUFFIX}")
    with _locked(file, compared):
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            packed = _pack(file.path, part)
            if not os.path.samestat(part.lstat(), packed):
                raise _goes_on(file, "its compressed copy was replaced")
            _check_not_anothers(target, file.path)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        file.path.unlink()
    return file.size - target.stat().st_size


def _check_not_anothers(target: Path, source: Path) -> None:
    """What has the name already may be the only copy of another log, where folders were joined. One
    that begins as the log does is an earlier copy of it. Raises SyncError, OSError."""
    first = first_line(source)
    with suppress(FileNotFoundError):
        if _begins(target, len(first)) != first:
            raise SyncError(
                f"{target.name} is there already, and is no copy of it",
                where=source.name,
                meaning="Both stay as they are",
                remedy="Move one of them to another folder",
            )


def _begins(packed: Path, size: int) -> bytes:
    """The first bytes of what is compressed there; none where nothing is. Raises OSError,
    ImportError."""
    import zstandard

    with open_log(packed) as file:
        try:
            return zstandard.ZstdDecompressor().stream_reader(file).read(size)
        except zstandard.ZstdError:
            return b""


def _pack(source: Path, target: Path) -> os.stat_result:
    """Compress, and read it back: what differs is no copy. Returns which file it is."""
    try:
        import zstandard
    except ImportError:
        raise SyncError(
            "logs are compressed by zstandard, which is not installed",
            meaning="Nothing was changed",
            remedy="pip install 'karaoke-train[zstd]'",
        ) from None
    written, found = hashlib.sha256(), hashlib.sha256()
    # By descriptors alone: where others may write, a name may have become a link meanwhile, and
    # what it leads to would get the log's rights
    with open_log(source) as log, target.open("x+b") as out:
        with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(out, closefd=False) as packed:
            while data := log.read(_READ):
                written.update(data)
                packed.write(data)
        out.flush()
        os.fsync(out.fileno())
        out.seek(0)
        for data in zstandard.ZstdDecompressor().read_to_iter(out):
            found.update(data)
        was = os.fstat(log.fileno())
        os.fchmod(out.fileno(), was.st_mode & 0o777)
        os.utime(out.fileno(), ns=(was.st_atime_ns, was.st_mtime_ns))
        made = os.fstat(out.fileno())
    if written.digest() != found.digest():
        raise SyncError(
            "its compressed copy is not equal to it",
            where=source.name,
            meaning="It stays as it is",
            remedy="See whether the disk is damaged",
        )
    return made


@contextmanager
def _locked(file: LogFile, compared: Look) -> Iterator[None]:
    """Hold the writer's lock, with the file still being what was compared. Raises SyncError."""
    lock = Lock(lock_path(file.path))
    try:
        lock.acquire()
    except Held as held:
        raise _goes_on(file, str(held)) from None
    try:
        if look_at(file) != compared:  # its size alone may be that of another file in its place
            raise _goes_on(file, "it has changed since it was compared")
        yield
    finally:
        lock.release()


def _goes_on(file: LogFile, why: str) -> SyncError:
    return SyncError(
        f"somebody goes on with it: {why}", where=file.path.name, meaning="It stays as it is"
    )


def _media(file: LogFile) -> Iterator[Path]:
    folder = file.media.path
    if folder.parent.is_symlink():  # which `remove_folder` does not follow
        return iter(())
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
