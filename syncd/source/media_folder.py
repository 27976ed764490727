"""A run's pictures and sounds: their names in the record log -> open files, within limits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from syncd.source.safe_open import open_strictly

LARGEST: Final = 100 << 20  # bytes of a file, where no setting says otherwise
# Formats of pictures that are read, of the many that Pillow knows: EPS is a program, for which it
# starts Ghostscript
PICTURES: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_READ: Final = 1 << 20  # bytes


class Unusable(ValueError):
    """Why a file can't be uploaded, in words that are the same on every machine."""


@dataclass(frozen=True, slots=True)
class MediaFolder:
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
        if os.fstat(file.fileno()).st_size > self.largest:
            file.close()
            raise Unusable("it is larger than media may be")
        return file

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
                raise Unusable("it is larger than media may be")
            yield data
