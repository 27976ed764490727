"""Label files -> notes, and notes -> files, by the suffix: CSV, JSON, MIDI, UltraStar.

What each format can hold and what is left out on reading stands at the top of its module and
in docs/data.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from karaoke_train.annotations import csv, json, midi, ultrastar
from karaoke_train.annotations.base import AnnotationError
from karaoke_train.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

__all__ = ["SUFFIXES", "AnnotationError", "read", "write"]

_PARSERS = {
    ".csv": csv.parse,
    ".json": json.parse,
    ".mid": midi.parse,
    ".midi": midi.parse,
    ".txt": ultrastar.parse,
}
SUFFIXES = tuple(_PARSERS)


def read(path: Path | str) -> tuple[Note, ...]:
    """The notes of a label file, in order, none overlapping; possibly none at all.

    Raises AnnotationError, which names the file, the line, what is wrong and what to do.
    """
    path = Path(path)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise AnnotationError(path, "", f"is none of {', '.join(SUFFIXES)}; rename or convert it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(path, "", f"cannot be read ({error.strerror})") from error
    return parse(data, path)


def write(path: Path | str, notes: Sequence[Note], *, sound: str = "") -> None:
    """Write `notes` in the format that the suffix of `path` names, whole or not at all.

    A file that was there is replaced once the new one is on the disk.
    sound: the file name of the audio, for UltraStar (none: the name of `path` with .mp3).
    Raises AnnotationError for a suffix that names no format, OSError when the disk refuses.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".csv":
            data = csv.render(notes).encode()
        case ".json":
            data = json.render(notes).encode()
        case ".mid" | ".midi":
            data = midi.render(notes)
        case ".txt":
            data = ultrastar.render(notes, path.stem, sound or f"{path.stem}.mp3").encode()
        case _:
            raise AnnotationError(path, "", f"names no format; use one of {', '.join(SUFFIXES)}")
    with replacing(path) as file:
        file.write(data)
