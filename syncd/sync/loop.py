"""Performs actions, folds events: the loop around the schedule, and the only thing with state."""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from syncd.destination.base import Standing
from syncd.errors import Leased, Refused, Unreachable, UploadError
from syncd.settings import Settings
from syncd.source.scanner import Found, Roster, settle_claims
from syncd.state import cursor, decisions, failures
from syncd.sync.scheduler import (
    Action,
    Confirmed,
    Dirty,
    Do,
    Event,
    Failed,
    Opened,
    Phase,
    Reach,
    Retry,
    Run,
    RunKey,
    Settled,
    actions,
    after,
    began,
    freed,
    missed,
    reached,
    suspect,
    wanted,
)
from syncd.sync.session import MakeUploader, Session

log = logging.getLogger(__name__)

TICK: Final = 0.25  # seconds between looks at the clock while something is under way
IDLE_TICK: Final = 1.0
_RESTING: Final = (Phase.IDLE, Phase.OPEN, Phase.BLOCKED)  # no action under way
GIVE_UP: Final = 3  # failures in a row after which a one-shot upload leaves a run


class Destination(Protocol):
    """What the loop asks of a server."""

    def viewer(self) -> str:
        """The entity that runs go to. Raises Unreachable or Refused."""

    def standing(self, entity: str, project: str, run_id: str) -> Standing | None:
        """The run as the server has it."""


