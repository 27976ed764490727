"""Files as a whole: written whole or not at all, whatever happens; and read within a limit."""

from __future__ import annotations

import ctypes
import json
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from zlib import crc32

from karaoke_train.runlog.folder_sync import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST: Final = 64 << 20  # bytes of a description, which is held whole
_SHOWN: Final = 100  # bytes of a name that its draft's name begins with


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A file to write into, which takes the place of `path` when the block ends without an error.
    After an error, or a crash at any moment, what was there before still is. Folders are made.

    sync: see that it outlives a power cut as well. Without it a file system may keep the new name
    and lose the content (ext4 with delayed allocation, XFS). Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Cut short, or a name that the file system takes would make one that it doesn't
    name = os.fsencode(path.name)
    shown = os.fsdecode(name[:_SHOWN])
    part = path.with_name(f".{shown}.{crc32(name):08x}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if sync:
        sync_folder(path.parent)


def exchanged(one: Path, other: Path) -> bool:
    """Have two names of one file system change places, so that neither is ever missing, as a folder
    would be that is replaced by two renames. False where one is not there, or the system can't."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or not glibc from 2.28
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: rename(2)
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def read_whole(path: Path, largest: int) -> bytes:
    """What is in a file that is held whole, at most `largest` bytes. Raises OSError, and ValueError
    for what is larger, or no file: a FIFO would be waited for, and a device may have no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file")
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"it has more than {largest >> 20} MiB")
    return data


def read_json(path: Path) -> Any:
    """What the file describes. Raises OSError, ValueError, RecursionError."""
    return json.loads(read_whole(path, LARGEST).decode("utf-8"))
