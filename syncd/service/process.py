"""`start`: the daemon as a process. One per state folder; stops on SIGTERM and SIGINT, reads its
settings and login again on SIGHUP, and when one of their files has changed."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Final

from karaoke_train.runlog.lock import LOCK_WAIT, Held, Holder, Lock
from syncd import events, paths, without
from syncd.destination.base import Destination, Identity, legible
from syncd.destination.registry import stale_variables
from syncd.errors import Exit, SyncError
from syncd.service.alerts import Alerting
from syncd.service.file_watch import FileWatch
from syncd.service.network import AddressWatch
from syncd.service.sd_notify import Notifier
from syncd.service.supervision import ServiceNotifier, read_only
from syncd.settings import Settings
from syncd.source.safe_open import moved
from syncd.source.watcher import Watcher
from syncd.state import daemon_report, lease
from syncd.state.daemon_report import DaemonReport
from syncd.sync.assemble import build_daemon
from syncd.sync.loop import Daemon, wait_for

# Seconds between looks at where the folders lead: of ticks there may be 25 in one
REPORT_EVERY: Final = 1.0


@dataclass(slots=True)
class _Read:
    """When the settings were last read, by the machine's clock; what of them is not in force."""

    at: float = field(default_factory=time.monotonic)
    problem: str = ""

    def keep_from_force(self, words: str) -> None:
        """Some of them take a restart."""
        events.not_in_force(words)
        self.problem = f"{self.problem} {words}".strip()


Targets = Sequence[tuple[Settings, Destination]]  # each destination, with the settings for it alone
InForce = tuple[Settings, Targets]


def run_forever(
    settings: Settings,
    targets: Targets,
    on_tick: Callable[[Daemon], None] | None = None,
    reload: Callable[[], InForce] | None = None,
    files: Callable[[], Iterable[Path]] = tuple,
) -> Exit:
    """Upload until told to stop, to every destination by its settings. on_tick: is given the first
    destination's daemon. reload: reads what is in force now, and may raise SyncError; files: what
    it reads. Raises SyncError when another daemon holds the state folder."""
    notifier = ServiceNotifier(Notifier.from_env(), settings.log_dir)
    lease.make_state_folder(settings.state_dir)
    lock = lease.state_lock(settings.state_dir)
    try:
        lock.acquire(timeout=1.0)
    except Held as held:
        raise DaemonRuns(settings, held.holder) from None
    except OSError as error:
        raise lease.unwritable(settings.state_dir, error) from None
    try:
        with stop_signals() as signals:
            watch = FileWatch(files)
            return _run(settings, targets, lock, notifier, signals, on_tick, reload, watch)
    finally:
        if not lock.lost:  # or it is another daemon's by now
            _save(settings.state_dir, DaemonReport())
        lock.release()


def _run(
    settings: Settings,
    targets: Targets,
    lock: Lock,
    notifier: ServiceNotifier,
    signals: _Signals,
    on_tick: Callable[[Daemon], None] | None,
    reload: Callable[[], InForce] | None,
    files: FileWatch,
) -> Exit:
    """One daemon per destination, in one loop. With other settings, new ones start from what the
    servers confirmed."""
    read = _Read()
    while True:
        for _, destination in targets:
            identity = destination.identity
            events.began(legible(identity.address), identity.key_source, settings.log_dir)
        _warn_of_read_only(settings)
        with ExitStack() as stack:
            news = Event()
            with without.garbage_collection():  # each reads its cursors
                daemons = [
                    stack.enter_context(build_daemon(*target, news=news)) for target in targets
                ]
            iterations = _iterations(settings, targets, lock, daemons, notifier, read)
            for _ in stack.enter_context(closing(iterations)):
                if on_tick:
                    on_tick(daemons[0])
                if signals.stop:
                    notifier.stopping()
                    events.stopped()
                    return Exit.OK
                if folder := notifier.folder_became_read_only():
                    events.folder_appeared(folder)
                    return Exit.FAILED
                changed = files.changed()
                if reload and (signals.take_hangup() or changed):
                    notifier.reloading()
                    fresh, there = _reloaded(reload, settings, targets, changed, read)
                    if notifier.managed and (names := stale_variables()):
                        read.keep_from_force(
                            f"{', '.join(names)} in {paths.env_file()}: in force once the service "
                            "is started anew: karaoke-syncd service restart"
                        )
                    news.set()  # whoever asked for it waits until it is told
                    if _differ(fresh, settings) or _identities(there) != _identities(targets):
                        break
        for folder in _folders(settings, targets) - _folders(settings, there):
            daemon_report.remove(folder)  # what it says is of this process, which is there no more
        settings, targets = fresh, there


def _folders(settings: Settings, targets: Targets) -> set[Path]:
    """Where the state of each destination is."""
    addresses = (destination.identity.address for _, destination in targets)
    return {paths.destination_folder(settings.state_dir, address) for address in addresses}


def _reloaded(
    reload: Callable[[], InForce],
    settings: Settings,
    targets: Targets,
    changed: Sequence[Path],
    read: _Read,
) -> InForce:
    events.settings_read(changed)
    read.at, read.problem = time.monotonic(), ""
    try:
        fresh, there = reload()
    except SyncError as error:
        events.settings_unreadable(error)
        read.problem = str(error)
        return settings, targets
    if fresh.state_dir != settings.state_dir:
        read.keep_from_force(f"another state folder takes a restart; {settings.state_dir} stays")
        fresh = replace(fresh, state_dir=settings.state_dir)
        there = [(replace(one, state_dir=settings.state_dir), other) for one, other in there]
    return fresh, there


