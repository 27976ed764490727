"""A run as another program's file has it: what every reader here returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.timestamps import format_timestamp

_FIRST: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


@dataclass(frozen=True, slots=True)
class MediaData:
    """A picture or sound in a record's `path`: what it holds, to be written as a file."""

    data: bytes
    suffix: str


@dataclass
class ForeignRun:
    """path: the file, or the folder that holds the run's files. name: what the run is called.
    reader: reads the records, and tells `config` and `left_out` as it goes: words for what is not
    in the records -> how often."""

    path: Path
    name: str
    reader: Callable[[ForeignRun], Iterator[Record]]
    config: Mapping[str, Any] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def read(self) -> Iterator[Record]:
        """The records in their order, from the first. May raise SyncError, OSError."""
        self.left_out.clear()
        return self.reader(self)


def at(seconds: float) -> str:
    """A moment, in seconds since 1970, as records have it; one that no calendar has is the first or
    the last that they can have."""
    return format_timestamp(datetime.fromtimestamp(min(max(_FIRST, seconds), _LAST), UTC))
