"""The boundary to a destination, in prose.

An Uploader carries one run in one session. Lines go in by `send`, in order and without gaps, the
first of them at the count that `open` answered. `send` says nothing about arrival: only `confirm`
does, and what it answers is the server's own count of history lines, never the sender's. Line n
of the file is history line n at the server, with `_step` n; sending a line again replaces it by
its equal, so a session may begin anew at any confirmed count.

Any method may raise an UploadError. After its first error an uploader is dead: nothing of it may
be called but `abandon`, and going on means a new uploader. `close` with an outcome tells the
server how the run ended; without one the run is left as it is, to be continued. Neither method
may wait for an unreachable server longer than the timeouts that the uploader was made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from karaoke_train.runlog.format import Record, RunHeader
from karaoke_train.runlog.reader import Line


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: status finished, failed, interrupted or crashed."""

    status: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Target:
    """The run at the destination, and where its media are here."""

    header: RunHeader
    entity: str
    project: str
    media: Path


class Uploader(Protocol):
    """One run, one session. See the module's text for the contract."""

    def open(self) -> int:
        """Begin. Answers the server's history line count, where `send` has to begin."""

    def send(self, lines: Sequence[Line]) -> None:
        """Hand over the next lines. Says nothing about their arrival."""

    def confirm(self) -> int:
        """The server's history line count now."""

    def close(
        self, outcome: Outcome | None, epochs: Sequence[Record], media: Sequence[Line] = ()
    ) -> None:
        """End the session; with an outcome, the run: its epoch summaries become its table, and
        the pictures and sounds that its media lines name are at the server, or it's an error."""

    def abandon(self) -> None:
        """Drop the session as a crash would, within seconds. Never raises."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A run as the server has it. last_step: the highest `_step`, -1 without history."""

    count: int
    last_step: int
    state: str = ""
