"""Performs actions, applies events: the loop around the scheduler.

It holds the runs, and decides nothing about them: `turns` says what is done, `Catalog` which files
there are, `connectivity` when the destination is asked. Everything that other threads have to say
comes through one queue, so that no run is ever changed from two sides.
"""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from syncd import events, without
from syncd.destination.base import Destination
from syncd.errors import Leased, OthersLack, Refused, Unreachable, UploadError
from syncd.settings import Settings
from syncd.source.folder_tree import FolderTree
from syncd.source.scanner import LogFile, UnusableFile
from syncd.state import cursor, decisions, failures, reached
from syncd.sync import connectivity
from syncd.sync.background import hand_over
from syncd.sync.catalog import Catalog, Listing
from syncd.sync.connectivity import Connectivity, Probed, Prober
from syncd.sync.parts import earlier_parts, waits_for
from syncd.sync.scheduler import (
    Action,
    ActionKind,
    AlreadyComplete,
    Blocked,
    Closed,
    Confirmed,
    Event,
    Failed,
    FileSize,
    Opened,
    Phase,
    Retry,
    Run,
    RunKey,
    StartOver,
    asleep,
    due_at,
    needs_session,
    start,
    transition,
    waits_for_server,
)
from syncd.sync.session import Session
from syncd.sync.story import Story
from syncd.sync.turns import actions

TICK: Final = 0.25  # seconds between looks at the clock while something is under way
IDLE_TICK: Final = 1.0
# Seconds for which a run that has ended keeps its session, which alerts ask for how it ended. Then
# it is as those that had ended before: sessions of all the runs of a year would take 4 KiB each
KEPT: Final = 60.0
# A tick looks at all runs. With 256 live ones, a tick for each of their 600 events in a second took
# more than the uploads, and fifty in a second took twice as long as twenty-five
TICKS_APART: Final = 0.04
_RESTING: Final = (Phase.IDLE, Phase.OPEN, Phase.BLOCKED)  # no action under way
GIVE_UP: Final = 3  # failures in a row after which a one-shot upload leaves a run


