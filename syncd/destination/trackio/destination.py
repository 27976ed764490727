"""trackio's store on this machine as a Destination: no account, no network, no server."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from syncd.destination.base import (
    Account,
    Finding,
    Identity,
    Labels,
    RemoteRun,
    Row,
    RunRef,
    Target,
    Uploader,
)
from syncd.destination.trackio import names, store
from syncd.destination.trackio.store import Store
from syncd.destination.trackio.uploader import RUNNING, TrackioUploader, as_config, as_row
from syncd.errors import Refused, Unreachable

ENTITY: Final = "local"  # whose runs they are: this machine's user's
MAX_SESSIONS: Final = 512  # each is a few hundred bytes


class TrackioDestination:
    """See `syncd.destination.base.Destination`."""

    max_sessions = MAX_SESSIONS
    counts = True
    counts_at_once = True
    lane = ""

    def __init__(self, folder: Path) -> None:
        """folder: where the store is."""
        self._store = Store(folder)
        self._closed = threading.Event()

    @property
    def identity(self) -> Identity:
        """What is known without asking."""
        return Identity(
            kind="trackio",
            address=names.address(self._store.folder),
            entity=ENTITY,
            needs_key=False,
            name="the local store",
            place="in the local dashboard",
            activity="to the local dashboard",
            nothing="There is no run to show",
            has_table=False,
            warning=store.unusable(),
        )

    def account(self) -> Account:
        """Whose runs they are. Raises Refused, Unreachable."""
        self._store.check()
        return Account(ENTITY)

    def remote_run(self, run: RunRef) -> RemoteRun | None:
        """The run as the store has it."""
        count = self._store.count(run.project, run.run_id)
        if not count:
            return None
        last = self._store.last_line(run.project, run.run_id)
        state = self._store.state(run.project, run.run_id) or RUNNING
        return RemoteRun(count, last, state)

    def heartbeat(self, run: RunRef) -> str:
        """The store has none: who writes makes the count grow."""
        return ""

    def uploader(self, target: Target) -> Uploader:
        """A session, not yet open."""
        return TrackioUploader(target, self._store)

    def pause(self, seconds: float) -> None:
        """Wait, or end with Unreachable."""
        if self._closed.wait(seconds):
            raise Unreachable("the destination was closed")

    def steps(self, run: RunRef) -> int | None:
        """How many rows there are: each has a line."""
        return self._store.count(run.project, run.run_id)

    def rows(self, run: RunRef, start: int, stop: int) -> Sequence[Row]:
        """Some of the run's rows."""
        return [
            as_row(row.ordinal, row.timestamp, dict(row.metrics))
            for row in self._store.rows(run.project, run.run_id, start, stop)
        ]

    def label(self, run: RunRef, labels: Labels) -> bool:
        """Change the labels that are given."""
        return self._store.update_config(run.project, run.run_id, as_config(labels))

    def mend(self, run: RunRef) -> None:
        """Every session can go back."""

    def history(self, run: RunRef) -> Iterator[Row]:
        """The run's rows."""
        for row in self._store.rows(run.project, run.run_id):
            yield as_row(row.ordinal, row.timestamp, dict(row.metrics))

    def files(self, run: RunRef) -> Collection[str]:
        """The run's pictures and sounds in the store."""
        return self._store.files(run.project, run.run_id)

    def url(self, run: RunRef) -> str:
        """No page is there until `karaoke-syncd view` opens one."""
        return ""

    def checks(self) -> Iterator[Finding]:
        """For `doctor`."""
        try:
            self._store.try_to_write()
        except (Refused, Unreachable) as error:
            yield Finding("store", "error", error.what, error.remedy)
        else:
            yield Finding("store", "ok", f"trackio {store.installed()} keeps {self._store.folder}")

    def close(self) -> None:
        """Waits end; a transaction under way is kept, or isn't."""
        self._closed.set()
