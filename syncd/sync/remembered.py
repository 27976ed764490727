"""A run's cursor as a session uses it: of this destination's run alone, and never more than the
server's word: a count below it is looked at again before a person is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from syncd import events
from syncd.destination.base import Identity
from syncd.state import cursor
from syncd.state.cursor import Cursor
from syncd.sync import troubles

# Times that a server may count fewer lines than it confirmed, before a person is asked. Replicas
# that lag look for a while like a server that lost data; neither says which it is.
LOST_TRIES: Final = 5


class Remembered:
    """Of one run. state: where the destination's state is. entity: where runs go to, as far as that
    is known by now."""

    def __init__(self, state: Path, key: str, project: str, entity: Callable[[], str]) -> None:
        self._folder = state / "cursors"
        self._key = key
        self._project = project
        self._entity = entity
        self._lost_tries = 0
        self._unsaved: tuple[Cursor, bool] | None = None  # what the state folder did not take

    def load(self) -> Cursor | None:
        """What was confirmed there; None where that isn't known."""
        # The same run id in another project or account is another run: its count is not ours. An
        # entity not yet known fits any
        known, entity = cursor.load(self._folder, self._key), self._entity()
        if known is None or known.project != self._project or entity not in ("", known.entity):
            return None
        return known

    def save(self, known: Cursor, *, sync: bool) -> None:
        """Remember what the server confirmed. A state folder that takes no writes costs nothing
        now, and a re-read if the process ends before `save_again`; so does a power cut without
        `sync`."""
        # Written after the server's answer and before the next send, so the cursor never says
        # more than the server; less is harmless, as equal lines replace each other
        self.keep(known, sync=sync)
        try:
            cursor.save(self._folder, known, sync=sync)
        except OSError as error:
            events.state_unwritable(self._folder.parent, error)
        else:
            self._unsaved = None

    def keep(self, known: Cursor, *, sync: bool) -> None:
        """Remember it with the next `save_again`."""
        self._unsaved = (known, sync)

    def save_again(self) -> bool:
        """Try once more what the state folder did not take, which nothing else may do before the
        run has new records. Whether nothing is left."""
        if self._unsaved:
            known, sync = self._unsaved
            self.save(known, sync=sync)
        return self._unsaved is None

    def check_count(self, count: int, known: Cursor | None, path: Path, there: Identity) -> None:
        """See that the destination has no fewer lines than it confirmed. Raises RunTrouble, and
        RemoteLostRecords once that stays so."""
        # Without a cursor there's nothing to compare with: the server's count is believed
        confirmed = known.confirmed.ordinal if known else 0
        if count >= confirmed:
            self._lost_tries = 0
            return
        self._lost_tries += 1
        # Tried again with the usual backoff, so these tries span some minutes: longer than any lag
        # that was reported of the real service
        if self._lost_tries <= LOST_TRIES:
            raise troubles.remote_counts_fewer(count, confirmed, path, there)
        raise troubles.remote_lost_records(count, confirmed, path, self._key, there)
