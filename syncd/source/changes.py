"""What is told of a folder that is watched, however it is: by the kernel's events or by looking."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from enum import Enum, auto


class Change(Enum):
    """What happened to an entry of the folder."""

    FILE = auto()  # a file, or a link, came, changed or went
    FOLDER_CAME = auto()  # made there or moved in
    FOLDER_WENT = auto()  # removed or moved away


Tell = Callable[[str, Change], None]  # the entry's path, and what happened to it


def refuse_link(folder: str) -> None:
    """A link in the place of a folder is not followed, by those who can't ask the kernel for that.
    Raises NotADirectoryError, as the kernel does."""
    if os.path.islink(folder):  # noqa: PTH114  (a Path takes longer)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
