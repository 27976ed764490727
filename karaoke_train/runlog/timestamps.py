"""Moments as the record log writes them, and whatever other writers wrote, as seconds."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Final

# The second of the newest `timestamp_now`, and what stands before and after its milliseconds. One
# tuple, replaced whole: threads that log at once read one or the other, never half of each
_second: tuple[int, str, str] = (-1, "", "")
# Looked up: to write out the digits takes half of what else a timestamp does
_MILLISECONDS: Final = tuple(f"{number:03d}" for number in range(1000))


def timestamp_now() -> str:
    """This moment in local time, as `format_timestamp` writes it."""
    # Made anew once per second, with the time zone's rules: that is nine tenths of its cost
    global _second
    milliseconds = time.time_ns() // 1_000_000
    second = milliseconds // 1000
    cached = _second
    if cached[0] != second:
        whole = datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")
        _second = cached = second, f"{whole[:19]}.", whole[19:]
    return cached[1] + _MILLISECONDS[milliseconds % 1000] + cached[2]


def format_timestamp(moment: datetime) -> str:
    """ISO 8601 with milliseconds and, for an aware `moment`, its offset from UTC."""
    return moment.isoformat(timespec="milliseconds")


def parse_timestamp(timestamp: object, otherwise: float) -> float:
    """Seconds since 1970 of an ISO 8601 text, or of a number, which is taken for such seconds.

    A text without an offset is UTC, whatever the reader's time zone: the machine that uploads need
    not stand where the trainer stood, and a record has to give the same row on both. `otherwise`
    for everything else, non-finite numbers included. Never raises.
    """
    try:
        if isinstance(timestamp, str):
            moment = datetime.fromisoformat(timestamp)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if isinstance(timestamp, (int, float)) and not isinstance(timestamp, bool):
            number = float(timestamp)
            return number if math.isfinite(number) else otherwise
    except (ValueError, OverflowError):  # OverflowError: an integer that no float can hold
        pass
    return otherwise
