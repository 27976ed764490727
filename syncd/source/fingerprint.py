"""A file and a position -> what the file shows there; and whether it is still the file it was.

Device and inode can't tell: a file is moved between file systems, copied back from a backup, or
its inode is given to another one at once (ext4 does, and collectd's tail plugin lost data to it).
The first line never changes, and names the run; the bytes before a position are the last that
were read. Hashes, since a cursor must not carry a user's data.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Position
from syncd.errors import ProblemCode
from syncd.source.safe_open import open_log
from syncd.state.cursor import Fingerprint

BEFORE: Final = 256  # bytes before a position that its fingerprint covers: a record or two


class FileChanged(Exception):
    """The file isn't what it was: truncated, replaced or rewritten, as `code` says."""

    def __init__(self, code: ProblemCode, what: str) -> None:
        super().__init__(what)
        self.code = code


class PinnedLog(NamedTuple):
    """A run's log, and nothing else that its path may lead to at some moment: each time that it is
    opened, its first line has to be the run's. A check before does not do: between it and the next
    read the server is asked, and a folder may be renamed."""

    path: Path
    first_line_hash: str


Log = Path | PinnedLog


def open_pinned(log: Log) -> BinaryIO:
    """The log, to be read from its start. Raises FileChanged, UnsafeFile, OSError."""
    if isinstance(log, Path):
        return open_log(log)
    file = open_log(log.path)
    try:
        if digest(file.readline(MAX_LINE)) != log.first_line_hash:
            what = "the file begins otherwise than when it was found"
            raise FileChanged(ProblemCode.REPLACED, what)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def digest(data: bytes) -> str:
    """What tells these bytes from others: 128 bits of SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()[:32]


def first_line(path: Path, *, own: bool = False) -> bytes:
    """The first complete line with its newline, at most MAX_LINE bytes of it; empty when there's
    none yet. own: see `open_log`. Raises OSError."""
    with open_log(path, own=own) as file:
        line = file.readline(MAX_LINE)
    return line if line.endswith(b"\n") or len(line) == MAX_LINE else b""


def fingerprint(log: Log, at: Position) -> Fingerprint:
    """What the file shows up to `at`. Raises FileChanged, OSError."""
    with open_pinned(log) as file:
        return _fingerprint(file, at)


def check(log: Log, at: Position, expect: Fingerprint) -> None:
    """See that the file shows what it showed. Raises FileChanged, OSError."""
    with open_pinned(log) as file:
        check_open(file, os.fstat(file.fileno()).st_size, at, expect)


def check_open(file: BinaryIO, size: int, at: Position, expect: Fingerprint) -> bytes:
    """The same of an open file, so that what is checked is what is read next. Returns the bytes
    before `at` that its fingerprint covers. Raises FileChanged, OSError."""
    first, before = _ends(file, at)
    shown = Fingerprint(digest(first), digest(before))
    if shown.first != expect.first:
        raise FileChanged(ProblemCode.REPLACED, "the file begins otherwise than the uploaded one")
    if size < at.offset:
        raise FileChanged(
            ProblemCode.TRUNCATED,
            f"the file has {size:,} bytes; {at.offset:,} were read before",
        )
    if shown.before != expect.before:
        raise FileChanged(
            ProblemCode.REWRITTEN, "lines of the file that were read before are changed"
        )
    return before


def later(shown: Fingerprint, before: bytes, data: bytes) -> Fingerprint:
    """What a file shows behind `data`, which follows where it showed this. before: the bytes before
    `data` that a fingerprint covers, empty where it is the file's beginning."""
    first = shown.first if before else digest(data[: data.index(b"\n") + 1][:MAX_LINE])
    covered = data[-BEFORE:] if len(data) >= BEFORE else (before + data)[-BEFORE:]
    return Fingerprint(first, digest(covered))


def _fingerprint(file: BinaryIO, at: Position) -> Fingerprint:
    first, before = _ends(file, at)
    return Fingerprint(digest(first), digest(before))


def _ends(file: BinaryIO, at: Position) -> tuple[bytes, bytes]:
    """The first line, and the last bytes before `at`."""
    file.seek(0)
    first = file.readline(MAX_LINE) if at.offset else b""
    start = max(0, at.offset - BEFORE)
    file.seek(start)
    return first, file.read(at.offset - start)
