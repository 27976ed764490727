"""A sign of life for every open run of the direct lane: one thread for all of them.

W&B shows a run as crashed that has sent nothing for some minutes, whatever its trainer does.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final, Protocol

EVERY: Final = 30.0  # seconds, as wandb-core has it
LOOK: Final = 5.0  # seconds between looks at who has been silent for so long


class Beating(Protocol):
    """A session that can give a sign of life."""

    def beat(self, every: float) -> None:
        """Give one, if nothing was sent for so many seconds. Never raises."""


class Heartbeats:
    """Sessions that are kept alive for as long as somebody else holds them."""

    def __init__(self, every: float = EVERY, look: float = LOOK) -> None:
        self._every, self._look = every, look
        self._guard = threading.Lock()
        self._sessions: weakref.WeakSet[Beating] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def keep(self, session: Beating) -> None:
        """Give this one's signs of life from now on."""
        with self._guard:
            self._sessions.add(session)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Give no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._look):
            with self._guard:
                sessions = list(self._sessions)
            for session in sessions:
                if self._closed.is_set():
                    return
                session.beat(self._every)
            sessions.clear()  # nothing of ours keeps one alive
            session = None  # type: ignore[assignment]