def _identities(targets: Targets) -> list[Identity]:
    return [destination.identity for _, destination in targets]


def _differ(fresh: Settings, settings: Settings) -> bool:
    """Whether the engine has to be made anew; a log level is in force already."""
    return replace(fresh, log_level=settings.log_level, origin=settings.origin) != settings


def _warn_of_read_only(settings: Settings) -> None:
    for folder in settings.log_dir:
        if read_only(folder):
            events.folder_read_only(folder)


class DaemonRuns(SyncError):
    """Another daemon holds the state folder."""

    def __init__(self, settings: Settings, holder: Holder | None) -> None:
        report = daemon_report.load(settings.state_dir)
        silent = daemon_report.hung_for(report, holder)
        super().__init__(
            f"a daemon is running already: {holder or 'it left no name'}",
            where=str(settings.state_dir),
            meaning=f"It has not reported for {silent:.0f} s" if silent else "It goes on uploading",
            remedy="See `karaoke-syncd status`; `karaoke-syncd restart` replaces it",
        )


def report_of(
    daemon: Daemon, settings: Settings, destination: Destination, read: _Read
) -> DaemonReport:
    """What the daemon tells `status`."""
    known, identity = daemon.connectivity, destination.identity
    return DaemonReport(
        server=identity.address,
        login=identity.key_source,
        entity=known.entity,
        project=settings.project,
        # one whose name leads elsewhere by now is not watched there, which `status` then says
        log_dir=tuple(str(folder) for folder in settings.log_dir if not moved(folder)),
        recursive=settings.recursive,
        destinations=settings.destinations,
        connectivity=known.state,
        words=known.error.what if known.error else "",
        remedy=known.error.by_hand if known.error else "",
        settings_read=read.at,
        settings_problem=read.problem,
    )


def _keep(lock: Lock, settings: Settings) -> bool:
    """Take the state folder's lock anew, where the folder was removed with all that is in it: else
    `status` and `stop` would say that no daemon runs, and another one could begin. Whether it was.
    Raises DaemonRuns where one has."""
    if not lock.lost:
        lock.sign_again()  # by who is named in it, `status` and `stop` know this process
        return False
    lock.release()
    try:
        paths.make_private(settings.state_dir)
        lock.acquire(LOCK_WAIT)  # `status` holds it for a moment to see whether it could
    except Held as held:
        raise DaemonRuns(settings, held.holder) from None
    except OSError:  # which `_save` says; the next tick tries again
        return False
    return True


def _iterations(
    settings: Settings,
    targets: Targets,
    lock: Lock,
    daemons: Sequence[Daemon],
    notifier: ServiceNotifier,
    read: _Read,
) -> Generator[None, None, None]:
    """The loop, handed over after each tick and before it waits."""

    def file_changed(path: Path) -> None:
        for daemon in daemons:
            daemon.file_changed(path)

    for daemon in daemons:
        daemon.on_progress = notifier.progress
    watcher = Watcher(file_changed, settings.watcher, recursive=settings.recursive)
    network = AddressWatch()
    alerting = Alerting(targets)
    saved: list[DaemonReport] = []
    known: list[object] = []
    saved_at = reported_at = -math.inf
    try:
        while True:
            now = time.monotonic()
            other_folders, other_network = watcher.follow(settings.log_dir), network.changed()
            for daemon in daemons:
                if other_folders:
                    daemon.rescan()
                if other_network:
                    daemon.network_changed()
                daemon.tick()
            alerting.look(daemons)
            knows = [read.at, *(daemon.connectivity for daemon in daemons)]
            if _keep(lock, settings):
                known, saved = [], []  # what it reported is gone, too
            if knows != known or now - reported_at > REPORT_EVERY:
                known, reported_at = knows, now
                reports = [
                    report_of(daemon, settings, destination, read)
                    for daemon, (_, destination) in zip(daemons, targets, strict=True)
                ]
                if reports != saved or now - saved_at > daemon_report.SAVE_EVERY:
                    for daemon, report in zip(daemons, reports, strict=True):
                        _save(daemon.state, report)
                    _save(settings.state_dir, reports[0])  # which is taken where one has none yet
                    saved, saved_at = reports, now
            notifier.tick_done(*daemons)
            yield
            wait_for(daemons)
    finally:
        alerting.close()
        network.close()
        watcher.stop()


def _save(folder: Path, report: DaemonReport) -> None:
    """Of the first destination in the state folder, and of each in its own part of it."""
    try:
        daemon_report.save(folder, report)
    except OSError as error:
        events.state_unwritable(folder, error)


class _Signals:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.stop = False
        self._hangup = False
        # A terminal that closes sends SIGHUP as well, and then nobody wants a reload
        self._on_terminal = sys.stdin is not None and sys.stdin.isatty()

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if number == signal.SIGHUP and not self._on_terminal:
            self._hangup = True
        else:
            self.stop = True

    def take_hangup(self) -> bool:
        """Whether SIGHUP has come since this was last asked."""
        hangup, self._hangup = self._hangup, False
        return hangup


@contextmanager
def stop_signals() -> Iterator[_Signals]:
    """SIGTERM, SIGINT and SIGHUP are noted meanwhile, and end nothing."""
    signals = _Signals()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
