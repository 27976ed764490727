"""Whether files can be written where they are to be, tried before the work that they are for."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_TRIED: Final = bytes(4096)  # less than this is left on a full disk, or its quota


class NotWritable(ValueError):
    """A place takes no files; the message says which, why and what to do."""


def check_folder(folder: Path, *, given_as: str, lost: str, may_be_full: bool = False) -> None:
    """Raises NotWritable where `folder` can't be made, or takes no file.

    A file is written and removed again: permissions alone say nothing of a full disk, a disk that
    is mounted read-only, /proc, or a quota. A folder that is not there is not made; the one is
    tried that it will be in. given_as: its flag. lost: what there would be no place for, in words.
    may_be_full: a full disk is no reason, since what is to be written waits for room.
    """
    try:
        place = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
        with tempfile.TemporaryDirectory(prefix=".karaoke-train-", dir=place) as made:
            (Path(made) / "tried").write_bytes(_TRIED)
    except OSError as error:
        if may_be_full and error.errno in _FULL:
            return
        raise NotWritable(
            f"{given_as} {folder} can't be written ({error.strerror}): there would be no place for "
            f"{lost}. Nothing was started; give another folder, make room, or make it writable."
        ) from None


def check_names(files: Iterable[Path]) -> None:
    """Raises NotWritable where a file's name is longer than its file system takes.

    The folder of a file may not be there yet.
    """
    for file in files:
        place = next(one for one in file.absolute().parents if one.is_dir())
        most, length = os.pathconf(place, "PC_NAME_MAX"), len(os.fsencode(file.name))
        if 0 <= most < length:  # -1: no limit is known
            raise NotWritable(
                f"{file} can't be written: its name has {length} bytes, and {place} takes names of "
                f"at most {most}. Nothing was written; give the recording a shorter name."
            )
