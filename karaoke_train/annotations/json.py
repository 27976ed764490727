"""Notes as JSON and back: `{"notes": [{"onset": s, "offset": s, "pitch": MIDI number}, …]}`.

A note may have its `duration` in place of `offset`, and `midi` or `hz` in place of `pitch`: then
nothing is left to be told by the values. Further keys, of the document and of each note, are
ignored.
"""

from __future__ import annotations

import json
from math import isnan
from typing import TYPE_CHECKING

from karaoke_train.annotations.base import (
    LEGATO,
    AnnotationError,
    Entry,
    Unit,
    checked,
    pitch_name,
    unit_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from karaoke_train.notes import Note


def parse(data: bytes, path: Path, remarks: list[str] | None = None) -> tuple[Note, ...]:
    """The notes of a document. `path` is for the messages.

    remarks: gets what was told by the values alone. Raises AnnotationError.
    """
    try:
        document = json.loads(data, parse_int=float)  # of any number of digits
    except json.JSONDecodeError as error:
        raise AnnotationError(path, f"line {error.lineno}", f"is no JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(path, "", "is not UTF-8 text; save it as such") from error
    except RecursionError:
        raise AnnotationError(path, "", "is nested too deep for notes") from None
    rows = document.get("notes") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise AnnotationError(path, "", 'has no list of notes: {"notes": […]} is wanted')
    entries = [_entry(row, number, path) for number, row in enumerate(rows, start=1)]
    plain = [entry for entry, unit in entries if unit is None]
    found = unit_of(entry.pitch for entry in plain)
    if found is None:
        odd = next(entry for entry in plain if unit_of([entry.pitch]) is not Unit.MIDI)
        raise AnnotationError(
            path,
            odd.where,
            f'the pitch {odd.pitch:g} may be a MIDI number or Hz; call it "midi" or "hz", or '
            "correct it",
        )
    if found is Unit.HERTZ and remarks is not None:
        remarks.append("its pitches are read as Hz, as their values tell")
    in_midi = (_in_midi(entry, unit or found, path) for entry, unit in entries)
    return checked(in_midi, path, LEGATO, remarks)


def render(notes: Sequence[Note]) -> str:
    """The document of `notes`, exact to the last digit."""
    name = pitch_name(notes)
    rows = [{"onset": n.onset, "offset": n.offset, name: n.pitch} for n in notes]
    return json.dumps({"notes": rows}, indent=1) + "\n"


def _entry(row: object, number: int, path: Path) -> tuple[Entry, Unit | None]:
    """A note with its pitch as the file has it, and the unit that the file names."""
    where = f"note {number}"
    held = row if isinstance(row, dict) else {}
    values = {key: value for key, value in held.items() if isinstance(value, float)}
    unit = next((unit for unit in Unit if unit.value in values), None)
    onset, pitch = values.get("onset"), values.get(unit or "pitch")
    end = values.get("offset")
    if end is None and onset is not None and "duration" in values:
        end = onset + values["duration"]
    if onset is None or end is None or pitch is None:
        raise AnnotationError(path, where, "needs the numbers onset, offset and pitch")
    return Entry(where, onset, end, pitch), unit


def _in_midi(entry: Entry, unit: Unit, path: Path) -> Entry:
    pitch = unit.midi(entry.pitch)
    if isnan(pitch) and not isnan(entry.pitch):
        reason = f"{entry.pitch:g} Hz is no frequency of a note; correct or remove it"
        raise AnnotationError(path, entry.where, reason)
    return entry._replace(pitch=pitch)
