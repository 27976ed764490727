"""A run's pictures and sounds: their names in the record log -> open files, within limits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from syncd.settings import Limits
from syncd.source.safe_open import open_strictly

LARGEST: Final = Limits().largest_media
# Formats of pictures that are read, of the many that Pillow knows: EPS is a program, for which it
# starts Ghostscript
PICTURES: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_READ: Final = 1 << 20  # bytes


class Unusable(ValueError):
    """Why a file can't be uploaded, in words that are the same on every machine."""


class TooLarge(Unusable):
    """It is over the limit. size: in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__("it is larger than media may be")
        self.size = size


class MediaFolder(NamedTuple):
    """path: absolute, without links (see `safe_open.resolved`). largest: in bytes, of a file."""

    path: Path
    largest: int = LARGEST

    def open(self, name: str) -> BinaryIO:
        """The file of that name. Raises Unusable for one that leads out of the folder or is over
        the limit, UnsafeFile, OSError, ValueError for a name that is none."""
        # By the name alone: what of it is there, and is a link, is found out on the way
        if name.startswith("/") or ".." in name.split("/"):
            raise Unusable("outside of the run's media folder")
        file = open_strictly(self.path / name, own=True)
        size = os.fstat(file.fileno()).st_size
        if size > self.largest:
            file.close()
            raise TooLarge(size)
        return file

    def size(self, name: str) -> int:
        """Bytes of the file; 0 where it can't be opened."""
        try:
            with self.open(name) as file:
                return os.fstat(file.fileno()).st_size
        except (OSError, ValueError):
            return 0

    def problem(self, name: str) -> str:
        """Why the file can't be opened, in words for this machine's user; empty if it can."""
        try:
            self.open(name).close()
        except TooLarge as error:
            return f"it has {error.size:,} bytes; media may have {self.largest:,} (largest_media)"
        except OSError as error:
            return error.strerror or "it can't be opened"
        except ValueError as error:  # a name that is none
            return str(error)
        return ""

    def digest(self, name: str) -> tuple[str, int]:
        """SHA-256 in hex, and the size in bytes. Raises what `open` raises."""
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            for data in self.pieces(file):
                digest.update(data)
                size += len(data)
        return digest.hexdigest(), size

    def pieces(self, file: BinaryIO) -> Iterator[bytes]:
        """What an open file of the folder holds, in pieces. Raises Unusable where it grows over
        the limit meanwhile, OSError."""
        left = self.largest
        while data := file.read(_READ):
            left -= len(data)
            if left < 0:
                raise TooLarge(self.largest - left)
            yield data
