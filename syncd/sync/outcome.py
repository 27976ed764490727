"""How a run ended, as its file tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from karaoke_train.runlog.format import BadRecord, Record, decode
from karaoke_train.runlog.reader import Line, Position
from karaoke_train.runlog.record_types import RecordType
from syncd.destination.base import Outcome
from syncd.source.fingerprint import Log, open_pinned

CRASHED: Final = Outcome("crashed", 1)  # as wandb calls a run whose heartbeats stopped
_LONGEST_STATUS: Final = 32  # characters; it is kept for as long as the run is known
_LONGEST: Final = 4096  # bytes; an `end` record has three short fields


def outcome_in(record: Record | None) -> Outcome | None:
    """The outcome that the record tells; none of one that is no `end`."""
    if record is None or RecordType.of(record) is not RecordType.END:
        return None
    # A foreign file may say anything: without a usable code, wandb's own 0 and 1. True is an int
    # for Python, and wandb's SDK takes neither it nor more than 32 bits
    code = record.get("exit_code")
    status = str(record.get("status") or "finished")[:_LONGEST_STATUS]
    if isinstance(code, int) and not isinstance(code, bool) and -(1 << 31) <= code < 1 << 31:
        return Outcome(status, code)
    return Outcome(status, 0 if status == "finished" else 1)


def outcome_of(special: Sequence[Line], end: Position) -> Outcome | None:
    """The outcome in the line that ends at `end`, if that is among these."""
    return outcome_in(special[-1].record) if special and special[-1].end == end else None


def outcome_before(log: Log, offset: int) -> Outcome | None:
    """The outcome in the line that ends at a byte offset; none where it can't be read.
    Raises FileChanged."""
    try:
        with open_pinned(log) as file:
            # A longer last line is no `end` record, and is cut off here, which `decode` refuses
            start = max(0, offset - _LONGEST)
            file.seek(start)
            last = file.read(offset - start).rstrip(b"\n").rpartition(b"\n")[2]
        return outcome_in(decode(last))
    except (OSError, BadRecord):
        return None
