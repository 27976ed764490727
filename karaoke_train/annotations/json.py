"""Notes as JSON and back: `{"notes": [{"onset": s, "offset": s, "pitch": MIDI number}, …]}`.

Further keys, of the document and of each note, are ignored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from karaoke_train.annotations.base import AnnotationError, Entry, checked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from karaoke_train.notes import Note


def parse(data: bytes, path: Path) -> tuple[Note, ...]:
    """The notes of a document. `path` is for the messages. Raises AnnotationError."""
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        raise AnnotationError(path, f"line {error.lineno}", f"is no JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(path, "", "is not UTF-8 text; save it as such") from error
    rows = document.get("notes") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise AnnotationError(path, "", 'has no list of notes: {"notes": […]} is wanted')
    return checked((_entry(row, number, path) for number, row in enumerate(rows, start=1)), path)


def render(notes: Sequence[Note]) -> str:
    """The document of `notes`, exact to the last digit."""
    rows = [{"onset": n.onset, "offset": n.offset, "pitch": n.pitch} for n in notes]
    return json.dumps({"notes": rows}, indent=1) + "\n"


def _entry(row: object, number: int, path: Path) -> Entry:
    values = [
        row.get(key) if isinstance(row, dict) else None for key in ("onset", "offset", "pitch")
    ]
    numbers = [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < 3:
        raise AnnotationError(path, f"note {number}", "needs the numbers onset, offset and pitch")
    return Entry(f"note {number}", *numbers)
