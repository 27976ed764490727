"""One daemon per state folder, one uploader per run and destination, on whichever machines."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape
from pathlib import Path

from karaoke_train.runlog.layout import LOCKS
from karaoke_train.runlog.lock import Held, Holder, Lock, holder_of, read_holder, seen_holder
from syncd.errors import SyncError
from syncd.paths import make_private


def make_state_folder(state: Path) -> None:
    """Make the state folder where there is none. Raises SyncError."""
    try:
        make_private(state)
    except OSError as error:
        raise unwritable(state, error) from None


def unwritable(state: Path, error: OSError) -> SyncError:
    """The state folder can't be made, or nothing can be made in it."""
    return SyncError(
        f"the state folder can't be written: {error.strerror}",
        where=str(state),
        remedy="Make it writable, or set XDG_STATE_HOME",
    )


def state_lock(state: Path) -> Lock:
    """The lock of the daemon that owns a state folder."""
    return Lock(state / "daemon.lock", private=True)


def daemon_of(state: Path) -> Holder | None:
    """The daemon that owns a state folder now; None when none runs."""
    return holder_of(state_lock(state).path)


def seen_daemon(state: Path) -> Holder | None:
    """The same. Raises SyncError where it can't be seen whether one runs."""
    try:
        return seen_holder(state_lock(state).path)
    except OSError as error:
        raise SyncError(
            f"whether a daemon runs can't be seen: {error.strerror}",
            where=str(state),
            meaning="One that runs goes on",
            remedy="Ask as the user who has started it, or make the state folder readable for this "
            "one",
        ) from None


def lease_folder(log_dir: Path, lock_dir: Path | None) -> Path:
    """Where the leases of a log folder's runs are: beside the logs, as daemons of several machines
    share them, or where the setting `lock_dir` says."""
    return lock_dir or log_dir / LOCKS


def run_lease(log: Path, run_id: str, destination: str, lock_dir: Path | None = None) -> Lock:
    """The lease of a run at one destination. destination: the name of its state folder. lock_dir:
    see `lease_folder`. The run's id has no dot in it."""
    return Lock(lease_folder(log.parent, lock_dir) / f"{run_id}.{destination}.lease")


def leases_of(log: Path, run_id: str, lock_dir: Path | None = None) -> Iterator[Path]:
    """The files of a run's leases, one for each destination that it was uploaded to."""
    return lease_folder(log.parent, lock_dir).glob(f"{escape(run_id)}.*.lease")


def take(lease: Lock) -> bool:
    """Whether the lease is ours now. A folder that takes no locks (read-only) has no rival in it
    that we could see, so it's ours."""
    try:
        lease.acquire()
    except Held:
        return False
    except OSError:
        return True
    return True


def holder(lease: Lock) -> Holder | None:
    """Who holds it, as far as it says."""
    return read_holder(lease.path)
