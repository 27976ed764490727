"""What is known of the daemon, the server and every run; exit code and JSON made of it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from karaoke_train.runlog.plain_text import shown_name
from syncd.errors import Connection, Exit

OUT_OF_REACH: Final = (Connection.OFFLINE, Connection.CAPTIVE, Connection.TROUBLE)
NEEDS_LOGIN: Final = (Connection.NOT_LOGGED_IN, Connection.REFUSED)
SCHEMA: Final = 1
# what `--json` calls fields whose names here have changed since: its keys never do
_JSON_NAMES: Final = {
    "connectivity": "reach",
    "connectivity_words": "reach_words",
    "connectivity_remedy": "reach_remedy",
}
_RUN_JSON_NAMES: Final = {"pending": "left"}


class RunState(StrEnum):
    """Where a run is. The words are part of `status --json`."""

    UPLOADED = "uploaded"
    ENDING = "ending"  # all records are there, and how it ended is yet to be told
    WAITING = "waiting"
    ELSEWHERE = "elsewhere"  # a daemon with another state folder uploads it
    LOCAL = "local"  # never to be uploaded
    FORGOTTEN = "forgotten"
    BLOCKED = "blocked"
    COPY = "copy"
    UNREADABLE = "unreadable"
    UNSAFE = "unsafe"
    MISSING = "missing"
    EMPTY = "empty"


_DECIDE: Final = (RunState.BLOCKED, RunState.COPY, RunState.MISSING)


class RunStatus(NamedTuple):
    """One run: its file, its records, and where they are. pending: records that are to be
    uploaded and are not confirmed, as far as is known here."""

    run_id: str
    name: str
    project: str
    path: str
    state: RunState
    records: int = 0
    uploaded: int = 0
    pending: int = 0
    bad: int = 0
    stopped: bool = False  # somebody pressed Stop on its page
    url: str = ""
    problem: str = ""
    meaning: str = ""
    remedy: str = ""
    code: str = ""
    created: str = ""  # ISO 8601, as its file says
    live: bool = False  # its writer lives
    holder: str = ""  # who uploads it, where that isn't the daemon
    age: float = 0.0  # seconds since the problem was first seen, where it isn't seen just now

    @property
    def label(self) -> str:
        """What people call it: its name, or its id or file where a name would be shown as `***`."""
        return shown_name(self.name, self.run_id, Path(self.path).name)

    @property
    def done(self) -> bool:
        """Whether all of it is on the server, and there is no more to say: as nearly all are."""
        return self.state is RunState.UPLOADED and not self.problem and not self.pending

    @property
    def waits(self) -> bool:
        """Whether anything of it is yet to be told to the server, from here."""
        if self.pending > 0 and self.state is not RunState.ELSEWHERE:
            return True
        return self.state is RunState.ENDING

    @property
    def decision(self) -> bool:
        """Whether it waits for the user's decision."""
        return self.state in _DECIDE

    @property
    def troubled(self) -> bool:
        """Whether something is wrong that takes no decision: it's tried again by itself, or goes on
        once it can be read."""
        return bool(self.problem) and not self.decision and self.state is not RunState.FORGOTTEN


