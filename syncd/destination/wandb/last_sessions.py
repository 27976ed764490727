"""What may still be on its way to a server when a run's next session begins.

A request whose sender gave up is with the server all the same, or with a proxy, and may be done
late. Where the server has a line cursor of its own (wandb#12269), lines that come after those of
the next session set it back, and what follows is put over others. So the next session waits, in
both lanes, until nothing of the last one can still arrive. A process that was killed knows of no
session before it: there the count has to stand still, the content is looked at in the end, and
whether the run is shown as ended for a while after (see `syncd.sync.late_posts`).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Final

from syncd.destination.base import RunRef

ARRIVES_WITHIN: Final = 2  # times the time that a server has for an answer


@dataclass(frozen=True, slots=True)
class LastSession:
    """How the last session of a run ended. lines: of the run, once all arrives that was sent in it.
    confirmed: all of that was. orderly: the sender has let go of the run, and sends nothing again.
    at: when, by the monotonic clock."""

    lines: int
    confirmed: bool
    orderly: bool
    at: float = field(default_factory=time.monotonic)

    def may_still_arrive(self, count: int, timeout: float) -> float:
        """Seconds until nothing of it can still arrive, at a server that counts so many lines and
        has `timeout` seconds for an answer; 0 where nothing can."""
        if self.confirmed or count >= self.lines:
            return 0.0
        return max(0.0, self.at + ARRIVES_WITHIN * timeout - time.monotonic())


class LastSessions:
    """The last session of each run of this process, unless one is open. Thread-safe."""

    def __init__(self) -> None:
        self._ended: dict[RunRef, LastSession] = {}
        self._guard = threading.Lock()

    def note(self, run: RunRef, session: LastSession) -> None:
        """A session has ended."""
        with self._guard:
            self._ended[run] = session

    def of(self, run: RunRef) -> LastSession | None:
        """The run's last session; None where there was none, or one is open."""
        with self._guard:
            return self._ended.get(run)

    def begin(self, run: RunRef) -> None:
        """A session begins."""
        with self._guard:
            self._ended.pop(run, None)
