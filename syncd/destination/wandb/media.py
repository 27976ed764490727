"""A row's picture or sound -> what the row says of it, and the file to upload: as the SDK does."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from karaoke_train.runlog.reader import Line
from syncd.destination.media_files import missing
from syncd.destination.rows import Media, row
from syncd.source.media_folder import PICTURES, MediaFolder, Unusable

_KINDS: Final = {"audio": ("audio", "audio-file")}  # folder and type; all else is a picture
_PICTURE: Final = ("images", "image-file")
_MAX_PART: Final = 255  # bytes of a part of a path, with the common file systems
_MAX_NAME: Final = 1024  # bytes of a whole one, below a folder of the worker's
_MAX_DECODED: Final = 12 << 20  # pixels: 48 MiB while it is looked at


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file of the run. name: its path at the server. path: what it is called in the media folder,
    with its size in bytes; or data: what it holds."""

    name: str
    path: str = ""
    data: bytes | None = None
    size: int = -1


class MediaFiles:
    """The media of one run. folder: where they are here."""

    def __init__(self, folder: MediaFolder) -> None:
        self._folder = folder
        self._announced: dict[str, MediaFile] = {}

    def reference(self, ordinal: int, key: str, media: Media) -> Any:
        """What the row holds: the file's description, or why there is none. The row has to be, or
        all behind it would move."""
        try:
            digest, size = self._folder.digest(media.path)
            folder, kind = _KINDS.get(media.kind, _PICTURE)
            picture = self._dimensions(media) if kind == _PICTURE[1] else {}
            name = f"media/{folder}/{file_name(key, ordinal, digest, Path(media.path))}"
        except Exception as error:  # a damaged picture raises whatever its decoder stumbles over
            return missing(media, error)
        about: dict[str, Any] = {"_type": kind, "sha256": digest, "size": size, "path": name}
        if kind == _PICTURE[1]:
            about["format"] = _suffix(Path(media.path)).lstrip(".")
            about |= picture
        if media.caption:
            about["caption"] = media.caption
        self._announced[name] = MediaFile(name, media.path, size=size)
        return about

    def open(self, file: MediaFile) -> BinaryIO | None:
        """What the file holds, to be read; None when it's gone by now, or another one."""
        if file.data is not None:
            return io.BytesIO(file.data)
        try:
            opened = self._folder.open(file.path)
        except (OSError, ValueError):
            return None
        if os.fstat(opened.fileno()).st_size == file.size:
            return opened
        opened.close()
        return None

    @property
    def waiting(self) -> int:
        """How many files `pop` has."""
        return len(self._announced)

    def pop(self) -> list[MediaFile]:
        """The files that rows referred to since this was last asked."""
        files, self._announced = list(self._announced.values()), {}
        return files

    def files_of(self, lines: Iterable[Line]) -> list[MediaFile]:
        """The files that these lines refer to, and that are here. An empty one is left out: at the
        server it looks like a file that never came, and would be brought again for ever."""
        before, self._announced = self._announced, {}
        for line in lines:
            for key, value in row(line, 0.0).items():
                if isinstance(value, Media):
                    self.reference(line.at.ordinal, key, value)
        found, self._announced = list(self._announced.values()), before
        return [file for file in found if file.size]

    def _dimensions(self, media: Media) -> dict[str, int]:
        with self._folder.open(media.path) as file:
            return dimensions(file)


def file_name(key: str, ordinal: int, digest: str, path: Path) -> str:
    """What the SDK calls the file, within `media/images` and the like. Raises Unusable for a key
    that makes no name: the SDK would fail with it each time, as it keeps a copy of that name."""
    name = f"{_safe(key)}_{ordinal}_{digest[:20]}{_suffix(path)}"
    parts = [len(part.encode()) for part in name.split("/")]
    if "\0" in name or max(parts) > _MAX_PART or sum(parts) > _MAX_NAME:
        raise Unusable("its key is no name for a file")
    return name


def _safe(key: str) -> str:
    """The key as a path: no `.` or `..` of its own, no empty part, and never from the root."""
    *folders, last = key.lstrip("/").split("/")
    parts = [*filter(None, folders), last]
    return "/".join("_" * len(part) if part in (".", "..") else part for part in parts)


def _suffix(path: Path) -> str:
    """As the SDK takes it."""
    return os.path.splitext(path.name)[1]  # noqa: PTH122  (of `x.` pathlib makes no suffix)


def dimensions(file: BinaryIO) -> dict[str, int]:
    """Width and height of a picture, in pixels. Raises what Pillow raises for one that can't be
    decoded: the SDK decodes each, and a row must not depend on the lane."""
    from PIL import Image

    with Image.open(file, formats=PICTURES) as picture:
        # A larger one would take more memory than a daemon may; whether it is whole is not seen
        if picture.width * picture.height <= _MAX_DECODED:
            picture.load()
        return {"width": picture.width, "height": picture.height}
