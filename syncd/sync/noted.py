"""What a session notes of the lines that it has seen: bad ones, config records, and those that the
run's end is told with.

A state folder that takes no writes stops none of it: bad lines are on the server as placeholders
all the same, and what the end needs is looked for in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from karaoke_train.runlog.reader import Line, Position
from karaoke_train.runlog.record_types import RecordType
from syncd import events
from syncd.destination.rows import attempt_at
from syncd.source import marked
from syncd.source.fingerprint import Log
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder
from syncd.state import quarantine
from syncd.state.notes import Notes
from syncd.sync.at_end import KINDS, AtEnd, gathered
from syncd.sync.left_out import judged

_AT_END: Final = marked.mark_of(*KINDS)
_ALL: Final = marked.mark_of(*KINDS, RecordType.CONFIG)


class Noted:
    """Of one run. Not thread-safe. state: where the destination's state is."""

    def __init__(self, state: Path, key: str, media: MediaFolder) -> None:
        self._state = state
        self._key = key
        self._media = media
        self._bad = quarantine.BadLines(state / "quarantine", key)
        self._notes = Notes(state / "notes", key)
        # Byte offsets of config records, each with the attempt that it begins: of the newest one
        # before the last line asked for, and of those behind it
        self._starts = [(0, 1)]

    def begin(self, before: int, count: int, config: tuple[int, int]) -> None:
        """Go on behind line `before`, where `count` and `config_before` had said these."""
        self._starts = [config]
        self._remember(lambda: self._notes.begin(before, count))

    @staticmethod
    def among(lines: Lines) -> Iterable[Line]:
        """Those that `look_at` has to see: of a million lines a few hundred."""
        return marked.marked_or_odd(lines, _ALL)

    def look_at(self, lines: Sequence[Line], path: Path) -> None:
        """Note what is to be noted of these, which follow those before."""
        bad = [*judged(lines, self._media)]
        self._remember(lambda: self._bad.add(path, bad))
        self._note_configs(lines)
        self._remember(lambda: self._notes.add(line.at for line in lines if _is(line, *KINDS)))

    def bad_lines(self) -> quarantine.Quarantine:
        """The run's bad lines, also those that the state folder has not taken so far."""
        return self._bad.all()

    def save_again(self) -> bool:
        """Try once more to keep the bad lines that the state folder did not take; whether none is
        left."""
        return self._remember(self._bad.save_again)

    def config_before(self, at: Position) -> tuple[int, int]:
        """Where the newest config record before `at` begins, and its attempt. Those before it are
        let go: nothing is asked of lines before the confirmed ones."""
        while len(self._starts) > 1 and self._starts[1][0] < at.offset:
            del self._starts[0]
        return self._starts[0]

    def count(self, before: int) -> int:
        """How many lines before line `before` the run's end is told with; -1: not known."""
        return self._notes.count(before)

    def at_end(
        self, log: Log, begin: Position, end: Position, check_stopped: Callable[[], None]
    ) -> AtEnd:
        """The epoch summaries, pictures and sounds before `end`. begin: where the file's first line
        is in the run. check_stopped: called for each of them; what it raises ends the search.
        Raises OSError."""
        places = self._notes.places(end.ordinal)
        if places is not None:
            needs = gathered(_unless_stopped(check_stopped, marked.lines_at(log, places)))
            if needs.seen == self._notes.count(end.ordinal):
                return needs
        # Notes were lost or damaged, or the cursor is of a version that had none
        return gathered(
            _unless_stopped(check_stopped, marked.marked_lines(log, _AT_END, end, begin))
        )

    def _remember(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except OSError as error:
            events.state_unwritable(self._state, error)
            return False
        return True

    def _note_configs(self, lines: Sequence[Line]) -> None:
        # An offset, not the record: it goes into the cursor, which must not grow with the config
        for line in lines:
            if _is(line, RecordType.CONFIG):
                attempt = attempt_at(line, self._starts[-1][1])
                self._starts.append((line.at.offset, attempt))


def _is(line: Line, *types: RecordType) -> bool:
    return bool(line.record) and RecordType.of(line.record or {}) in types


def _unless_stopped(check_stopped: Callable[[], None], lines: Iterable[Line]) -> Iterator[Line]:
    for line in lines:
        check_stopped()
        yield line
