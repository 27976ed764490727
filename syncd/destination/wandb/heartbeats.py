"""A sign of life for every open run of the direct lane: a few threads for all of them.

W&B shows a run as crashed that has sent nothing for some minutes, whatever its trainer does. With
one thread, a run whose posts have no answer would hold all others back, 15 s each time.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Final, Protocol

EVERY: Final = 30.0  # seconds, as wandb-core has it
LOOK: Final = 5.0  # seconds between looks at who has been silent for so long
AT_ONCE: Final = 16  # signs of life that are waited for


class Beating(Protocol):
    """A session that can give a sign of life."""

    def is_silent(self, seconds: float) -> bool:
        """Whether one is due, as nothing was sent for so long. Never waits."""

    def beat(self, every: float) -> None:
        """Give one, if it still is. Never raises."""


class Heartbeats:
    """Sessions that are kept alive for as long as somebody else holds them."""

    def __init__(self, every: float = EVERY, look: float = LOOK) -> None:
        self._every, self._look = every, look
        self._guard = threading.Lock()
        self._sessions: weakref.WeakSet[Beating] = weakref.WeakSet()
        self._due: deque[weakref.ref[Beating]] = deque()  # those whose turn it is
        self._asked: weakref.WeakSet[Beating] = weakref.WeakSet()  # these, and those under way
        self._working = 0  # threads
        self._looking = False
        self._closed = threading.Event()

    def keep(self, session: Beating) -> None:
        """Give this one's signs of life from now on."""
        with self._guard:
            self._sessions.add(session)
            if not self._looking and not self._closed.is_set():
                threading.Thread(target=self._run, name="heartbeats", daemon=True).start()
                self._looking = True

    def close(self) -> None:
        """Give no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._look):
            for _ in range(self._take_silent()):
                self._start_one()

    def _start_one(self) -> None:
        try:
            threading.Thread(target=self._work, name="heartbeat", daemon=True).start()
        except RuntimeError:  # no more threads just now: those in line wait for the next look
            with self._guard:
                self._working -= 1

    def _take_silent(self) -> int:
        """Put those in line that are silent; how many further threads they need."""
        with self._guard:
            silent = [one for one in self._sessions - self._asked if one.is_silent(self._every)]
            self._asked.update(silent)
            self._due.extend(map(weakref.ref, silent))
            further = max(0, min(len(self._due), AT_ONCE - self._working))
            self._working += further
        return further

    def _work(self) -> None:
        while (session := self._next()) is not None:
            session.beat(self._every)
            with self._guard:
                self._asked.discard(session)
            del session  # nothing of ours keeps one alive

    def _next(self) -> Beating | None:
        """The next one in line; None for a thread that is to end."""
        with self._guard:
            while self._due and not self._closed.is_set():
                if session := self._due.popleft()():
                    return session
            self._working -= 1
            return None