class Daemon:
    """Uploads what the log folders hold, to one destination.

    state: where the destination's state is. files: upload these and nothing else, whatever their
    `upload` says. once: every run that isn't being written is ended at the server without waiting
    for its writer's silence. run_name: the name at the server instead of the one in the file. news:
    set when something happened; daemons that are waited for together share it.
    """

    def __init__(
        self,
        settings: Settings,
        state: Path,
        destination: Destination,
        threads: Executor,
        *,
        files: Sequence[Path] | None = None,
        documents: Sequence[Path] = (),
        once: bool = False,
        run_name: str = "",
        news: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        limits = settings.limits
        if destination.counts_at_once:
            limits = replace(limits, confirm_first=0.0)
        once_only = replace(
            limits,
            writer_check_after=0.0,
            idle_session_timeout=2 * TICK,
            confirm_lazy=limits.confirm_first,
            confirm_live=limits.confirm_first,
        )
        self.limits = once_only if once else limits
        self._once = once
        self.state = state
        self.runs: dict[RunKey, Run] = {}
        self.finished: dict[RunKey, str] = {}  # where it is; uploaded and ended a while ago
        self.awake: dict[RunKey, Run] = {}  # of these, those for which something may be due
        self._due: dict[RunKey, float] = {}  # of these, when, unless an event comes before
        self.sessions: dict[RunKey, Session] = {}
        self._found: dict[RunKey, int] = {}  # bytes of each run's file when it was first seen
        self._earlier: Mapping[RunKey, Sequence[LogFile]] = {}  # of later parts of runs
        self._asked_again: set[RunKey] = set()  # runs that had ended, and whose cursor was lost
        self._failed_during: dict[RunKey, Phase] = {}  # of the runs' last failures
        self.connectivity = Connectivity(entity=settings.entity)
        self.skipped_files: tuple[UnusableFile, ...] = ()
        self.on_progress: Callable[[], None] = lambda: None  # after each file of a long pass
        self._destination = destination
        self._threads = threads
        self._documents = frozenset(documents)
        self._run_name = run_name
        self._clock = clock
        self._jitter = jitter
        self._catalog = Catalog(
            state,
            FolderTree(lambda: self.settings.log_dir, recursive=settings.recursive),
            files,
            lambda: self.on_progress(),
            limits.largest_media,
        )
        self._inbox: queue.SimpleQueue[tuple[RunKey, Event] | Path | Probed] = queue.SimpleQueue()
        self.news = news or threading.Event()
        self._story = Story(destination.identity.place)
        self._prober = Prober(destination, threads, self._post)
        self._rescan_at = 0.0
        self._rescan_all = False
        self._ticked_at = 0.0  # by the machine's clock, which waits go by

    def file_changed(self, path: Path) -> None:
        """This file may have news. Called from any thread."""
        self._post(path)

    def rescan(self) -> None:
        """Look at all folders, and at all that is in them, with the next tick."""
        self._rescan_at, self._rescan_all = 0.0, True

    def network_changed(self) -> None:
        """This machine's addresses are other ones."""
        was, now = self.connectivity, self._clock()
        self.connectivity = connectivity.network_changed(was, now)
        if self.connectivity != was:
            events.network_changed()

    def tick(self) -> None:
        """Take in what has happened, look where it's due, start what is to be done. Never waits."""
        while not self._inbox.empty():
            self._take_in(self._inbox.get())
        now = self._clock()
        if now >= self._rescan_at:
            self._rescan_at = now + self.settings.rescan
            with without.garbage_collection():
                self._refresh()
        self._prober.ask_if_due(self.connectivity, now)
        online = self.connectivity.online
        # how many sessions there may be at once is the destination's to say: a process each, or not
        limits = replace(self.limits, open_runs=self._destination.max_sessions)
        runs = self._tried() if self._once else self.awake
        if held := self._held_back():
            runs = {key: run for key, run in runs.items() if key not in held}
        due = [key for key, at in self._due.items() if at <= now]
        for action in actions(runs, online=online, now=now, limits=limits, among=due):
            self._perform(action)
        self._ticked_at = time.monotonic()

    def wait(self) -> None:
        """Sleep until something happens, or the next tick is due."""
        wait_for([self])

    @property
    def kind(self) -> str:
        """What its destination is called in the settings."""
        return self._destination.identity.kind

    @property
    def busy(self) -> bool:
        """Whether a session is open, or an action under way."""
        return any(run.phase not in (Phase.IDLE, Phase.BLOCKED) for run in self.awake.values())

    @property
    def next_tick_at(self) -> float:
        """When the next tick may be at the earliest, by the machine's clock."""
        return self._ticked_at + TICKS_APART

    def done(self) -> bool:
        """Whether all is uploaded that can be: what is left waits for somebody else."""
        # Not by whether a question is under way: to a server that is down there is always one
        if not self.connectivity.known or self.connectivity.in_doubt:
            return False
        if not self.connectivity.online:
            return all(run.phase in (Phase.IDLE, Phase.BLOCKED) for run in self.awake.values())
        held = self._held_back()
        return all(
            _at_rest(run) or key in held or self.goes_on(key) for key, run in self.awake.items()
        )

    def goes_on(self, key: RunKey) -> bool:
        """Whether all of a run is there that its file had when it was found, and its writer has
        written more since: an upload once has done with it. A training that writes as fast as its
        records arrive would keep one from ending for as long as it lasts."""
        run, found = self.runs[key], self._found.get(key, 0)
        there = run.confirmed.offset >= found and not run.files
        return run.outcome is None and run.size > found and there

    def has_file(self, key: RunKey) -> bool:
        """Whether the run's file is there, and has no less than when it was found."""
        try:
            return self.sessions[key].path.stat().st_size >= self._found.get(key, 0)
        except OSError:
            return False

    def _tried(self) -> dict[RunKey, Run]:
        """The runs that are not given up."""
        return {
            key: run
            for key, run in self.awake.items()
            if run.phase is not Phase.IDLE or run.failures < GIVE_UP
        }

    def _held_back(self) -> set[RunKey]:
        """The later parts of runs whose turn has not come: those before them are appended first.
        One that has its place already waits for nobody."""
        held: set[RunKey] = set()
        for key, earlier in self._earlier.items():
            if self.runs[key].phase is not Phase.IDLE or self.sessions[key].placed:
                continue
            first = next((file for file in earlier if not _all_there(self.runs[file.key])), None)
            if first is not None:
                held.add(key)
                self._say_why(key, waits_for(first))
        return held

    def _say_why(self, key: RunKey, why: UploadError) -> None:
        error = self.runs[key].error
        if error is None or error.what != why.what:
            self._keep(key, self.runs[key]._replace(error=why))
            self._keep_problem(key, why)

    def drop(self) -> None:
        """Let go of all sessions, as a crash would, but with their leases given back. No action
        may be under way."""
        for session in self.sessions.values():
            session.drop()

    # --- what others have to say

    def _post(self, item: tuple[RunKey, Event] | Path | Probed) -> None:
        self._inbox.put(item)
        if not self.news.is_set():  # is cleared before the inbox is emptied, never between the two
            self.news.set()

    def _take_in(self, item: tuple[RunKey, Event] | Path | Probed) -> None:
        if isinstance(item, Path):
            self._look(item)
        elif isinstance(item, Probed):
            self._probe_finished(item)
        else:
            self._apply(*item)

    def _apply(self, key: RunKey, event: Event) -> None:
        now, before = self._clock(), self.runs[key]
        after = transition(before, event, now, self._jitter(), self.limits)
        self._keep(key, after)
        self._story.tell(key, self.sessions[key], before, event, after)
        match event:
            case Failed(error) | Blocked(error):
                self._failed_during[key] = before.phase
                self._run_failed(key, error, now)
            case AlreadyComplete() | Closed(ended=True):
                self._remember(lambda: failures.clear(self.state, key))
            case Opened() | Confirmed() if after.confirmed != before.confirmed:
                self._remember(lambda: failures.clear(self.state, key))
            case Opened():  # what failed behind its opening may fail there again
                self._remember(lambda: failures.over(self.state, key, Phase.OPENING))
            case _:
                pass

    def _run_failed(self, key: RunKey, error: UploadError, now: float) -> None:
        everybodys = isinstance(error, Unreachable | Refused)
        events.run_failed(self.sessions[key].header.run_id, error, alone=not everybodys)
        if everybodys:
            self.connectivity = connectivity.suspected(self.connectivity, error, now)
            return
        self.connectivity = connectivity.hurried(self.connectivity, now)
        if isinstance(error, OthersLack):
            self._look_at_other_parts(key)
        if not isinstance(error, Leased):
            self._keep_problem(key, error)

    def _look_at_other_parts(self, key: RunKey) -> None:
        """Have the content of the run's other parts compared: lines of theirs may be missing."""
        run_id = key.partition(".")[0]
        for other in {*self.runs, *self.finished} - {key}:
            resting = other not in self.runs or self.runs[other].phase is Phase.IDLE
            if other.partition(".")[0] == run_id and resting:
                self._remember(partial(cursor.remove, self.state / "cursors", other))
                self._catalog.take_anew(other)
                self.finished.pop(other, None)
                self._begin_anew(other)
                self.rescan()

    def _keep_problem(self, key: RunKey, error: UploadError) -> None:
        """For `status`: what is wrong with this run."""
        path = self.sessions[key].path
        during = self._failed_during.get(key, "")
        self._remember(lambda: failures.save(self.state, key, path, error, during))

    def _probe_finished(self, probed: Probed) -> None:
        self._prober.answered()
        now, was = self._clock(), self.connectivity
        if isinstance(probed.found, str):
            self.connectivity = connectivity.succeeded(probed.found, now, self.limits)
            self._remember(lambda: reached.save(self.state))
            self._server_answered(was, now)
            return
        if was.in_doubt or str(probed.found) != str(was.error):
            events.went_offline(probed.found)
        why = probed.found.what
        self._remember(lambda: reached.save_failed(self.state, why))
        jitter = self._jitter()
        self.connectivity = connectivity.failed(was, probed.found, now, jitter, self.limits)

    def _server_answered(self, was: Connectivity, now: float) -> None:
        if was.in_doubt:  # the server is fine: a run that says otherwise waits alone
            for key, run in self.runs.items():
                if waits_for_server(run) and run.error:
                    events.run_failed(self.sessions[key].header.run_id, run.error, alone=True)
                    self._keep_problem(key, run.error)
            return
        if not was.online:
            tell = events.came_back if was.error else events.reached
            tell(self.kind, self.connectivity.entity)
        if self.connectivity.entity != was.entity:
            self._start_over(now)
        for key in [key for key, run in self.runs.items() if waits_for_server(run)]:
            self._apply(key, Retry())

    def _start_over(self, now: float) -> None:
        """Runs go to another entity than we thought: what was confirmed elsewhere isn't here."""
        for key in [key for key, run in self.runs.items() if run.phase is Phase.IDLE]:
            self._apply(key, StartOver(self.sessions[key].initial(now)))
        entity = self.connectivity.entity
        for key in [key for key in self.finished if not self._catalog.is_at(key, entity)]:
            del self.finished[key]
            self.rescan()

    # --- what is done

    def _perform(self, action: Action) -> None:
        key, kind = action.key, action.kind
        run, session = self.runs[key], self.sessions[key]
        self._keep(key, start(run, action))
        if kind is ActionKind.CHECK:  # a look at a lock: done at once
            self._apply(key, session.check())
            return
        act: dict[ActionKind, Callable[[], Event]] = {
            ActionKind.OPEN: session.open,
            ActionKind.SEND: lambda: session.send(run.sent, self.limits.batch, run.scanned_to),
            ActionKind.BRING: session.bring,
            ActionKind.CONFIRM: lambda: session.confirm(run.confirmed),
            ActionKind.CLOSE: lambda: session.close(action.outcome, run.confirmed),
            ActionKind.ABANDON: lambda: session.stalled(run.confirmed, run.sent),
        }
        hand_over(self._threads, act[kind], lambda event: self._post((key, event)))

    # --- the files

    def _refresh(self) -> None:
        """Look at all folders, and at what people decided."""
        retried = decisions.pop_retries(self.state)
        self._save_again(retried)
        for run_id in retried:
            events.run_retried(run_id)
            if run_id in self.runs:
                self._retry(run_id)
            self._catalog.take_anew(run_id)
            self._rescan_all = True
        current = {run_id: session.path for run_id, session in self.sessions.items()}
        listing = self._catalog.refresh(
            current,
            lambda key: self.sessions[key].file.first_line_hash,
            tuple(self.awake),
            whole=self._rescan_all,
        )
        self._rescan_all = False
        self.skipped_files = listing.skipped
        known = set(self.sessions)
        for file in listing.files:
            self.on_progress()
            if file.key in retried or self._is_about_another(file):
                self._begin_anew(file.key)
            self._update(file)
        if listing.whole:
            self._let_vanished_go(listing)
        if self.sessions.keys() != known:
            self._find_parts()
        for run_id in listing.forgotten & self.runs.keys():
            if self.runs[run_id].phase in _RESTING:
                events.run_forgotten(run_id)
                self._drop_run(run_id)
                self._find_parts()
        for run_id in listing.forgotten & self.finished.keys():
            del self.finished[run_id]

    def _save_again(self, retried: Sequence[RunKey]) -> None:
        """What the state folder did not take, of runs with nothing under way; up to the first that
        it does not take now either. Not of `retried` ones: theirs is not to be believed."""
        resting = (key for key, run in self.runs.items() if run.phase in _RESTING)
        all(self.sessions[key].save_again() for key in resting if key not in retried)

    def _is_about_another(self, file: LogFile) -> bool:
        """Whether what a run waits for a decision about is a file that isn't its own any more."""
        run = self.runs.get(file.key)
        return (
            run is not None
            and run.phase is Phase.BLOCKED
            and self.sessions[file.key].path != file.path
        )

    def _begin_anew(self, key: RunKey) -> None:
        """Know nothing of a run but what its file, its cursor and the server say by now: a session
        goes by the first line that the file had when it was found."""
        if key in self.runs and self.runs[key].phase in (Phase.IDLE, Phase.BLOCKED):
            self._drop_run(key)
            self._remember(lambda: failures.clear(self.state, key))

    def _let_vanished_go(self, listing: Listing) -> None:
        """Runs whose file is gone before the server had anything of them, or once nothing but a
        look at their end was to come, or is another run's by now, as somebody decided. Nothing can
        be done for them, and later parts would wait."""
        listed = {file.key for file in listing.files} | listing.forgotten
        others = {file.place for file in listing.files}
        for key in self.runs.keys() - listed:
            run = self.runs[key]
            all_there = run.look_at < math.inf and run.size == run.confirmed.offset
            is_others = str(self.sessions[key].path) in others
            if not run.confirmed.offset or all_there or is_others:
                self._begin_anew(key)

    def _find_parts(self) -> None:
        self._earlier = earlier_parts(session.file for session in self.sessions.values())

    def _look(self, path: Path) -> None:
        """One file has news: a known run's own is looked at alone, any other with all others."""
        if (grown := self._catalog.grown(path)) and self._has_size(path, *grown):
            return
        file = self._catalog.look(path)
        if isinstance(file, LogFile) and self._has_size(path, file.key, file.size):
            return
        if isinstance(file, LogFile) and self.finished.get(file.key) == file.place:
            self._update(file)
        elif self._catalog.is_news(file, self._knows):
            self.rescan()

    def _knows(self, run_id: RunKey) -> bool:
        return run_id in self.sessions or run_id in self.finished

    def _has_size(self, path: Path, run_id: RunKey, size: int) -> bool:
        """Whether the file is a known run's own, whose size this is now."""
        session = self.sessions.get(run_id)
        if session is None or session.path != path:
            return False
        self._apply(run_id, FileSize(size))
        return True

    def _update(self, file: LogFile) -> None:
        """A run's own file, as it is now."""
        key = file.key
        if key not in self.runs:
            if self._is_finished(file):
                self.finished[key] = file.place
                return
            self.finished.pop(key, None)
            self._add_run(file)
        session, run = self.sessions[key], self.runs[key]
        if self._is_over(run) and self._let_go(file):
            return
        if session.path != file.path and run.phase in _RESTING:
            if run.phase is Phase.OPEN:  # its lease is beside the place that the file left
                self._retry(key)
            session.path = file.path
        if session.path == file.path:
            self._apply(key, FileSize(file.size))

    def _is_over(self, run: Run) -> bool:
        return run.ended and asleep(run) and self._clock() - run.waits_since > KEPT

    def _let_go(self, file: LogFile) -> bool:
        """Drop the session of a run that has ended; whether all of its file is at the server."""
        key = file.key
        if not self._catalog.run_ended(key) and key not in self._asked_again:
            self._asked_again.add(key)  # once: perhaps the state folder takes no writes
            self._retry(key)
        if not self._is_finished(file) or not self.sessions[key].save_again():
            return False
        self._asked_again.discard(key)
        self._drop_run(key)
        self._story.forget(key)
        self.finished[key] = file.place
        return True

    def _drop_run(self, key: RunKey) -> None:
        self.sessions[key].drop()
        del self.runs[key], self.sessions[key]
        self._failed_during.pop(key, None)
        self._found.pop(key, None)
        self.awake.pop(key, None)
        self._due.pop(key, None)

    def _is_finished(self, file: LogFile) -> bool:
        project = self.settings.project or file.header.project
        return self._catalog.is_finished(file, project, self.connectivity.entity)

    def _add_run(self, file: LogFile) -> None:
        header = file.header._replace(run_name=self._run_name or file.header.run_name)
        session = Session(
            file._replace(header=header),
            self._destination,
            state=self.state,
            entity=lambda: self.connectivity.entity,
            project=self.settings.project,
            lock_dir=self.settings.lock_dir,
            document=file.path in self._documents,
            still_for=self.limits.count_stable_for,
            alive_for=self.limits.heartbeat_timeout,
            allowed_keys=self.settings.allow_config_keys,
        )
        self.sessions[file.key] = session
        self._found[file.key] = file.size
        self._keep(file.key, session.initial(self._clock()))

    def _keep(self, key: RunKey, run: Run) -> None:
        """The run as it is from now on."""
        self.runs[key] = run
        if asleep(run):
            self.awake.pop(key, None)
            self._due.pop(key, None)
        else:
            self.awake[key] = run
            self._due[key] = due_at(run, self.limits)

    def _retry(self, run_id: str) -> None:
        if self.runs[run_id].phase is Phase.OPEN:
            self.sessions[run_id].drop()
        self._apply(run_id, Retry())

    def _remember(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            events.state_unwritable(self.state, error)


def wait_for(daemons: Sequence[Daemon]) -> None:
    """Sleep until something happens to one of these, or their next tick is due. What happens within
    a moment of the last tick shares the next one. They share one `news`."""
    news = daemons[0].news
    if news.wait(TICK if any(daemon.busy for daemon in daemons) else IDLE_TICK):
        next_tick = max(daemon.next_tick_at for daemon in daemons)
        time.sleep(max(0.0, next_tick - time.monotonic()))
    # Before the tick that takes in what was posted: what is posted from here on sets it again
    news.clear()


def _all_there(run: Run) -> bool:
    """Whether nothing more of the run's file is to come, as far as can be seen."""
    return run.phase is Phase.IDLE and run.ended and not needs_session(run)


def _at_rest(run: Run) -> bool:
    if run.phase is Phase.IDLE:
        return not needs_session(run) or run.failures >= GIVE_UP
    return run.phase is Phase.BLOCKED
