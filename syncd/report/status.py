"""Cursors, quarantine, problems and the daemon's last word -> Status -> text, JSON, exit code.

Reads files alone, so it tells the truth with the daemon down and the network cut.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.lock import Holder
from syncd.destination.base import Destination, Identity, RunRef
from syncd.errors import Connection, Exit, ProblemCode
from syncd.paths import destination_folder
from syncd.report.oddities import oddities
from syncd.settings import Settings
from syncd.source import tailer
from syncd.source.scanner import LogFile, LogScanner, UnusableFile, resolve_parts
from syncd.state import cursor, daemon_report, decisions, failures, lease, quarantine, reached
from syncd.state.cursor import Cursor
from syncd.state.daemon_report import DaemonReport
from syncd.state.failures import Problem
from syncd.sync.outcome import outcome_before
from syncd.sync.past import owners

_OUT_OF_REACH: Final = (Connection.OFFLINE, Connection.CAPTIVE, Connection.TROUBLE)
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
    LOCAL = "local"  # never to be uploaded
    FORGOTTEN = "forgotten"
    BLOCKED = "blocked"
    COPY = "copy"
    UNREADABLE = "unreadable"
    UNSAFE = "unsafe"
    MISSING = "missing"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run: its file, its records, and where they are. pending: records that are to be
    uploaded and are not confirmed."""

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


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `status` says."""

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
    place: str = "on the server"  # where records are once they are there
    needs_key: bool = True
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Records on disk that the server hasn't confirmed, of runs that are to be uploaded."""
        return sum(run.pending for run in self.runs)

    @property
    def waits(self) -> bool:
        """Whether anything is yet to be told to the server."""
        return self.pending > 0 or any(run.state is RunState.ENDING for run in self.runs)

    @property
    def decisions(self) -> tuple[RunStatus, ...]:
        """Runs that wait for the user."""
        return tuple(run for run in self.runs if run.state in (RunState.BLOCKED, RunState.COPY))


def collect(settings: Settings, destination: Destination) -> Status:
    """Look at the state folder and the log folders. Never raises for what is in them."""
    identity = destination.identity
    state = destination_folder(settings.state_dir, identity.address)
    holder = lease.daemon_of(settings.state_dir)
    report = daemon_report.load(state)  # of the daemon for this destination, if there is one
    if not holder or report.pid != holder.pid:
        report = daemon_report.load(settings.state_dir)
    age = daemon_report.silence(report, holder, datetime.now(UTC)) if holder else 0.0
    elsewhere = _elsewhere(report, identity) if holder and report.pid == holder.pid else ""
    current = report if holder and not elsewhere else DaemonReport()
    ago = reached.seconds_ago(state, datetime.now(UTC))
    connectivity, words, remedy = _connectivity(current, identity, ago)
    entity = current.entity or identity.entity
    cursors = {
        run_id: known
        for run_id, known in cursor.load_all(state / "cursors").items()
        if not entity or known.entity == entity  # what another account has is not here
    }
    runs = tuple(_runs(settings, state, cursors, destination.url))
    return Status(
        running=holder is not None,
        daemon=str(holder) if holder else "",
        server=identity.address,
        entity=entity,
        project=settings.project,
        # the daemon may have a key that this shell hasn't: a credential of its service, say
        login=identity.key_source or (f"{current.login} (the daemon's)" if current.login else ""),
        connectivity=connectivity,
        connectivity_words=words,
        connectivity_remedy=remedy,
        log_dirs=tuple(map(str, settings.log_dir)),
        state_dir=str(settings.state_dir),
        runs=runs,
        warnings=(
            *_warnings(settings, identity, holder, report, elsewhere),
            *_stopped(runs),
            *oddities(settings.log_dir, state, runs, cursors),
        ),
        silent=age if age > daemon_report.SILENT_AFTER else 0.0,
        elsewhere=elsewhere,
        lane=destination.lane,
        destination=identity.kind,
        place=identity.place,
        needs_key=identity.needs_key,
        origin=settings.origin,
    )


