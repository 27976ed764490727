"""Cursors, quarantine, problems and the daemon's last word -> Status -> text, JSON, exit code.

Reads files alone, so it tells the truth with the daemon down and the network cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from karaoke_train.runlog.lock import Holder
from syncd.destination.wandb.credentials import DEFAULT_URL, Login
from syncd.errors import Exit
from syncd.settings import Settings
from syncd.source.scanner import Found, Roster, settle_claims
from syncd.state import atomic_json, cursor, decisions, failures, lease, quarantine
from syncd.state.cursor import Cursor
from syncd.state.failures import Problem

SCHEMA: Final = 1
REACHES: Final = frozenset(
    {"online", "offline", "captive", "trouble", "not_logged_in", "refused", "unknown"}
)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run: its file, its records, and where they are. state: uploaded, waiting,
    local (never to be uploaded), forgotten, blocked, copy, unreadable, missing, or empty."""

    run_id: str
    name: str
    project: str
    path: str
    state: str
    records: int = 0
    uploaded: int = 0
    left: int = 0
    bad: int = 0
    url: str = ""
    problem: str = ""
    meaning: str = ""
    remedy: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `status` says. reach: online, offline, captive, trouble, not_logged_in,
    refused or unknown."""

    running: bool
    daemon: str
    server: str
    entity: str
    project: str
    login: str
    reach: str
    reach_words: str
    reach_remedy: str
    log_dirs: tuple[str, ...]
    state_dir: str
    runs: tuple[RunStatus, ...]
    warnings: tuple[str, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Records on disk that the server hasn't confirmed, of runs that are to be uploaded."""
        return sum(run.left for run in self.runs)

    @property
    def decisions(self) -> tuple[RunStatus, ...]:
        """Runs that wait for the user."""
        return tuple(run for run in self.runs if run.state in ("blocked", "copy"))


def destination_folder(state: Path, base_url: str) -> Path:
    """Where the state folder keeps what concerns one server."""
    host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(base_url).netloc or base_url)
    return state / "servers" / host


def collect(settings: Settings, login: Login) -> Status:
    """Look at the state folder and the log folders. Never raises for what is in them."""
    destination = destination_folder(settings.state_dir, login.base_url)
    holder = lease.daemon_of(settings.state_dir)
    last = daemons_word(settings.state_dir)
    same = bool(holder) and last.get("server") == login.base_url
    reach, words, remedy = _reach(last, login) if same else _unasked(login)
    entity = str((last.get("entity") if same else "") or login.entity)
    cursors = {
        run_id: known
        for run_id, known in cursor.load_all(destination / "cursors").items()
        if not entity or known.entity == entity  # what another account has is not here
    }
    runs = _runs(settings, destination, cursors, failures.load_all(destination), _app(login))
    return Status(
        running=holder is not None,
        daemon=str(holder) if holder else "",
        server=login.base_url,
        entity=entity,
        project=settings.project,
        login=login.source or _daemons_login(last, same=same),
        reach=reach,
        reach_words=words,
        reach_remedy=remedy,
        log_dirs=tuple(map(str, settings.log_dir)),
        state_dir=str(settings.state_dir),
        runs=tuple(runs),
        warnings=tuple(_warnings(settings, login, holder, last)),
        origin=settings.origin,
    )


def daemons_word(state: Path) -> Mapping[str, Any]:
    """What the daemon said last of itself; nothing when it is missing or damaged."""
    last = atomic_json.read(state / "daemon.json")
    if not isinstance(last, dict) or not isinstance(last.get("log_dir", []), list):
        return {}
    return last if last.get("reach", "online") in REACHES else {}


def exit_code(status: Status) -> Exit:
    """What the status comes to, the user's part first."""
    waits = status.left > 0
    if waits and status.reach in ("not_logged_in", "refused"):
        return Exit.LOGIN
    if status.decisions:
        return Exit.DECISION
    if waits and not status.running:
        return Exit.NOT_RUNNING
    if waits and status.reach in ("offline", "captive", "trouble"):
        return Exit.OFFLINE
    return Exit.OK


def to_json(status: Status) -> dict[str, Any]:
    """The stable schema of `status --json`: keys are added, never changed or removed."""
    code = exit_code(status)
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "exit": code.name.lower(),
        "left": status.left,
        **asdict(status),
    }


def _reach(last: Mapping[str, Any], login: Login) -> tuple[str, str, str]:
    if not (login.key or last.get("login")) and last.get("reach") != "online":
        return _unasked(login)
    return str(last.get("reach")), str(last.get("words", "")), str(last.get("remedy", ""))


def _daemons_login(last: Mapping[str, Any], *, same: bool) -> str:
    """The daemon may have a key that this shell hasn't: a credential of its service, say."""
    source = str(last.get("login") or "") if same else ""
    return f"{source} (the daemon's)" if source else ""