class Daemon:
    """Uploads what the log folders hold, to one destination.

    files: upload these and nothing else, whatever their `upload` says. once: every run that
    isn't being written is ended at the server without waiting for its writer's silence.
    run_name: the name at the server instead of the one in the file.
    """

    def __init__(
        self,
        settings: Settings,
        destination: Path,
        server: Destination,
        make_uploader: MakeUploader,
        pool: Executor,
        *,
        files: Sequence[Path] | None = None,
        documents: Sequence[Path] = (),
        once: bool = False,
        run_name: str = "",
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        once_only = replace(settings.limits, quiet=0.0, linger=2 * TICK)
        self.limits = once_only if once else settings.limits
        self.destination = destination
        self.runs: dict[RunKey, Run] = {}
        self.sessions: dict[RunKey, Session] = {}
        self.reach = Reach(entity=settings.entity)
        self.left_out: list[Found] = []  # files that can't be uploaded as they are
        self.on_progress: Callable[[], None] = lambda: None  # after each file of a long pass
        self._server = server
        self._make_uploader = make_uploader
        self._pool = pool
        self._files = files
        self._documents = frozenset(documents)
        self._run_name = run_name
        self._clock = clock
        self._jitter = jitter
        self._uploaded_from = {
            run_id: known.path for run_id, known in cursor.load_all(destination / "cursors").items()
        }
        self._ignored: set[str] = set()  # runs that people want left alone
        self._aliases: dict[str, str] = {}
        self._roster = Roster(lambda: self._aliases)
        self._events: queue.SimpleQueue[tuple[RunKey, Event] | Path | _Answer] = queue.SimpleQueue()
        self._probing = False
        self._rescan_at = 0.0

    def news(self, path: Path) -> None:
        """This file may have news. Called from any thread."""
        self._events.put(path)

    def rescan(self) -> None:
        """Look at all folders with the next tick."""
        self._rescan_at = 0.0

    def tick(self) -> None:
        """Fold what has happened, look where it's due, start what is to be done. Never waits."""
        while not self._events.empty():
            self._fold(self._events.get())
        now = self._clock()
        if now >= self._rescan_at:
            self._rescan_at = now + self.settings.rescan
            self._rescan()
        self._probe(now)
        for action in actions(self.runs, online=self.reach.online, now=now, limits=self.limits):
            self._start(action)

    def wait(self) -> None:
        """Sleep until something happens, or the next tick is due."""
        busy = any(run.phase not in (Phase.IDLE, Phase.BLOCKED) for run in self.runs.values())
        try:
            self._fold(self._events.get(timeout=TICK if busy else IDLE_TICK))
        except queue.Empty:
            return

    def done(self) -> bool:
        """Whether all is uploaded that can be: what is left waits for somebody else."""
        if self._probing or not self.reach.known:
            return False
        if not self.reach.online:
            return all(run.phase in (Phase.IDLE, Phase.BLOCKED) for run in self.runs.values())
        return all(map(_at_rest, self.runs.values()))

    def drop(self) -> None:
        """Let go of all sessions, as a crash would, but with their leases given back. No action
        may be under way."""
        for session in self.sessions.values():
            session.drop()

    def _fold(self, item: tuple[RunKey, Event] | Path | _Answer) -> None:
        if isinstance(item, Path):
            self._look(item)
        elif isinstance(item, tuple):
            self._happened(*item)
        else:
            self._answered(item)

    def _happened(self, key: RunKey, event: Event) -> None:
        now = self._clock()
        self.runs[key] = after(self.runs[key], event, now, self._jitter(), self.limits)
        match event:
            case Failed(error):
                self._failed(key, error, now)
            case Opened() | Settled() | Confirmed():
                self._remember(lambda: failures.clear(self.destination, key))
            case _:
                pass

    def _failed(self, key: RunKey, error: UploadError, now: float) -> None:
        session = self.sessions[key]
        if isinstance(error, Unreachable | Refused):
            log.warning("%s", error)
            self.reach = suspect(self.reach, error, now)
            return
        level = logging.DEBUG if isinstance(error, Leased) else logging.WARNING
        log.log(level, "%s", error)
        self.reach = replace(self.reach, probe_at=min(self.reach.probe_at, now))
        if not isinstance(error, Leased):
            self._remember(lambda: failures.save(self.destination, key, session.path, error))

    def _answered(self, answer: _Answer) -> None:
        self._probing = False
        now = self._clock()
        if isinstance(answer.found, str):
            self._reached(answer.found, now)
            return
        if str(answer.found) != str(self.reach.error):
            log.warning("%s", answer.found)
        self.reach = missed(self.reach, answer.found, now, self._jitter(), self.limits)

    def _reached(self, entity: str, now: float) -> None:
        was = self.reach
        self.reach = reached(entity, now, self.limits)
        if was.suspected:  # the server is fine: a run that says otherwise waits alone
            return
        if not was.online:
            log.info("the server can be reached; runs go to %s", entity)
        if entity != was.entity:
            self._start_over(now)
        for key in [key for key, run in self.runs.items() if freed(run)]:
            self._happened(key, Retry())

    def _start_over(self, now: float) -> None:
        """Runs go to another entity than we thought: what was confirmed elsewhere isn't here."""
        for key, run in self.runs.items():
            if run.phase is Phase.IDLE:
                self.runs[key] = replace(self.sessions[key].initial(now), size=run.size)

    def _probe(self, now: float) -> None:
        if self._probing or now < self.reach.probe_at:
            return
        self._probing = True
        self._pool.submit(self._ask).add_done_callback(lambda done: self._events.put(done.result()))

    def _ask(self) -> _Answer:
        try:
            return _Answer(self._server.viewer())
        except UploadError as error:
            return _Answer(error)
        except Exception as error:  # a bug: without an answer nothing would be asked again
            return _Answer(Unreachable(f"unexpected: {error!r:.200}", kind="trouble"))

    def _start(self, action: Action) -> None:
        key, do = action.key, action.do
        run, session = self.runs[key], self.sessions[key]
        self.runs[key] = began(run, action)
        if do is Do.CHECK:  # a look at a lock: done at once
            self._happened(key, session.check())
            return
        act: dict[Do, Callable[[], Event]] = {
            Do.OPEN: session.open,
            Do.SEND: lambda: session.send(run.sent, self.limits.batch),
            Do.CONFIRM: lambda: session.confirm(run.confirmed),
            Do.CLOSE: lambda: session.close(action.outcome, run.confirmed),
            Do.ABANDON: lambda: session.stalled(run.confirmed, run.sent, self.limits.stall),
        }
        perform = act[do]
        self._pool.submit(perform).add_done_callback(
            lambda done: self._events.put((key, done.result()))
        )

    def _rescan(self) -> None:
        for run_id in decisions.take_retries(self.destination):
            if run_id in self.runs:
                self._retry(run_id)
        self._aliases = decisions.aliases(self.destination)
        self._ignored = ignored = decisions.forgotten(self.destination)
        files = settle_claims(self._with_progress(self._scan()), self._owners())
        self.left_out = [found for found in files if found.code]
        for found in self._with_progress(files):
            if found.header and not found.code and found.header.run_id not in ignored:
                self._seen(found)
        for run_id in ignored & self.runs.keys():
            if self.runs[run_id].phase in _RESTING:
                self.sessions[run_id].drop()
                del self.runs[run_id], self.sessions[run_id]

    def _retry(self, run_id: str) -> None:
        if self.runs[run_id].phase is Phase.OPEN:
            self.sessions[run_id].drop()
        self._happened(run_id, Retry())

    def _scan(self) -> Iterable[Found]:
        if self._files is None:
            return self._roster.scan(self.settings.log_dir)
        return map(self._roster.look, self._files)

    def _with_progress(self, files: Iterable[Found]) -> Iterator[Found]:
        for found in files:
            self.on_progress()
            yield found

    def _owners(self) -> dict[str, str]:
        now = {key: str(session.path) for key, session in self.sessions.items()}
        return self._uploaded_from | now

    def _look(self, path: Path) -> None:
        """One file has news: a known one is looked at alone, a new one with all others."""
        found = self._roster.look(path)
        run_id = found.header.run_id if found.header else ""
        session = self.sessions.get(run_id)
        if session is not None and session.path == path and not found.code:
            self._happened(run_id, Dirty(found.size))
        elif self._files is None and not self._no_news(found):
            self.rescan()

    def _no_news(self, found: Found) -> bool:
        """Whether all of the file's run is known already: a copy, a forgotten or a local run."""
        if found.header is None:
            return False
        run_id = found.header.run_id
        return run_id in self.sessions or run_id in self._ignored or not found.header.upload

    def _seen(self, found: Found) -> None:
        """A run's own file, as it is now."""
        assert found.header is not None
        key = found.header.run_id
        if key not in self.runs:
            if not found.header.upload and self._files is None:
                return
            self._adopt(found)
        session, run = self.sessions[key], self.runs[key]
        if session.path != found.path and run.phase in _RESTING:
            if run.phase is Phase.OPEN:  # its lease is beside the place that the file left
                self._retry(key)
            session.path = found.path
        if session.path == found.path:
            self._happened(key, Dirty(found.size))

    def _adopt(self, found: Found) -> None:
        assert found.header is not None
        session = Session(
            found.path,
            replace(found.header, run_name=self._run_name or found.header.run_name),
            found.media,
            state=self.destination,
            entity=lambda: self.reach.entity,
            project=self.settings.project,
            standing=lambda project, run_id: self._server.standing(
                self.reach.entity, project, run_id
            ),
            make_uploader=self._make_uploader,
            document=found.path in self._documents,
            first=found.first,
        )
        key = found.header.run_id
        self.runs[key] = session.initial(self._clock())
        self.sessions[key] = session

    def _remember(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            log.warning(
                "the state folder %s can't be written: %s", self.destination, error.strerror
            )


class _Answer:
    """What a probe found: the entity, or why not."""

    def __init__(self, found: str | UploadError) -> None:
        self.found = found


def _at_rest(run: Run) -> bool:
    if run.phase is Phase.IDLE:
        return not wanted(run) or run.failures >= GIVE_UP
    return run.phase is Phase.BLOCKED