def spoken(seconds: float) -> str:
    """So long, in one unit."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def exit_code(status: Status) -> Exit:
    """What the status comes to, the user's part first."""
    waits = status.waits
    if status.silent:
        return Exit.SILENT
    if waits and status.elsewhere:
        return Exit.ELSEWHERE
    if waits and status.connectivity in (Connection.NOT_LOGGED_IN, Connection.REFUSED):
        return Exit.LOGIN
    if status.decisions:
        return Exit.DECISION
    if waits and not status.running:
        return Exit.NOT_RUNNING
    if waits and status.connectivity in _OUT_OF_REACH:
        return Exit.OFFLINE
    return Exit.OK


def to_json(status: Status) -> dict[str, Any]:
    """The stable schema of `status --json`: keys are added, never changed or removed."""
    code = exit_code(status)
    found = _renamed(asdict(status), _JSON_NAMES)
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "exit": code.name.lower(),
        "left": status.pending,
        **found,
        "runs": [_renamed(run, _RUN_JSON_NAMES) for run in found["runs"]],
    }


def exit_code_of(statuses: Sequence[Status]) -> Exit:
    """What several destinations come to: the first one's that is not well."""
    codes = map(exit_code, statuses)
    return next((code for code in codes if code is not Exit.OK), Exit.OK)


def to_json_of(statuses: Sequence[Status]) -> dict[str, Any]:
    """The schema of the first destination, with all of them in `destinations` where there are
    several, and the exit code that they come to."""
    first = to_json(statuses[0])
    if len(statuses) == 1:
        return first
    code = exit_code_of(statuses)
    both = {"exit_code": int(code), "exit": code.name.lower()}
    return {**first, **both, "destinations": [to_json(status) for status in statuses]}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}


def _connectivity(
    report: DaemonReport, identity: Identity, ago: float | None
) -> tuple[Connection, str, str]:
    """The daemon's word, where one runs that had a login to ask with, or did without. ago: seconds
    since anybody reached the server."""
    had_login = identity.key_source or report.login or not identity.needs_key
    if report.updated and (had_login or report.connectivity is Connection.ONLINE):
        return report.connectivity, report.words, report.remedy
    if identity.key_source or not identity.needs_key:
        words = "nobody has asked the server yet" if ago is None else f"reached {spoken(ago)} ago"
        return Connection.UNKNOWN, words, ""
    return Connection.NOT_LOGGED_IN, "nobody is logged in", identity.login_remedy


def _runs(
    settings: Settings,
    state: Path,
    cursors: Mapping[str, Cursor],
    url: Callable[[RunRef], str],
) -> Iterable[RunStatus]:
    aliases = decisions.aliases(state)
    ignored = decisions.forgotten(state)
    problems = failures.load_all(state)
    projects = {run_id: known.project for run_id, known in cursors.items()}
    scanner = LogScanner(lambda: aliases, lambda run_id: projects.get(run_id, ""))
    files = resolve_parts(scanner.scan(settings.log_dir), owners(cursors.values()))
    quarantined = state / "quarantine"
    with_bad_lines = quarantine.run_ids(quarantined)
    here: dict[str, str] = {}
    for file in files:
        if isinstance(file, UnusableFile):
            yield _unusable(file, settings, ignored)
            continue
        run_id = file.key
        here[run_id] = str(file.path)
        bad = quarantine.load(quarantined, run_id).count if run_id in with_bad_lines else 0
        known = cursors.get(run_id)
        run = _run(file, known, problems.get(run_id), run_id in ignored, settings, url)
        yield replace(run, bad=bad)
    made_new = {here[run_id] for run_id in aliases.values() if run_id in here}
    for run_id in cursors.keys() - here.keys() - ignored:
        if cursors[run_id].path in made_new:  # the user has decided about it
            continue
        if not cursors[run_id].ended and _belongs(cursors[run_id], settings):
            yield _missing(cursors[run_id])