def _unasked(login: Login) -> tuple[str, str, str]:
    if login.key:
        return "unknown", "nobody has asked the server lately", ""
    host = "" if login.base_url == DEFAULT_URL else f" --host {login.base_url}"
    return "not_logged_in", "nobody is logged in", f"Run `wandb login{host}`, or set WANDB_API_KEY"


def _runs(
    settings: Settings,
    destination: Path,
    cursors: Mapping[str, Cursor],
    known: Mapping[str, Problem],
    app: str,
) -> Iterable[RunStatus]:
    aliases = decisions.aliases(destination)
    ignored = decisions.forgotten(destination)
    owners = {run_id: known_cursor.path for run_id, known_cursor in cursors.items()}
    files = settle_claims(Roster(lambda: aliases).scan(settings.log_dir), owners)
    for found in files:
        run_id = found.header.run_id if found.header else ""
        bad = quarantine.load(destination / "quarantine", run_id).count if run_id else 0
        yield _run(
            found, cursors.get(run_id), known.get(run_id), run_id in ignored, bad, settings, app
        )
    here = {found.header.run_id: str(found.path) for found in files if found.header}
    made_new = {here[run_id] for run_id in aliases.values() if run_id in here}
    for run_id in cursors.keys() - here - ignored:
        if cursors[run_id].path in made_new:  # the user has decided about it
            continue
        if not cursors[run_id].ended and _belongs(cursors[run_id], settings):
            yield _missing(cursors[run_id])


def _run(
    found: Found,
    known: Cursor | None,
    problem: Problem | None,
    ignored: bool,
    bad: int,
    settings: Settings,
    app: str,
) -> RunStatus:
    if found.header is None:
        return RunStatus(
            "", found.path.stem, "", str(found.path), found.code or "empty",
            problem=found.problem, remedy=found.remedy, code=found.code,
        )  # fmt: skip
    header = found.header
    project = settings.project or header.project
    mine = known if known and known.project == project and not found.code else None
    uploaded, offset = (mine.confirmed.ordinal, mine.confirmed.offset) if mine else (0, 0)
    left = _lines_from(found.path, offset)
    state = _state(found, header.upload, ignored, problem, left)
    run = RunStatus(
        header.run_id, header.run_name, project, str(found.path), state,
        records=uploaded + left, uploaded=uploaded, bad=bad,
        left=left if state in ("waiting", "blocked") else 0,
        url=f"{app}/{mine.entity}/{project}/runs/{header.run_id}" if mine else "",
    )  # fmt: skip
    return _with_problem(run, found, problem)


def _with_problem(run: RunStatus, found: Found, problem: Problem | None) -> RunStatus:
    if found.code:
        return replace(run, problem=found.problem, remedy=found.remedy, code=found.code)
    if problem and run.state in ("waiting", "blocked", "uploaded"):  # its pictures may be missing
        return replace(
            run,
            problem=problem.what,
            meaning=problem.meaning,
            remedy=problem.remedy,
            code=problem.code,
        )
    return run


def _state(found: Found, upload: bool, ignored: bool, problem: Problem | None, left: int) -> str:
    if ignored:
        return "forgotten"
    if found.code:
        return found.code
    if problem and problem.decision:
        return "blocked"
    if not left:
        return "uploaded"
    return "waiting" if upload else "local"


def _missing(known: Cursor) -> RunStatus:
    return RunStatus(
        known.run_id,
        Path(known.path).stem,
        known.project,
        known.path,
        "missing",
        records=known.confirmed.ordinal,
        uploaded=known.confirmed.ordinal,
        problem="the file is gone before its run ended",
        meaning=f"{known.confirmed.ordinal:,} records are on the server; later ones can't be sent",
        remedy=f"Put the file back, or karaoke-syncd forget {known.run_id}",
        code="missing",
    )


def _belongs(known: Cursor, settings: Settings) -> bool:
    return Path(known.path).parent in settings.log_dir


def _lines_from(path: Path, offset: int) -> int:
    """Complete lines of the file from an offset on; 0 when it can't be read."""
    count = 0
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while data := file.read(1 << 20):
                count += data.count(b"\n")
    except OSError:
        return 0
    return count


def _app(login: Login) -> str:
    """Where a browser sees what is uploaded."""
    return "https://wandb.ai" if login.base_url == DEFAULT_URL else login.base_url


def _warnings(
    settings: Settings, login: Login, holder: Holder | None, last: Mapping[str, Any]
) -> Iterable[str]:
    if login.warning:
        yield login.warning
    if holder and last.get("server") not in (None, login.base_url):
        yield f"the daemon uploads to {last.get('server')}, this shell would to {login.base_url}"
    for folder in settings.log_dir:
        if not folder.is_dir():
            yield f"{folder} does not exist yet; it is watched as soon as it does"
        elif holder and str(folder) not in last.get("log_dir", []):
            yield f"{folder} is not watched by the daemon: start it with --log_dir {folder}"
