"""A row's picture or sound -> what the row says of it, and the file to upload: as the SDK does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.reader import Line
from syncd.destination.rows import Media, row

_KINDS: Final = {"audio": ("audio", "audio-file")}  # folder and type; all else is a picture
_PICTURE: Final = ("images", "image-file")
_READ: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file of the run. name: its path at the server. path: where it is here, or data: what it
    holds."""

    name: str
    path: Path | None = None
    data: bytes | None = None

    def read(self) -> bytes | None:
        """What it holds; None when it's gone by now."""
        if self.path is None:
            return self.data
        try:
            return self.path.read_bytes()
        except OSError:
            return None


class MediaFiles:
    """The media of one run. folder: where they are here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._announced: dict[str, MediaFile] = {}

    def reference(self, ordinal: int, key: str, media: Media) -> Any:
        """What the row holds: the file's description, or why there is none. The row has to be, or
        all behind it would move."""
        path = self._folder / media.path
        try:
            if not path.resolve().is_relative_to(self._folder.resolve()):
                raise ValueError("outside of the run's media folder")
            digest, size = _hash(path)
            folder, kind = _KINDS.get(media.kind, _PICTURE)
            picture = _dimensions(path) if kind == _PICTURE[1] else {}
        except (OSError, ValueError) as error:
            return f"{media.path} is missing: {reason(error)}"
        name = f"media/{folder}/{_safe(key)}_{ordinal}_{digest[:20]}{path.suffix}"
        about: dict[str, Any] = {"_type": kind, "sha256": digest, "size": size, "path": name}
        if kind == _PICTURE[1]:
            about["format"] = path.suffix.lstrip(".")
            about |= picture
        if media.caption:
            about["caption"] = media.caption
        if size:  # an empty one looks at the server like a file that never came
            self._announced[name] = MediaFile(name, path)
        return about

    def pop(self) -> list[MediaFile]:
        """The files that rows referred to since this was last asked."""
        files, self._announced = list(self._announced.values()), {}
        return files

    def files_of(self, lines: Iterable[Line]) -> list[MediaFile]:
        """The files that these lines refer to, and that are here."""
        before, self._announced = self._announced, {}
        for line in lines:
            for key, value in row(line, 0.0).items():
                if isinstance(value, Media):
                    self.reference(line.at.ordinal, key, value)
        found, self._announced = list(self._announced.values()), before
        return found


def reason(error: Exception) -> str:
    """Why a file can't be had, in words without a path of this machine: they go into the row, which
    has to be the same in both lanes, and on every machine."""
    if isinstance(error, OSError):
        return error.strerror or "it can't be read"  # Pillow's own name no errno, and the path
    return str(error)


def _safe(key: str) -> str:
    """The key as a part of a path: no `.` or `..` of its own, and never from the root."""
    parts = key.lstrip("/").split("/")
    return "/".join("_" * len(part) if part in (".", "..") else part for part in parts)


def _hash(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and the size in bytes."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(_READ):
            digest.update(data)
            size += len(data)
    return digest.hexdigest(), size


def _dimensions(path: Path) -> dict[str, int]:
    """Width and height of a picture, in pixels, from its header. Raises OSError for what is none,
    ValueError for one that is too large to be opened."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return {"width": picture.width, "height": picture.height}
    except Image.DecompressionBombError:
        raise ValueError("it is too large a picture") from None
