"""`start`: the daemon as a process. One a state folder; stops on SIGTERM and SIGINT, reads its
settings again on SIGHUP."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final

from karaoke_train.runlog.lock import Held, Holder
from syncd.destination.wandb.credentials import Login
from syncd.errors import Exit, Refused, SyncError, Unreachable
from syncd.service.sd_notify import Notifier
from syncd.service.supervision import Attendant, read_only
from syncd.settings import Settings
from syncd.source.watcher import Watcher
from syncd.state import atomic_json, lease
from syncd.sync.assemble import engine
from syncd.sync.loop import Daemon

log = logging.getLogger(__name__)

SAY_EVERY: Final = 30.0  # seconds between snapshots when nothing changes


InForce = tuple[Settings, Login]


def serve(
    settings: Settings,
    login: Login,
    on_tick: Callable[[Daemon], None] | None = None,
    reload: Callable[[], InForce] | None = None,
) -> Exit:
    """Upload until told to stop. reload: reads what is in force now, and may raise SyncError.
    Raises SyncError when another daemon holds the state folder."""
    attendant = Attendant(Notifier.from_env(), settings.log_dir)
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
            return _serve(settings, login, attendant, signals, on_tick, reload)
    finally:
        _say(settings, {})
        lock.release()


def _serve(
    settings: Settings,
    login: Login,
    attendant: Attendant,
    signals: _Signals,
    on_tick: Callable[[Daemon], None] | None,
    reload: Callable[[], InForce] | None,
) -> Exit:
    """One engine after the other: other settings are a start from what the server confirmed."""
    while True:
        _warn_of_read_only(settings)
        with (
            engine(settings, login) as daemon,
            closing(_passes(settings, login, daemon, attendant)) as passes,
        ):
            for _ in passes:
                if on_tick:
                    on_tick(daemon)
                if signals.stop:
                    attendant.stopping()
                    return Exit.OK
                if folder := attendant.shut_out():
                    log.warning("%s has appeared; starting anew to be able to write in it", folder)
                    return Exit.FAILED
                if reload and signals.take_hangup():
                    attendant.reloading()
                    fresh, fresh_login = _reloaded(reload, settings, login)
                    if _differ(fresh, settings) or fresh_login != login:
                        break
        settings, login = fresh, fresh_login


def _reloaded(reload: Callable[[], InForce], settings: Settings, login: Login) -> InForce:
    try:
        fresh, fresh_login = reload()
    except SyncError as error:
        log.error("%s", error)
        log.error("the settings stay as they were")
        return settings, login
    if fresh.state_dir != settings.state_dir:
        log.warning("another state folder takes a restart; %s stays", settings.state_dir)
        fresh = replace(fresh, state_dir=settings.state_dir)
    log.info("the settings were read again")
    return fresh, fresh_login


def _differ(fresh: Settings, settings: Settings) -> bool:
    """Whether the engine has to be made anew; a log level is in force already."""
    return replace(fresh, log_level=settings.log_level, origin=settings.origin) != settings


def _warn_of_read_only(settings: Settings) -> None:
    for folder in settings.log_dir:
        if read_only(folder):
            log.warning(
                "%s is read-only here: its runs are uploaded, but without the lease that keeps "
                "another machine's daemon from doing the same. If this is the service's sandbox: "
                "karaoke-syncd service install --log_dir %s",
                folder,
                folder,
            )


class DaemonRuns(SyncError):
    """Another daemon holds the state folder."""

    def __init__(self, settings: Settings, holder: Holder | None) -> None:
        super().__init__(
            f"a daemon is running already: {holder or 'it left no name'}",
            where=str(settings.state_dir),
            meaning="It goes on uploading",
            remedy="See `karaoke-syncd status`; `karaoke-syncd restart` replaces it",
        )


def snapshot(daemon: Daemon, settings: Settings, login: Login) -> dict[str, Any]:
    """What the daemon tells `status`, which may read it long after."""
    reach = daemon.reach
    error = reach.error
    kind = error.kind if isinstance(error, Unreachable | Refused) else "unknown"
    return {
        "pid": os.getpid(),
        "server": login.base_url,
        "login": login.source,
        "entity": reach.entity,
        "log_dir": [str(folder) for folder in settings.log_dir],
        "reach": "online" if reach.online else kind,
        "words": error.what if error else "",
        "remedy": error.remedy if error else "",
    }


def _passes(
    settings: Settings, login: Login, daemon: Daemon, attendant: Attendant
) -> Generator[None, None, None]:
    """The loop, handed over after each pass and before it waits."""
    daemon.on_progress = attendant.progress
    watcher = Watcher(daemon.news, settings.watcher)
    said: dict[str, Any] = {}
    said_at = 0.0
    try:
        while True:
            now = time.monotonic()
            if watcher.follow(settings.log_dir):
                daemon.rescan()
            daemon.tick()
            if (says := snapshot(daemon, settings, login)) != said or now - said_at > SAY_EVERY:
                _say(settings, says)
                said, said_at = says, now
            attendant.passed(daemon)
            yield
            daemon.wait()
    finally:
        watcher.stop()


def _say(settings: Settings, says: dict[str, Any]) -> None:
    try:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        atomic_json.write(settings.state_dir / "daemon.json", {**says, "updated": moment})
    except OSError as error:
        log.warning("the state folder can't be written: %s", error.strerror)


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
