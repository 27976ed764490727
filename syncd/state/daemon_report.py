"""What the daemon last said of itself, for `status`, which may read it long after."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.lock import Holder, this_host
from syncd.errors import Connection
from syncd.state import atomic_json

NAME = "daemon.json"
SAVE_EVERY = 10.0  # seconds between reports when nothing changes
SILENT_AFTER = 30.0  # seconds without one, after which the daemon counts as hung
_LATER: Final = {  # what earlier versions did not tell
    "destinations": [], "recursive": False, "project": None, "ticks": 0.0,
    "settings_read": 0.0, "settings_problem": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DaemonReport:
    """How a daemon is. updated: ISO 8601, when it said so; empty where none ever did. project:
    instead of what each run says; None where the version was one that did not tell. ticks: when it
    said so by the machine's own clock, which nobody sets. settings_read: when it last read its
    settings, by the same clock; 0 where the version does not tell. settings_problem: what is not in
    force of them, and why."""

    pid: int = 0
    server: str = ""
    login: str = ""  # where its key was found
    entity: str = ""
    project: str | None = None
    log_dir: tuple[str, ...] = ()
    recursive: bool = False
    destinations: tuple[str, ...] = ()
    connectivity: Connection = Connection.UNKNOWN
    words: str = ""
    remedy: str = ""
    updated: str = ""
    ticks: float = 0.0
    settings_read: float = 0.0
    settings_problem: str = ""

    def is_by(self, daemon: Holder | None) -> bool:
        """Whether this daemon said it, and not an earlier one. False where there is none, and where
        its lock does not tell its process id, which is 0 then, as that of an empty report."""
        return daemon is not None and self.pid == daemon.pid != 0


def save(state: Path, report: DaemonReport) -> None:
    """Write it, with this process and the time. Raises OSError."""
    updated = datetime.now(UTC).isoformat(timespec="seconds")
    said = replace(report, pid=os.getpid(), updated=updated, ticks=time.monotonic())
    word = asdict(said)
    atomic_json.write(state / NAME, word, sync=False)  # a power cut ends the daemon as well


def remove(state: Path) -> None:
    """Take the last one back, as far as the folder lets that be done."""
    with suppress(OSError):
        (state / NAME).unlink()


def load(state: Path) -> DaemonReport:
    """The last one; an empty one where it's missing, damaged, or a newer version's."""
    return atomic_json.load(state / NAME, _decoded) or DaemonReport()


def wait_for_reading(state: Path, since: float, timeout: float) -> DaemonReport | None:
    """The report of a daemon that began to read its settings after `since`, by the machine's clock;
    None where none comes within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (report := load(state)).settings_read <= since:
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.05)
    return report


def silence(report: DaemonReport, holder: Holder, now: datetime) -> float:
    """Seconds since the daemon that holds the state folder last reported, or began."""
    its_own = report.is_by(holder)
    # The calendar's clock may have been set back by a year since, and stands while a laptop sleeps
    since = time.monotonic() - report.ticks
    if its_own and report.ticks and holder.host == this_host() and since >= 0:
        return since
    # One that has just begun, and reads 10,000 files first, has its predecessor's report there
    spoke = report.updated if its_own else holder.since
    try:
        return max(0.0, (now - datetime.fromisoformat(spoke)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def hung_for(report: DaemonReport, holder: Holder | None) -> float:
    """Seconds of its silence where that is so long that the daemon counts as hung; else 0, and
    where none runs."""
    seconds = silence(report, holder, datetime.now(UTC)) if holder else 0.0
    return seconds if seconds > SILENT_AFTER else 0.0


def _decoded(data: Any) -> DaemonReport:
    if not isinstance(data["log_dir"], list):
        raise TypeError("log_dir is no list")
    data = {**_LATER, **data}
    if not isinstance(data["project"], str | None):
        raise TypeError("project is no text")
    known = {field.name: data[field.name] for field in fields(DaemonReport)}
    made = {
        "connectivity": Connection(data["connectivity"]),
        "log_dir": tuple(map(str, data["log_dir"])),
        "destinations": tuple(map(str, data["destinations"])),
        "ticks": float(data["ticks"]),
        "settings_read": float(data["settings_read"]),
    }
    return atomic_json.typed(DaemonReport, known | made)
