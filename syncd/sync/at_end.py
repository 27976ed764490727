"""Lines -> what the end of their run is told with: its epochs, its pictures and sounds; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from syncd.destination.rows import epoch_key

KINDS: Final = (RecordType.EPOCH_SUMMARY, RecordType.MEDIA)
# What the epoch table is made of at most, the newest epochs: each summary is in the history anyway.
MAX_EPOCHS: Final = 10_000  # the rows that wandb's own client logs of a table
MAX_BYTES: Final = 4 << 20  # of their lines, which take 8 to 12 times that as objects


@dataclass(frozen=True, slots=True)
class AtEnd:
    """epochs: the last summary of each epoch, by the epoch's first place in the file. media: the
    lines of pictures and sounds. seen: lines of both kinds, also those that are left out."""

    epochs: Sequence[Record]
    media: Sequence[Line]
    seen: int


def gathered(lines: Iterable[Line]) -> AtEnd:
    """What these lines have of it. They are taken one by one: a file may have more summaries than
    the memory holds."""
    latest: OrderedDict[object, Line] = OrderedDict()
    media: list[Line] = []
    size = seen = 0
    for line in lines:
        kind = RecordType.of(line.record or {})
        if kind not in KINDS:
            continue
        seen += 1
        if kind is RecordType.MEDIA:
            media.append(line)
            continue
        key = epoch_key(line.record or {})
        size += _length(line) - (_length(latest[key]) if key in latest else 0)
        latest[key] = line
        while len(latest) > MAX_EPOCHS or (size > MAX_BYTES and len(latest) > 1):
            size -= _length(latest.popitem(last=False)[1])
    return AtEnd([line.record or {} for line in latest.values()], media, seen)


def _length(line: Line) -> int:
    return line.end.offset - line.at.offset
