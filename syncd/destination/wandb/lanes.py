"""Which way a run's lines go to a W&B server: over its HTTP interface (direct) or by wandb's SDK.

The direct lane was tried with a real server by nobody here, so `auto` takes it only as far as the
server does what is expected of it. The first lines that are posted have to be counted before any
others follow; a server that counts others than were posted gets the SDK lane, which is remembered,
and a run whose lines it does not take gets it for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from syncd.destination.base import RunRef
from syncd.state import atomic_json

NAME: Final = "lane.json"
REMEMBERED: Final = 7 * 86_400.0  # seconds; a server may be upgraded, and a try costs one post
MOST_REFUSED: Final = 4  # runs that go by the SDK alone; so many, and it is the server


class Lane(StrEnum):
    """A way to the server."""

    DIRECT = "direct"
    SDK = "sdk"


class Lanes:
    """The lanes of one server. Thread-safe.

    asked: auto, direct or sdk, as in the settings. folder: where it is remembered; None forgets it
    with the process. clock: seconds since 1970.
    """

    def __init__(
        self, asked: str, folder: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._asked = asked
        self._path = folder / NAME if folder else None
        self._clock = clock
        self._lock = threading.Lock()
        self._alone: set[RunRef] = set()  # runs that go by the SDK
        self._damaged: set[RunRef] = set()
        self._seen, self._why = self._load() if asked == "auto" else ("", "")
        self._counts = False

    @property
    def counts(self) -> bool:
        """Whether this process saw the server count what was posted."""
        return self._counts

    @property
    def server(self) -> Lane:
        """The way of all runs but those that have their own."""
        if self._asked != "auto":
            return Lane(self._asked)
        return Lane.SDK if self._seen == Lane.SDK else Lane.DIRECT

    @property
    def odd(self) -> bool:
        """Whether the server was found not to be as expected."""
        return bool(self._why)

    @property
    def words(self) -> str:
        """The lane, and why, for people."""
        if self._asked != "auto":
            return f"{self._asked} (set)"
        if self._seen == Lane.SDK:
            return f"SDK, because {self._why}"
        if not self._seen:
            return "direct, not yet tried here"
        if self._why:
            return f"direct, but {self._why}"
        alone = len(self._alone)
        return f"direct, but for {alone} {'run' if alone == 1 else 'runs'}" if alone else "direct"

    def of(self, run: RunRef) -> Lane:
        """The way of this run."""
        if run in self._damaged:
            return Lane.DIRECT
        return Lane.SDK if run in self._alone else self.server

    def mend(self, run: RunRef) -> None:
        """Lines are missing in the run's middle: only the direct lane can go back to them, whatever
        the settings say."""
        self._damaged.add(run)

    def counted(self) -> None:
        """The server counted what was posted to it."""
        with self._lock:
            first, self._counts = not self._counts, True
            news = self._seen != Lane.DIRECT or self._why
            if first and self._asked == "auto" and news:
                self._remember(Lane.DIRECT, "")

    def not_counted(self) -> None:
        """The server counts nothing of what it was sent: the other lane would not change that."""
        with self._lock:
            self._counts = False
            if self._asked == "auto" and self._seen != Lane.SDK:
                self._remember(Lane.DIRECT, "it does not count what it is sent")

    def leave(self, why: str) -> bool:
        """The server doesn't do what the direct lane relies on. Whether another lane is to be
        tried: not where the settings name this one."""
        with self._lock:
            if self._asked == "auto" and self._seen != Lane.SDK:
                self._counts = False
                self._remember(Lane.SDK, why)
        return self._asked == "auto"

    def leave_for(self, run: RunRef, why: str) -> bool:
        """The same of one run."""
        if self._asked != "auto":
            return False
        with self._lock:
            self._alone.add(run)
            several = len(self._alone) >= MOST_REFUSED
        if several and not self._counts:
            return self.leave(why)
        return True

    def _remember(self, lane: Lane, why: str) -> None:
        self._seen, self._why = lane, why
        if self._path is None:
            return
        try:
            atomic_json.write(self._path, {"lane": lane, "why": why, "at": self._clock()})
        except OSError:
            return  # it is found out again the next time

    def _load(self) -> tuple[str, str]:
        def decode(data: Any) -> tuple[str, str]:
            age = self._clock() - float(data["at"])
            return (Lane(data["lane"]), str(data["why"])) if 0 <= age < REMEMBERED else ("", "")

        return (atomic_json.load(self._path, decode) if self._path else None) or ("", "")
