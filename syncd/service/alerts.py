"""The daemon's runs -> `--on_event`'s command: looks at them now and then, remembers what was
told."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.lock import this_host
from karaoke_train.runlog.plain_text import one_line
from syncd.destination.base import Destination, RunRef
from syncd.errors import Refused
from syncd.paths import destination_folder
from syncd.service.event_command import EventCommand
from syncd.service.run_events import (
    CRASHED,
    LIVE,
    EventKind,
    Look,
    Seen,
    began,
    first_look,
    from_json,
    news,
    to_json,
    words_of,
)
from syncd.settings import Settings
from syncd.source.safe_open import open_log
from syncd.state import atomic_json
from syncd.sync.loop import Daemon
from syncd.sync.outcome import outcome_before
from syncd.sync.scheduler import Phase
from syncd.sync.writer_locks import WriterLocks

NAME: Final = "events.json"
_OF_ALL: Final = tuple(EventKind)
_OF_UPLOADS: Final = (EventKind.UPLOAD_BLOCKED,)
_ALL: Final = ""  # in the place of a run's id: what keeps all of them from being uploaded
_SYSTEM: Final = b'{"type":"system"'  # as our writer begins such a line
_READ: Final = 1 << 20  # bytes since the last look that are looked at for that
_NOTHING: Final = Look(0, "")  # of it


class Alerts:
    """What was told of each run at one destination, and who is told. tell: is given each event, as
    a JSON object. kinds: those that are told; the others are the news of another destination."""

    def __init__(
        self,
        settings: Settings,
        destination: Destination,
        tell: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
        kinds: Collection[EventKind] = _OF_ALL,
    ) -> None:
        self._silent_after = settings.silent_after * 60
        self._grace = settings.limits.writer_check_after
        self._every = settings.rescan
        self._file = destination_folder(settings.state_dir, destination.identity.address) / NAME
        self._destination = destination
        self._tell = tell
        self._clock = clock
        self._kinds = kinds
        seen = atomic_json.load(self._file, lambda data: from_json(data, clock()))
        self._is_first = seen is None  # what was there before anybody asked is no news
        self._seen: dict[str, Seen] = seen or {}
        self._writer_locks = WriterLocks()
        self._due = 0.0

    def look(self, daemon: Daemon) -> None:
        """Look at the runs, if it's time, and tell what has happened. Never waits."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + self._every
        before = to_json(self._seen)
        for key, look in self._looks(daemon, now):
            seen = self._seen.get(key)
            if seen is None and (self._is_first or key == _ALL):
                seen = first_look(look if self._is_first else _NOTHING, now)
            seen = seen or began(now)
            self._seen[key], kinds = news(seen, look, now, self._silent_after)
            for kind in filter(self._kinds.__contains__, kinds):
                self._tell(self._event(kind, key, daemon, now))
        self._is_first = False
        if to_json(self._seen) != before:
            with suppress(OSError):  # it is told once more after a restart, at worst
                atomic_json.write(self._file, to_json(self._seen), sync=False)

    def _looks(self, daemon: Daemon, now: float) -> Iterator[tuple[str, Look]]:
        for key, run in daemon.runs.items():
            path = daemon.sessions[key].path
            size = self._spoken(key, path, run.size)
            blocked = run.error.what if run.phase is Phase.BLOCKED and run.error else ""
            yield key, Look(size, self._state(key, path, size, now), blocked)
        refused = daemon.connectivity.error
        if isinstance(refused, Refused) or _ALL in self._seen:
            words = str(refused) if isinstance(refused, Refused) else ""
            yield _ALL, replace(_NOTHING, blocked=words)

    def _spoken(self, key: str, path: Path, size: int) -> int:
        """The file's size, or that of the last look where nothing but system records came since:
        they are a thread's, which goes on while a training hangs."""
        seen = self._seen.get(key)
        before = seen.look.size if seen else 0
        if not before < size <= before + _READ:
            return size
        try:
            with open_log(path) as file:
                file.seek(before)
                lines = file.read(size - before).splitlines()
        except OSError:
            return size
        return before if all(line.startswith(_SYSTEM) for line in lines) else size

    def _state(self, key: str, path: Path, size: int, now: float) -> str:
        seen = self._seen.get(key)
        if seen and seen.look.state != LIVE and seen.look.size == size:
            return seen.look.state  # without asking the disk for each of ten thousand
        if self._writer_locks.is_held(key, path):
            return LIVE
        if outcome := outcome_before(path, size):
            return outcome.status
        if self._is_first:  # crashed long ago, mostly; one that grows after all is seen to
            return CRASHED
        quiet_since = seen.grown_at if seen and seen.look.size == size else now
        is_recent = now - quiet_since <= self._grace
        return LIVE if is_recent or self._writer_locks.may_come_back(key, path) else CRASHED

    def _event(self, kind: EventKind, key: str, daemon: Daemon, now: float) -> dict[str, Any]:
        seen = self._seen[key]
        session = daemon.sessions.get(key)
        name = session.header.run_name if session else "every run"
        event: dict[str, Any] = {
            "event": kind,
            "destination": self._destination.identity.kind,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": this_host(),
            "words": one_line(words_of(kind, name, seen.look, now - seen.grown_at)),
        }
        if session is None:
            return event
        entity = daemon.connectivity.entity
        ref = RunRef(entity, session.project, session.header.run_id)
        return event | {
            "run_id": ref.run_id,
            "run_name": name,
            "project": session.project,
            "path": str(session.path),
            "status": seen.look.state,
            "url": self._destination.url(ref) if entity else "",
        }


class Alerting:
    """Alerts with their command, for as long as a daemon runs; nothing where none is asked for.
    What happens to a run is the same for all destinations, and told once, by the first; what keeps
    it from being uploaded is told of each."""

    def __init__(self, targets: Sequence[tuple[Settings, Destination]]) -> None:
        first, _ = targets[0]
        self._command = command = EventCommand(first.on_event) if first.on_event else None
        self._alerts = [
            Alerts(settings, destination, command.tell, kinds=_OF_UPLOADS if number else _OF_ALL)
            for number, (settings, destination) in enumerate(targets)
            if command
        ]

    def look(self, daemons: Sequence[Daemon]) -> None:
        """See `Alerts.look`. daemons: of the targets."""
        for alerts, daemon in zip(self._alerts, daemons, strict=False):
            alerts.look(daemon)

    def close(self) -> None:
        """Tell nothing more."""
        if self._command:
            self._command.close()
