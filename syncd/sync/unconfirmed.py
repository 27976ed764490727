"""What was sent and is not confirmed: a server's count of lines -> the place in the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from karaoke_train.runlog.reader import Position
from syncd.source import fingerprint, tailer
from syncd.source.fingerprint import Log
from syncd.state.cursor import Fingerprint


@dataclass(frozen=True, slots=True)
class _Sent:
    """Lines that were sent at once. shown: what the file showed at their end."""

    start: Position
    end: Position
    shown: Fingerprint


class Unconfirmed:
    """The lines of one session, in their order. Not thread-safe."""

    def __init__(self) -> None:
        # By what was sent at once: a count falls into one of these, and is turned into an offset by
        # reading that part of the file again
        self._sends: list[_Sent] = []

    def add(self, start: Position, end: Position, shown: Fingerprint) -> None:
        """The next ones. shown: what the file showed at their end."""
        self._sends.append(_Sent(start, end, shown))

    def clear(self) -> None:
        """None of them is known of any more."""
        self._sends.clear()

    def end(self, confirmed: Position) -> Position:
        """Where the last one ends; where the confirmed ones do if there are none."""
        return self._sends[-1].end if self._sends else confirmed

    def place_of(self, count: int, log: Log) -> tuple[Position, Fingerprint]:
        """Where the line `count` begins, which is one of these or the one behind the last, and what
        the file showed there. Those before it are confirmed, and let go. Raises OSError."""
        # Whole sends that have arrived are let go; the count is at most the newest one's end, so
        # the list never runs empty here
        while self._sends[0].end.ordinal < count:
            del self._sends[0]
        sent = self._sends[0]
        if sent.end.ordinal == count:
            del self._sends[0]
            return sent.end, sent.shown
        # What was sent from here was at most a read's worth, so one read has it
        at = tailer.read(log, sent.start).lines.start_of(count)
        self._sends[0] = replace(sent, start=at)
        return at, fingerprint.fingerprint(log, at)
