"""Lines -> what the end of their run is told with: its epochs, its pictures and sounds."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.reader import Line, Position
from karaoke_train.runlog.record_types import RecordType
from syncd.destination.rows import MAX_COLUMNS, epoch_fields, epoch_key
from syncd.source import marked
from syncd.source.fingerprint import Log
from syncd.source.lines import slim
from syncd.source.media_folder import MediaFolder

KINDS: Final = (RecordType.EPOCH_SUMMARY, RecordType.MEDIA)
# What the epoch table is made of at most, the newest epochs: each summary is in the history anyway.
MAX_EPOCHS: Final = 10_000  # the rows that wandb's own client logs of a table
MAX_BYTES: Final = 4 << 20  # of their lines
MAX_VALUES: Final = 100_000  # in them, each of which takes 200 bytes
# of the table, which has a column for each name that any epoch has, to MAX_COLUMNS: wandb's own
# client takes 20 us for each
MAX_CELLS: Final = 250_000
# Pictures and sounds, the newest, that are looked for once more: all of each is read for that
MAX_MEDIA: Final = 5_000
MAX_MEDIA_BYTES: Final = 2 << 30  # of these files, and of their lines


@dataclass(frozen=True, slots=True)
class AtEnd:
    """epochs: where the last summary of each epoch is, by the epoch's first place in the file;
    left_out: whether there are too many for the table; too_wide: whether they have more columns
    than it. media: where the lines of pictures and sounds are. seen: lines of both kinds, also
    those that are left out."""

    epochs: Sequence[Position]
    media: Sequence[Position]
    seen: int
    left_out: bool = False
    too_wide: bool = False


@dataclass(frozen=True, slots=True)
class Epochs:
    """The summaries that begin there, read anew each time: as records they take ten times what
    their lines do, in each of the sessions that end at once."""

    log: Log
    places: Sequence[Position]

    def __iter__(self) -> Iterator[Record]:
        """Each of them. Raises OSError."""
        return (line.record or {} for line in marked.lines_at(self.log, self.places))


@dataclass(frozen=True, slots=True)
class MediaLines:
    """The lines of pictures and sounds that begin there, slim, read anew each time as well: each
    may have a name or caption of a megabyte."""

    log: Log
    places: Sequence[Position]

    def __iter__(self) -> Iterator[Line]:
        """Each of them. Raises OSError."""
        return map(slim, marked.lines_at(self.log, self.places))

    def affordable(self, folder: MediaFolder) -> MediaLines:
        """The newest of them, as many as may be looked for. Raises OSError."""
        left, kept = MAX_MEDIA_BYTES, []
        for line in marked.lines_at(self.log, reversed(self.places)):
            name = str((line.record or {}).get("path", ""))
            left -= line.end.offset - line.at.offset + folder.size(name)
            if left < 0:
                break
            kept.append(line.at)
        return MediaLines(self.log, kept[::-1])


@dataclass(frozen=True, slots=True)
class _Epoch:
    at: Position
    size: int
    values: int


class _Table:
    """The epochs that are kept, and how much they are."""

    def __init__(self) -> None:
        self.latest: OrderedDict[object, _Epoch] = OrderedDict()
        self.left_out = False
        self._columns: set[str] = set()
        self._size = self._values = 0

    def add(self, line: Line) -> None:
        record = line.record or {}
        epoch = _Epoch(line.at, line.end.offset - line.at.offset, _count(record))
        if not self.too_wide:
            self._columns.update(epoch_fields(record))
        key = epoch_key(record)
        self._weigh(self.latest.get(key), -1)
        self.latest[key] = epoch
        self._weigh(epoch, 1)
        while len(self.latest) > 1 and self._is_too_much():
            self._weigh(self.latest.popitem(last=False)[1], -1)
            self.left_out = True

    @property
    def too_wide(self) -> bool:
        """Whether the epochs have more columns than the table may have."""
        return len(self._columns) > MAX_COLUMNS

    def _weigh(self, epoch: _Epoch | None, sign: int) -> None:
        if epoch:
            self._size += sign * epoch.size
            self._values += sign * epoch.values

    def _is_too_much(self) -> bool:
        return (
            len(self.latest) > MAX_EPOCHS
            or self._size > MAX_BYTES
            or self._values > MAX_VALUES
            or len(self.latest) * min(len(self._columns), MAX_COLUMNS) > MAX_CELLS
        )


def gathered(lines: Iterable[Line]) -> AtEnd:
    """What these lines have of it. They are taken one by one: a file may have more summaries than
    the memory holds."""
    table = _Table()
    media: deque[Position] = deque(maxlen=MAX_MEDIA)
    seen = 0
    for line in lines:
        kind = RecordType.of(line.record or {})
        if kind not in KINDS:
            continue
        seen += 1
        if kind is RecordType.MEDIA:
            media.append(line.at)
        else:
            table.add(line)
    places = [epoch.at for epoch in table.latest.values()]
    return AtEnd(places, tuple(media), seen, table.left_out, table.too_wide)


def left_out_of_table(name: str, needs: AtEnd) -> str:
    """What people are told of it; empty where the table has all."""
    said = []
    if needs.left_out:
        kept = "newest epoch" if len(needs.epochs) == 1 else f"newest {len(needs.epochs):,} epochs"
        said.append(f"has the {kept} alone, as there are too many or too large ones")
    if needs.too_wide:
        said.append(f"has at most {MAX_COLUMNS:,} columns, and the epochs have more names")
    if not said:
        return ""
    told = "; it ".join(said)
    return f"{name}: the epoch table on the run's page {told}; the history has all of them"


def _count(value: Any) -> int:
    """The values in one, at any depth."""
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, list) else 1
