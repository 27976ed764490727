"""Whether the destination can be reached, and when to ask again: for all runs at once.

The decisions are pure; `Prober` asks, in a thread of the pool's, and its answer comes back as a
value like every other event of the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from karaoke_train.runlog.plain_text import one_line
from syncd.destination.base import Destination
from syncd.errors import Connection, Refused, Unreachable, UploadError
from syncd.settings import Limits
from syncd.sync.background import hand_over
from syncd.sync.scheduler import backoff

_OUT_OF_REACH: Final = (Connection.OFFLINE, Connection.CAPTIVE)


@dataclass(frozen=True, slots=True)
class Connectivity:
    """What is known of the destination. entity: where runs go to.

    in_doubt: a run says that it can't be reached; the next answer tells whether that is
    everybody's trouble or the run's own.
    """

    error: UploadError | None = None
    known: bool = False
    in_doubt: bool = False
    entity: str = ""
    failures: int = 0
    probe_at: float = 0.0

    @property
    def online(self) -> bool:
        """Whether sessions may be opened."""
        return self.known and self.error is None

    @property
    def state(self) -> Connection:
        """The same as one word."""
        if self.online:
            return Connection.ONLINE
        if isinstance(self.error, Unreachable | Refused):
            return self.error.kind
        return Connection.UNKNOWN


def succeeded(entity: str, now: float, limits: Limits) -> Connectivity:
    """The server answered, and knows us."""
    return Connectivity(known=True, entity=entity, probe_at=now + limits.probe_every)


def failed(
    known: Connectivity, error: UploadError, now: float, jitter: float, limits: Limits
) -> Connectivity:
    """The server can't be reached, or refuses us. A time that it named itself (Retry-After) wins
    over our own backoff."""
    failures = known.failures + 1
    wait = error.retry_after or backoff(failures, jitter, limits)
    return replace(
        known, error=error, known=True, in_doubt=False, failures=failures, probe_at=now + wait
    )


def suspected(known: Connectivity, error: UploadError, now: float) -> Connectivity:
    """A run found the server unreachable, or was refused: ask at once, or when the server said."""
    if not known.online:
        return known
    return replace(known, error=error, in_doubt=True, probe_at=now + error.retry_after)


def hurried(known: Connectivity, now: float) -> Connectivity:
    """A run's own trouble may be everybody's: ask now, if not before."""
    return replace(known, probe_at=min(known.probe_at, now))


def network_changed(known: Connectivity, now: float) -> Connectivity:
    """This machine's addresses are other ones: a server that could not be reached is asked now, and
    soon again, since names and routes come some moments after an address. One that answered and
    said when to ask again, or refuses us, has nothing to do with it."""
    away = isinstance(known.error, Unreachable) and known.error.kind in _OUT_OF_REACH
    return replace(known, failures=0, probe_at=min(known.probe_at, now)) if away else known


@dataclass(frozen=True, slots=True)
class Probed:
    """What asking found: the entity that runs go to, or why not."""

    found: str | UploadError


class Prober:
    """Asks the destination who we are, one question at a time. post: takes the answer, from any
    thread."""

    def __init__(
        self, destination: Destination, threads: Executor, post: Callable[[Probed], None]
    ) -> None:
        self._destination = destination
        self._threads = threads
        self._post = post
        self.asking = False

    def ask_if_due(self, known: Connectivity, now: float) -> None:
        """Begin to ask, where it's time and no question is under way."""
        if self.asking or now < known.probe_at:
            return
        self.asking = True
        hand_over(self._threads, self._ask, self._post)

    def answered(self) -> None:
        """The answer has been taken: the next question may come."""
        self.asking = False

    def _ask(self) -> Probed:
        try:
            return Probed(self._destination.account().entity)
        except UploadError as error:
            return Probed(error)
        except Exception as error:  # a bug: without an answer nothing would be asked again
            return Probed(
                Unreachable(f"unexpected: {one_line(repr(error), 200)}", kind=Connection.TROUBLE)
            )
