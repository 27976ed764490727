"""`start`: the daemon as a process. One a state folder; stops on SIGTERM and SIGINT."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final

from karaoke_train.runlog.lock import Held, Holder
from syncd import lease, store
from syncd.credentials import Login
from syncd.daemon import Daemon
from syncd.engine import engine
from syncd.errors import Exit, Refused, SyncError, Unreachable
from syncd.settings import Settings
from syncd.watch import Watcher

log = logging.getLogger(__name__)

SAY_EVERY: Final = 30.0  # seconds between snapshots when nothing changes


def serve(
    settings: Settings, login: Login, on_tick: Callable[[Daemon], None] | None = None
) -> Exit:
    """Upload until told to stop. Raises SyncError when another daemon holds the state folder."""
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
        with engine(settings, login) as daemon, _stop_flag() as stopped:
            _loop(settings, login, daemon, stopped, on_tick)
    finally:
        _say(settings, {})
        lock.release()
    return Exit.OK


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
        "entity": reach.entity,
        "log_dir": [str(folder) for folder in settings.log_dir],
        "reach": "online" if reach.online else kind,
        "words": error.what if error else "",
        "remedy": error.remedy if error else "",
        "open": sorted(
            key for key, run in daemon.runs.items() if run.phase not in ("idle", "blocked")
        ),
    }


def _loop(
    settings: Settings,
    login: Login,
    daemon: Daemon,
    stopped: Callable[[], bool],
    on_tick: Callable[[Daemon], None] | None,
) -> None:
    watcher = Watcher(daemon.news, settings.watcher)
    said: dict[str, Any] = {}
    said_at = follow_at = 0.0
    try:
        while not stopped():
            now = time.monotonic()
            if now >= follow_at:
                watcher.follow(settings.log_dir)
                follow_at = now + settings.rescan
            daemon.tick()
            if (says := snapshot(daemon, settings, login)) != said or now - said_at > SAY_EVERY:
                _say(settings, says)
                said, said_at = says, now
            if on_tick:
                on_tick(daemon)
            daemon.wait()
    finally:
        watcher.stop()


def _say(settings: Settings, says: dict[str, Any]) -> None:
    try:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        store.write(settings.state_dir / "daemon.json", {**says, "updated": moment})
    except OSError as error:
        log.warning("the state folder can't be written: %s", error.strerror)


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT has come."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
