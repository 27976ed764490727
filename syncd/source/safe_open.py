"""A file in a log folder -> the open file, as long as it is one of the user's own.

A log folder may be one in which others write: what is in it must not make the daemon read, and
upload, a file from anywhere else. So no link is followed below the folder, nor in the folder's own
path once it was looked up; what is no regular file is not opened; and where others may write, the
file has to be the user's, and to have no other name, which could be a hard link to one elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from karaoke_train.runlog.regular_file import (
    READ,
    UnsafeFile,
    check_regular,
    open_regular,
    user_name,
)

# O_PATH: passing through a folder takes no more than the right to (where there is none, to read it)
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROOT: Final = 0


@cache
def resolved(folder: Path) -> Path:
    """Where the folder is, links followed, as it was when this process first asked: one that is
    changed later leads to no other files. Raises OSError, also while it does not exist."""
    return folder.resolve(strict=True)


def real(path: Path | str) -> str:
    """The log's place, links in its folder's path followed as `resolved` does. Raises OSError."""
    folder, slash, name = str(path).rpartition("/")
    return f"{_resolved(folder or slash or '.')}/{name}"


@cache
def _resolved(folder: str) -> str:
    """The same by the folder's text: a Path's hash and parts take longer than opening the file."""
    return str(resolved(Path(folder)))


def moved(folder: Path) -> bool:
    """Whether the folder's name leads elsewhere by now."""
    try:
        return folder.resolve(strict=True) != resolved(folder)
    except OSError:
        return False


def open_log(path: Path, *, own: bool = False) -> BinaryIO:
    """The record log at `path`, to be read. own: it has to be one of the user's own, where others
    may write in its folder. Raises UnsafeFile, OSError."""
    return _open(real(path), own=own)


def check_own(place: str, file: os.stat_result, around: dict[str, os.stat_result | None]) -> None:
    """See that the log at this real place, which looks like this, is one of the user's own where
    others may write in its folder, as `open_log` does. around: what the folders look like, as far
    as that is known, None for those that are the user's alone; more are added. Raises UnsafeFile,
    OSError."""
    folder = place.rpartition("/")[0]
    if folder not in around:
        found = os.stat(folder)  # noqa: PTH116  a third of Path's
        around[folder] = None if _is_own(found) else found
    if shared := around[folder]:
        _check_own(file, shared)


def open_strictly(path: Path, *, own: bool) -> BinaryIO:
    """The file at an absolute path without any link in it. own: see `open_log`. Raises UnsafeFile,
    OSError, ValueError for a path that is none."""
    return _open(str(path), own=own)


def _open(path: str, *, own: bool) -> BinaryIO:
    if not own and (descriptor := _opened_at_once(path)) is not None:
        return os.fdopen(descriptor, "rb")
    around, _, name = path.rpartition("/")
    with _folder(around) as folder:
        descriptor = open_regular(name, dir_fd=folder)
        try:
            if own:
                _check_own(os.fstat(descriptor), os.fstat(folder))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise


def _opened_at_once(path: str) -> int | None:
    """A descriptor of the regular file at an absolute path without any link in it; None where that
    takes more than one call, which then says what is wrong."""
    from syncd.source import openat2  # brings ctypes, and commands are quick to start

    descriptor = None
    with suppress(OSError, ValueError):
        check_regular(os.lstat(path))  # see `open_regular`
        descriptor = openat2.descriptor_of(path, READ)
        if descriptor is not None:
            check_regular(os.fstat(descriptor))
        return descriptor
    if descriptor is not None:
        os.close(descriptor)
    return None


def names_in(folder: Path) -> list[str]:
    """What the folder holds. Raises UnsafeFile, OSError."""
    with _listed(folder) as descriptor:
        return os.listdir(descriptor)  # noqa: PTH208  (pathlib takes no descriptor)


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in it, links left out. Raises UnsafeFile, OSError."""
    with _listed(folder) as descriptor, os.scandir(descriptor) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


@contextmanager
def _listed(folder: Path) -> Iterator[int]:
    """A descriptor by which the folder can be listed, which one of O_PATH can't."""
    with _folder(str(resolved(folder))) as descriptor:
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
        try:
            yield listed
        finally:
            os.close(listed)


def remove_folder(path: Path) -> None:
    """Remove the folder at an absolute path with all that is in it, unless it, or a folder on the
    way to it, is a link. None there is fine. Raises OSError."""
    import shutil  # which brings along what compresses

    with (
        suppress(FileNotFoundError, NotADirectoryError, UnsafeFile),
        _folder(str(path.parent)) as folder,
    ):
        if stat.S_ISDIR(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
            shutil.rmtree(path.name, dir_fd=folder)


@contextmanager
def _folder(path: str) -> Iterator[int]:
    """A descriptor of a folder, reached from the root without following a link."""
    descriptor = os.open("/", _FOLDER)
    try:
        for part in filter(None, path.split("/")):
            deeper = _step(descriptor, part)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _step(folder: int, name: str) -> int:
    if name == "..":
        raise UnsafeFile(errno.EINVAL, "it leads out of its folder")
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(folder, name):
            words = f"{name} is a symbolic link, which is not followed"
            raise UnsafeFile(errno.ELOOP, words) from None
        raise


def _is_link(folder: int, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _check_own(file: os.stat_result, folder: os.stat_result) -> None:
    """See that nobody else can have put the file there. Raises UnsafeFile."""
    if _is_own(folder):
        return
    # root's as well: what trains in a container often writes as root, which needs no such trick
    if file.st_uid not in (os.geteuid(), _ROOT) and _others_may_write(folder):
        words = f"it belongs to {user_name(file.st_uid)}, and others may write in its folder"
        raise UnsafeFile(errno.EPERM, words)
    if file.st_nlink > 1:
        words = "it has a second name (a hard link), and others may write in its folder"
        raise UnsafeFile(errno.EPERM, words)


def _is_own(folder: os.stat_result) -> bool:
    """Whether nobody but the user and root can have put anything into the folder."""
    return folder.st_uid in (os.geteuid(), _ROOT) and not _others_may_write(folder)


def is_strangers_link(path: Path) -> bool:
    """Whether this is a symbolic link that somebody else may have put there. Raises OSError."""
    folder = path.parent.stat()
    theirs = folder.st_uid not in (os.geteuid(), _ROOT) or _others_may_write(folder)
    return theirs and path.is_symlink()


def _others_may_write(folder: os.stat_result) -> bool:
    if folder.st_mode & stat.S_IWOTH:
        return True
    return bool(folder.st_mode & stat.S_IWGRP) and not _is_private(folder.st_gid)


@cache
def _is_private(group: int) -> bool:
    """Whether a group is a user's own, as most systems make one for each, with a umask that lets it
    write (`useradd`, Debian's and Fedora's default)."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return (
        found.gr_gid == user.pw_gid
        and set(found.gr_mem) <= {user.pw_name}
        and (found.gr_name == user.pw_name)
    )
