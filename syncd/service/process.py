"""`start`: the daemon as a process. One per state folder; stops on SIGTERM and SIGINT, reads its
settings and login again on SIGHUP, and when one of their files has changed."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from karaoke_train.runlog.lock import Held, Holder
from syncd import events, paths
from syncd.destination.base import Destination
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
from syncd.sync.loop import Daemon

InForce = tuple[Settings, Destination]


def run_forever(
    settings: Settings,
    destination: Destination,
    on_tick: Callable[[Daemon], None] | None = None,
    reload: Callable[[], InForce] | None = None,
    files: Callable[[], Iterable[Path]] = tuple,
) -> Exit:
    """Upload until told to stop. reload: reads what is in force now, and may raise SyncError;
    files: what it reads. Raises SyncError when another daemon holds the state folder."""
    notifier = ServiceNotifier(Notifier.from_env(), settings.log_dir)
    lock = lease.state_lock(settings.state_dir)
    try:
        lock.acquire(timeout=1.0)
    except Held as held:
        raise DaemonRuns(settings, held.holder) from None
    except OSError as error:
        raise SyncError(
            f"the state folder can't be written: {error.strerror}",
            where=str(settings.state_dir),
            remedy="Make it writable, or set XDG_STATE_HOME",
        ) from None
    try:
        with _signals() as signals:
            return _run(settings, destination, notifier, signals, on_tick, reload, FileWatch(files))
    finally:
        _save(settings, DaemonReport())
        lock.release()


def _run(
    settings: Settings,
    destination: Destination,
    notifier: ServiceNotifier,
    signals: _Signals,
    on_tick: Callable[[Daemon], None] | None,
    reload: Callable[[], InForce] | None,
    files: FileWatch,
) -> Exit:
    """One daemon after the other: with other settings, a new one starts from what the server
    confirmed."""
    while True:
        identity = destination.identity
        events.began(identity.address, identity.key_source, settings.log_dir)
        _warn_of_read_only(settings)
        with (
            build_daemon(settings, destination) as daemon,
            closing(_iterations(settings, destination, daemon, notifier)) as iterations,
        ):
            for _ in iterations:
                if on_tick:
                    on_tick(daemon)
                if signals.stop:
                    notifier.stopping()
                    return Exit.OK
                if folder := notifier.folder_became_read_only():
                    events.folder_appeared(folder)
                    return Exit.FAILED
                changed = files.changed()
                if reload and (signals.take_hangup() or changed):
                    notifier.reloading()
                    fresh, there = _reloaded(reload, settings, destination, changed)
                    if notifier.managed and (names := stale_variables()):
                        events.needs_restart(paths.env_file(), names)
                    if _differ(fresh, settings) or there.identity != destination.identity:
                        break
        settings, destination = fresh, there


def _reloaded(
    reload: Callable[[], InForce],
    settings: Settings,
    destination: Destination,
    changed: Sequence[Path],
) -> InForce:
    events.settings_read(changed)
    try:
        fresh, there = reload()
    except SyncError as error:
        events.settings_unreadable(error)
        return settings, destination
    if fresh.state_dir != settings.state_dir:
        events.state_folder_stays(settings.state_dir)
        fresh = replace(fresh, state_dir=settings.state_dir)
    return fresh, there


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
        super().__init__(
            f"a daemon is running already: {holder or 'it left no name'}",
            where=str(settings.state_dir),
            meaning="It goes on uploading",
            remedy="See `karaoke-syncd status`; `karaoke-syncd restart` replaces it",
        )


def report_of(daemon: Daemon, settings: Settings, destination: Destination) -> DaemonReport:
    """What the daemon tells `status`."""
    known, identity = daemon.connectivity, destination.identity
    return DaemonReport(
        server=identity.address,
        login=identity.key_source,
        entity=known.entity,
        # one whose name leads elsewhere by now is not watched there, which `status` then says
        log_dir=tuple(str(folder) for folder in settings.log_dir if not moved(folder)),
        connectivity=known.state,
        words=known.error.what if known.error else "",
        remedy=known.error.remedy if known.error else "",
    )


def _iterations(
    settings: Settings, destination: Destination, daemon: Daemon, notifier: ServiceNotifier
) -> Generator[None, None, None]:
    """The loop, handed over after each tick and before it waits."""
    daemon.on_progress = notifier.progress
    watcher = Watcher(daemon.file_changed, settings.watcher)
    network = AddressWatch()
    alerting = Alerting(settings, destination)
    saved, saved_at = DaemonReport(), -math.inf
    try:
        while True:
            now = time.monotonic()
            if watcher.follow(settings.log_dir):
                daemon.rescan()
            if network.changed():
                daemon.network_changed()
            daemon.tick()
            alerting.look(daemon)
            report = report_of(daemon, settings, destination)
            if report != saved or now - saved_at > daemon_report.SAVE_EVERY:
                _save(settings, report)
                saved, saved_at = report, now
            notifier.tick_done(daemon)
            yield
            daemon.wait()
    finally:
        alerting.close()
        network.close()
        watcher.stop()


def _save(settings: Settings, report: DaemonReport) -> None:
    try:
        daemon_report.save(settings.state_dir, report)
    except OSError as error:
        events.state_unwritable(settings.state_dir, error)


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
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
