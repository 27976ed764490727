"""A name in a folder that others may write in -> the regular file of that name, opened to be read.

Whoever may put files there may put anything else there: a symbolic link to a file of the reader's
own, a FIFO that nobody ever writes to, a device. None of them is followed, waited for or read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link, which is not followed",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# O_NONBLOCK: of a FIFO that takes the file's place in between, the opening would wait without end
READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class UnsafeFile(OSError):
    """What has the name is not to be read; `strerror` says what it is."""


def open_regular(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> int:
    """A descriptor of the regular file at `path`, whose last part is no link. dir_fd: of the folder
    that it is relative to. Raises UnsafeFile, OSError, ValueError for a name that is none."""
    # Looked at before it is opened: opening some devices does something (a tape is wound back)
    check_regular(os.stat(path, dir_fd=dir_fd, follow_symlinks=False))
    try:
        descriptor = os.open(path, READ, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:  # it became a link in between
            raise UnsafeFile(errno.ELOOP, f"it is {_KINDS[stat.S_IFLNK]}") from None
        raise
    try:
        check_regular(os.fstat(descriptor))
    except UnsafeFile:
        os.close(descriptor)
        raise
    return descriptor


def read_text(path: Path) -> str:
    """The text, UTF-8, of a file that somebody else may have put there: a link to one is fine, and
    /dev/null is an empty one; whatever would be waited for is not opened. Raises UnsafeFile,
    OSError, UnicodeDecodeError."""
    check_not_waited_for(path)
    return path.read_text("utf-8")


def check_not_waited_for(path: Path) -> None:
    """See that a path leads to a regular file, or to /dev/null. Raises UnsafeFile, OSError."""
    found = path.stat()
    if not os.path.samestat(found, Path(os.devnull).stat()):
        check_regular(found)


def check_regular(found: os.stat_result) -> None:
    """Raises UnsafeFile for what is no regular file."""
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UnsafeFile(errno.EINVAL, f"it is no regular file but {kind}")


def user_name(user: int) -> str:
    """What people call the user with this number, and the number."""
    import pwd

    try:
        return f"{pwd.getpwuid(user).pw_name} (user {user})"
    except KeyError:
        return f"user {user}"
