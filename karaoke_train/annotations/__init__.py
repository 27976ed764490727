"""Label files -> notes, and notes -> files, by the suffix: CSV, JSON, MIDI, UltraStar.

What each format can hold and what is left out on reading stands at the top of its module and
in docs/data.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from karaoke_train.annotations import csv, json, midi, ultrastar
from karaoke_train.annotations.base import AnnotationError
from karaoke_train.atomic_file import read_whole, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

__all__ = ["SUFFIXES", "AnnotationError", "Labels", "read", "read_labels", "recording", "write"]

_LOG = logging.getLogger(__name__)
LARGEST: Final = 16 << 20  # bytes of a label file, which is held whole: some 100,000 notes


def _text(data: bytes, path: Path, remarks: list[str] | None = None) -> tuple[Note, ...]:
    """Tools save tables as .txt, too: one that begins with numbers is no UltraStar song."""
    parse = csv.parse if csv.looks_like(data) else ultrastar.parse
    return parse(data, path, remarks)


_PARSERS = {
    ".csv": csv.parse,
    ".json": json.parse,
    ".mid": midi.parse,
    ".midi": midi.parse,
    ".txt": _text,
}
SUFFIXES = tuple(_PARSERS)


@dataclass(frozen=True)
class Labels:
    """The notes of a file, and what in it was left out, mended or told by its values alone."""

    notes: tuple[Note, ...]
    remarks: tuple[str, ...] = ()


def read(path: Path | str) -> tuple[Note, ...]:
    """The notes of a label file, in order, none overlapping; possibly none at all.

    What had to be left out or mended is logged as a warning; `read_labels` returns it.
    Raises AnnotationError, which names the file, the line, what is wrong and what to do.
    """
    labels = read_labels(path)
    for remark in labels.remarks:
        _LOG.warning("%s: %s", path, remark)
    return labels.notes


def read_labels(path: Path | str) -> Labels:
    """As `read`, with the remarks. Raises AnnotationError."""
    path = Path(path)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise AnnotationError(path, "", f"is none of {', '.join(SUFFIXES)}; rename or convert it")
    remarks: list[str] = []
    notes = parse(_content(path), path, remarks)
    return Labels(notes, tuple(remarks))


def recording(path: Path) -> ultrastar.Recording:
    """The sounds that a label file names, as only UltraStar files do. Raises AnnotationError."""
    if path.suffix.lower() != ".txt":
        return ultrastar.Recording((), ())
    return ultrastar.recording(_content(path))


def _content(path: Path) -> bytes:
    try:
        return read_whole(path, LARGEST)
    except OSError as error:
        raise AnnotationError(path, "", f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        reason = f"holds no labels: {error}; name the label file itself"
        raise AnnotationError(path, "", reason) from error


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
            data = ultrastar.render(notes, path.stem, sound or f"{path.stem}.mp3")
        case _:
            raise AnnotationError(path, "", f"names no format; use one of {', '.join(SUFFIXES)}")
    with replacing(path) as file:
        file.write(data)