@dataclass(frozen=True)
class Status:
    """Everything that `status` says. What it comes to is asked several times, and each time would
    take a look at every run."""

    running: bool
    daemon: str
    server: str
    entity: str
    project: str
    login: str
    connectivity: Connection
    connectivity_words: str
    connectivity_remedy: str
    log_dirs: tuple[str, ...]
    state_dir: str
    runs: tuple[RunStatus, ...]
    warnings: tuple[str, ...] = ()
    silent: float = 0.0  # seconds since a running daemon reported, where that is too long
    elsewhere: str = ""  # the server or account that the daemon uploads to, where it's another
    lane: str = ""  # how lines go to the server, and why so
    destination: str = "wandb"  # as the settings call it
    name: str = "the server"  # what people are told of it by
    place: str = "on the server"  # where records are once they are there
    needs_key: bool = True
    origin: Mapping[str, str] = field(default_factory=dict)
    recursive: bool = False  # whether the folders below log_dirs are meant, too
    unwatched: tuple[str, ...] = ()  # folders that a running daemon leaves out
    service: bool = False  # an installed service would upload from log_dirs, if it were started
    gone: int = 0  # runs that were uploaded from log_dirs to their end, where no file is left there

    @cached_property
    def remaining(self) -> tuple[RunStatus, ...]:
        """The runs of which more is to be said than that they are uploaded: of 10,000 a few."""
        return tuple(run for run in self.runs if not run.done)

    @cached_property
    def pending(self) -> int:
        """Records on disk that the server hasn't confirmed, of runs that are to be uploaded from
        here."""
        return sum(run.pending for run in self.remaining if run.waits)

    @cached_property
    def waits(self) -> bool:
        """Whether anything is yet to be told to the server."""
        return any(run.waits for run in self.remaining)

    @cached_property
    def decisions(self) -> tuple[RunStatus, ...]:
        """Runs that wait for the user."""
        return tuple(run for run in self.remaining if run.decision)

    @cached_property
    def troubled(self) -> tuple[RunStatus, ...]:
        """Runs, files and folders with a trouble of their own that takes no decision."""
        return tuple(run for run in self.remaining if run.troubled)

    @cached_property
    def blind(self) -> bool:
        """Whether the state folder can't be read: what is on the server is then not known here."""
        return any(run.path == self.state_dir for run in self.troubled)

    @cached_property
    def unattended(self) -> bool:
        """Whether something waits that nobody uploads."""
        return any(
            run.waits and not run.holder and not self._watches(run) for run in self.remaining
        )

    def _watches(self, run: RunStatus) -> bool:
        return self.running and str(Path(run.path).parent) not in self.unwatched


def spoken(seconds: float) -> str:
    """So long, in one unit."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def exit_code(status: Status) -> Exit:
    """What the status comes to, the user's part first."""
    waits = status.waits
    if status.blind:
        return Exit.TROUBLE
    if status.silent:
        return Exit.SILENT
    if waits and status.elsewhere:
        return Exit.ELSEWHERE
    if waits and status.connectivity in NEEDS_LOGIN:
        return Exit.LOGIN
    if status.decisions:
        return Exit.DECISION
    if status.unattended:
        return Exit.NOT_RUNNING
    if waits and status.connectivity in OUT_OF_REACH:
        return Exit.OFFLINE
    return Exit.TROUBLE if status.troubled else Exit.OK


def to_json(status: Status, runs: Sequence[RunStatus] | None = None) -> dict[str, Any]:
    """The stable schema of `status --json`: keys are added, never changed or removed. runs: those
    to list, where it isn't all of them; the rest is about all."""
    code = exit_code(status)
    listed = status if runs is None else replace(status, runs=tuple(runs))
    keys = [_RUN_JSON_NAMES.get(name, name) for name in RunStatus._fields]
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "exit": code.name.lower(),
        "left": status.pending,
        **_renamed(listed),
        "runs": [dict(zip(keys, run, strict=True)) for run in listed.runs],
    }


def exit_code_of(statuses: Sequence[Status]) -> Exit:
    """What several destinations come to: the first one's that is not well."""
    codes = map(exit_code, statuses)
    return next((code for code in codes if code is not Exit.OK), Exit.OK)


def to_json_of(statuses: Sequence[Status], runs: Sequence[Sequence[RunStatus]]) -> dict[str, Any]:
    """The schema of the first destination, with all of them in `destinations` where there are
    several, and the exit code that they come to. runs: those to list, of each."""
    each = [to_json(status, listed) for status, listed in zip(statuses, runs, strict=True)]
    if len(statuses) == 1:
        return each[0]
    code = exit_code_of(statuses)
    both = {"exit_code": int(code), "exit": code.name.lower()}
    return {**each[0], **both, "destinations": each}


def _renamed(status: Status) -> dict[str, Any]:
    # Not `asdict`, which copies every value: of 10,000 runs that takes a second
    keys = (item.name for item in fields(status))
    return {_JSON_NAMES.get(key, key): getattr(status, key) for key in keys}