def _run(
    file: LogFile,
    known: Cursor | None,
    problem: Problem | None,
    ignored: bool,
    settings: Settings,
    url: Callable[[RunRef], str],
) -> RunStatus:
    header = file.header
    project = settings.project or header.project
    mine = known if known and known.project == project else None
    uploaded, offset = (mine.records, mine.confirmed.offset) if mine else (0, 0)
    pending = lines_from(file.path, offset) if file.size > offset else 0
    state = _state(header.upload, ignored, problem, pending)
    if state is RunState.UPLOADED and mine and not mine.ended and outcome_before(file.path, offset):
        state = RunState.ENDING
    to_upload = state in (RunState.WAITING, RunState.BLOCKED)
    run = RunStatus(
        file.key, header.run_name, project, str(file.path), state,
        records=uploaded + pending, uploaded=uploaded, pending=pending if to_upload else 0,
        url=url(RunRef(mine.entity, project, header.run_id)) if mine else "",
        stopped=mine is not None and mine.stopped,
    )  # fmt: skip
    # an uploaded run can have one, too: its pictures may be missing
    if problem is None or not (to_upload or state in (RunState.UPLOADED, RunState.ENDING)):
        return run
    return replace(
        run,
        problem=problem.what,
        meaning=problem.meaning,
        remedy=problem.remedy,
        code=problem.code,
    )


def _state(upload: bool, ignored: bool, problem: Problem | None, pending: int) -> RunState:
    if ignored:
        return RunState.FORGOTTEN
    if problem and problem.decision:
        return RunState.BLOCKED
    if not pending:
        return RunState.UPLOADED
    return RunState.WAITING if upload else RunState.LOCAL


def _unusable(file: UnusableFile, settings: Settings, ignored: Container[str]) -> RunStatus:
    header = file.header
    state = RunState(file.code) if file.code else RunState.EMPTY
    if header is None:
        run = RunStatus("", file.path.stem, "", str(file.path), state)
    else:
        state = RunState.FORGOTTEN if header.run_id in ignored else state
        project = settings.project or header.project
        records = lines_from(file.path, 0)
        run = RunStatus(
            header.run_id, header.run_name, project, str(file.path), state, records=records
        )
    return replace(run, problem=file.problem, remedy=file.remedy, code=file.code or "")


def _missing(known: Cursor) -> RunStatus:
    return RunStatus(
        known.run_id,
        Path(known.path).stem,
        known.project,
        known.path,
        RunState.MISSING,
        records=known.records,
        uploaded=known.records,
        problem="the file is gone before its run ended",
        meaning=f"{known.records:,} records are on the server; later ones can't be sent",
        remedy=f"Put the file back, or karaoke-syncd forget {known.run_id}",
        code=ProblemCode.MISSING,
    )


def _belongs(known: Cursor, settings: Settings) -> bool:
    return Path(known.path).parent in settings.log_dir


def lines_from(path: Path, offset: int) -> int:
    """Complete lines of the file from an offset on; 0 when it can't be read."""
    try:
        return tailer.count_lines(path, offset)
    except OSError:
        return 0


def _elsewhere(report: DaemonReport, identity: Identity) -> str:
    """Where the daemon uploads to, if that isn't where this shell would."""
    if report.server and report.server != identity.address:
        return report.server
    if report.entity and identity.entity and report.entity != identity.entity:
        return f"{report.server} as {report.entity}"
    return ""


def _place(identity: Identity) -> str:
    return f"{identity.address} as {identity.entity}" if identity.entity else identity.address


def _stopped(runs: Iterable[RunStatus]) -> Iterable[str]:
    for run in runs:
        if run.stopped:
            yield (
                f"somebody pressed Stop on the page of {run.name}: its training was not stopped by "
                "it, and its records go on being uploaded"
            )


def _warnings(
    settings: Settings,
    identity: Identity,
    holder: Holder | None,
    report: DaemonReport,
    elsewhere: str,
) -> Iterable[str]:
    if identity.warning:
        yield identity.warning
    if elsewhere:
        yield f"the daemon uploads to {elsewhere}, this shell would to {_place(identity)}"
    for folder in settings.log_dir:
        if not folder.is_dir():
            yield f"{folder} does not exist yet; it is watched as soon as it does"
        elif holder and str(folder) not in report.log_dir:
            yield f"{folder} is not watched by the daemon: start it with --log_dir {folder}"
