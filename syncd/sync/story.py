"""A run's events -> what is told of it, each once: that it was opened, that its first records are
there, that all of them are, that it has ended. A failure begins the telling anew.
"""

from __future__ import annotations

from syncd import events
from syncd.sync.scheduler import Blocked, Closed, Confirmed, Event, Failed, Opened, Run, RunKey
from syncd.sync.session import Session


class Story:
    """What was told of each run so far. A live run catches up each second, and one that takes turns
    is opened each minute: neither is news. place: where its records are once they are there."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._opened: set[RunKey] = set()
        self._failed: set[RunKey] = set()
        self._caught_up: set[RunKey] = set()
        self._arrives: set[RunKey] = set()

    def tell(self, key: RunKey, session: Session, before: Run, event: Event, after: Run) -> None:
        """Tell what the event is news of."""
        run_id, path = session.header.run_id, session.path
        match event:
            case Opened(at):
                if _first(key, self._opened):
                    again = key in self._failed
                    tell = events.run_went_on if again else events.run_opened
                    tell(run_id, path, at.ordinal, self._place)
                    self._failed.discard(key)
            case Confirmed(at) if at.ordinal > before.confirmed.ordinal:
                if _first(key, self._arrives):
                    events.run_arrives(run_id, path, self._place, session.url)
                if at.offset >= after.size and _first(key, self._caught_up):
                    events.run_caught_up(run_id, path, at.ordinal, self._place)
            case Closed(ended=True):
                status = after.outcome.status if after.outcome else ""
                count = after.confirmed.ordinal
                events.run_ended(run_id, path, status, count, self._place)
                self._begin_anew(key)
            case Failed() | Blocked():
                self._begin_anew(key)
                self._failed.add(key)
            case _:
                pass

    def forget(self, key: RunKey) -> None:
        """The run is over."""
        for told in (self._opened, self._failed, self._caught_up, self._arrives):
            told.discard(key)

    def _begin_anew(self, key: RunKey) -> None:
        self._opened.discard(key)
        self._caught_up.discard(key)


def _first(key: RunKey, told: set[RunKey]) -> bool:
    """Whether it was not told yet; it is now."""
    if key in told:
        return False
    told.add(key)
    return True
