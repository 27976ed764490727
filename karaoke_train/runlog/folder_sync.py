"""A file's name on disk: the name is its folder's data, and fsync(2) of the file leaves it out."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

# No such thing there (CIFS, FUSE), or the folder may be written and not be read: the file is whole
# and has its name all the same
_CANT: Final = (
    *(errno.EINVAL, errno.ENOTSUP, errno.ENOSYS),
    *(errno.EBADF, errno.EACCES, errno.EPERM),
)


def sync_folder(folder: Path) -> None:
    """See that the names in it outlive a power cut, where its file system can. Raises OSError for a
    disk that fails."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANT:
            raise
