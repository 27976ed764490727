"""The state folder and the log folders -> Status.

Reads files alone, so it tells the truth with the daemon down and the network cut.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from karaoke_train.runlog.layout import LOG_FILES, lock_path
from karaoke_train.runlog.lock import Holder, holder_of
from karaoke_train.runlog.reader import Position
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd import paths
from syncd.destination.base import Destination, Identity, RunRef, legible
from syncd.errors import Connection, ProblemCode, RunTrouble
from syncd.paths import destination_folder
from syncd.report.oddities import oddities
from syncd.report.status import RunState, RunStatus, Status, spoken
from syncd.service import unit_file
from syncd.service.folders import is_watched
from syncd.settings import BY_FLAG, Settings
from syncd.source import fingerprint, tailer
from syncd.source.fingerprint import FileChanged
from syncd.source.folder_tree import FolderTree, folders
from syncd.source.scanner import (
    FoundFile,
    LogFile,
    LogScanner,
    UnusableFile,
    resolve_parts,
)
from syncd.state import cursor, daemon_report, decisions, failures, lease, quarantine, reached
from syncd.state.cursor import Cursor
from syncd.state.daemon_report import DaemonReport
from syncd.state.failures import Problem
from syncd.state.reached import Tries

_LEAST_ROOM: Final = 1 << 20  # bytes, for the state's largest file: of a run's bad lines
_GLANCE: Final = 200  # folders, which `status --watch` looks at each second


def collect(
    settings: Settings, destination: Destination, counts: tailer.Counts | None = None
) -> Status:
    """Look at the state folder and the log folders. counts: of earlier looks. Never raises for what
    is in them."""
    identity = destination.identity
    state = destination_folder(settings.state_dir, identity.address)
    holder, report = _daemon(settings.state_dir, state)
    elsewhere = ""
    if report.is_by(holder):
        elsewhere = _elsewhere(report, identity, settings.project)
    current = report if holder and not elsewhere else DaemonReport()
    tries = reached.load(state, datetime.now(UTC))
    connectivity, words, remedy = _connectivity(current, identity, tries)
    entity = current.entity or identity.entity
    cursors, damaged = _cursors(state / "cursors", entity)
    tree = FolderTree(lambda: settings.log_dir, recursive=settings.recursive)
    tree.look()
    aliases = decisions.aliases(state)
    files = _files(cursors, aliases, tree)
    problems = {key: _damaged(key, state) for key in damaged} | failures.load_all(state)
    runs = (
        *_unreadable_state(settings.state_dir),
        *_runs(
            settings, state, cursors, problems, aliases, files, destination.url, holder, tree,
            counts or tailer.Counts(),
        ),
    )  # fmt: skip
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
        recursive=settings.recursive,
        state_dir=str(settings.state_dir),
        runs=runs,
        warnings=(
            *_warnings(settings, identity, holder, report, elsewhere),
            *(_takes_no_writes(settings.state_dir) if holder else ()),
            *((tree.words_of_full(),) if tree.full else ()),
            *(_missed(settings) if not runs else ()),
            *_stopped(runs),
            *oddities(tree.folders, state, runs, files, cursors),
        ),
        silent=daemon_report.hung_for(report, holder),
        elsewhere=elsewhere,
        lane=destination.lane,
        destination=identity.kind,
        name=identity.name,
        place=identity.place,
        needs_key=identity.needs_key,
        origin=settings.origin,
        unwatched=tuple(
            str(folder)
            for folder in (tree.folders if holder and current.updated else ())
            if not is_watched(folder, report)
        ),
        service=_is_the_services(settings),
        gone=0 if runs else sum(_is_gone(known, settings) for known in cursors.values()),
    )


def _daemon(state_dir: Path, state: Path) -> tuple[Holder | None, DaemonReport]:
    """The daemon that runs, and what it said last of the destination whose state is in `state`; of
    its first one where it says nothing of that."""
    holder, report = lease.daemon_of(state_dir), daemon_report.load(state)
    if not report.is_by(holder):
        report = daemon_report.load(state_dir)
    return holder, report


def _cursors(folder: Path, entity: str) -> tuple[dict[str, Cursor], set[str]]:
    """What is known of the account's runs, by their ids; and those whose cursors are damaged."""
    run_ids = cursor.run_ids(folder) or set()
    kept = cursor.load_all(folder, run_ids)
    damaged = {key for key in run_ids - kept.keys() if cursor.is_there(folder, key)}
    # what another account has is not here
    ours = {key: known for key, known in kept.items() if not entity or known.entity == entity}
    return ours, damaged


def _is_the_services(settings: Settings) -> bool:
    """Whether an installed service would do what these settings say, once it is started."""
    named = [settings.origin.get(name) for name in ("project", "entity", "destinations")]
    if "start" not in unit_file.installed_command() or BY_FLAG in named:
        return False
    from syncd.service import systemd  # of a unit alone: `status` runs without it

    if there := unit_file.installed("log_dir"):
        watched = {*map(str, settings.log_dir)} <= {*there}
    else:
        watched = settings.origin.get("log_dir") == str(paths.config_file())
    return watched and systemd.BOOTED.is_dir()


def _is_gone(known: Cursor, settings: Settings) -> bool:
    """Whether a run of which no file is here was in the log folders, and uploaded to its end."""
    return known.ended and _belongs(Path(known.path).parents, settings)


def _connectivity(
    report: DaemonReport, identity: Identity, tries: Tries
) -> tuple[Connection, str, str]:
    """The daemon's word, where one runs that had a login to ask with, or did without; else how the
    last tries went."""
    had_login = identity.key_source or report.login or not identity.needs_key
    if report.updated and (had_login or report.connectivity is Connection.ONLINE):
        return report.connectivity, report.words, report.remedy
    if identity.key_source or not identity.needs_key:
        return Connection.UNKNOWN, _tried(identity, tries), ""
    return Connection.NOT_LOGGED_IN, "nobody is logged in", identity.login_remedy


def _tried(identity: Identity, tries: Tries) -> str:
    if identity.needs_key:
        never, last = "no upload has reached it yet", "reached"
    else:
        never, last = "nothing was kept there yet", "last used"
    words = never if tries.ago is None else f"{last} {spoken(tries.ago)} ago"
    if tries.failed_ago is None:
        return words
    return f"{words}; the last try, {spoken(tries.failed_ago)} ago, failed: {tries.why}"


def _files(
    cursors: Mapping[str, Cursor], aliases: Mapping[str, str], tree: FolderTree
) -> list[FoundFile]:
    def project_of(run_id: str) -> str:
        return cursors[run_id].project if run_id in cursors else ""

    scanner = LogScanner(lambda: aliases, project_of, heads=cursor.heads(cursors.values()))
    return resolve_parts(scanner.scan(tree.folders), cursors)


def _runs(
    settings: Settings,
    state: Path,
    cursors: Mapping[str, Cursor],
    problems: Mapping[str, Problem],
    aliases: Mapping[str, str],
    files: Sequence[FoundFile],
    url: Callable[[RunRef], str],
    daemon: Holder | None,
    tree: FolderTree,
    counts: tailer.Counts,
) -> Iterable[RunStatus]:
    ignored = decisions.forgotten(state)
    quarantined = state / "quarantine"
    with_bad_lines = quarantine.run_ids(quarantined)
    here: dict[str, str] = {}
    unseen = {file.place for file in files if isinstance(file, UnusableFile)}
    by_path = {known.path: known for known in cursors.values()} if unseen else {}
    for file in files:
        if isinstance(file, UnusableFile):
            in_words = str(file.path) if file.path in tree.folders else file.path.stem
            was = by_path.get(file.place)
            yield _unusable(file, was, settings, ignored, in_words, counts)
            continue
        run_id = file.key
        here[run_id] = file.place
        known = cursors.get(run_id)
        run = _run(
            file, run_id, known, problems.get(run_id), run_id in ignored, settings, url, counts
        )
        if run_id in with_bad_lines:
            run = run._replace(bad=quarantine.load(quarantined, run_id).count)
        yield _attended(run, known, daemon, state.name, settings.lock_dir) if run.waits else run
    made_new = {here[run_id] for run_id in aliases.values() if run_id in here}
    taken = {*here.values()} - made_new
    for run_id in problems.keys() - here.keys() - cursors.keys() - ignored:
        if problems[run_id].decision and problems[run_id].path in taken:
            yield _undecided(problems[run_id])
    for run_id, left in cursors.items():
        if left.ended or run_id in here or run_id in ignored:
            continue
        path = left.path
        if path in made_new:  # the user has decided about it
            continue
        around = Path(path).parents
        if not unseen.isdisjoint((path, *map(str, around))):  # it may well be there
            continue
        if _belongs(around, settings) and tree.may_hold(around[0]):
            yield _missing(left)


def _run(
    file: LogFile,
    key: str,
    known: Cursor | None,
    problem: Problem | None,
    ignored: bool,
    settings: Settings,
    url: Callable[[RunRef], str],
    counts: tailer.Counts,
) -> RunStatus:
    header = file.header
    project = settings.project or header.project
    mine = known if known and known.project == project else None
    uploaded, offset = (mine.records, mine.confirmed.offset) if mine else (0, 0)
    changed = _changed(file, mine) if mine else None
    records = uploaded
    if changed or file.size > offset:
        at = tailer.START if changed else Position(uploaded, offset)
        which = file.place, file.first_line_hash, changed is None
        records = counts.of(which, file.path, file.size, at)
    pending = max(0, records - uploaded)
    if changed and not (problem and problem.decision):
        problem = changed
    state = _state(header.upload, ignored, problem, pending)
    live = (known is None or not known.ended) and holder_of(lock_path(file.path)) is not None
    if state is RunState.UPLOADED and mine and not mine.ended:
        # a run that crashed has no end in its file: that it can't be told is a problem of the run's
        crashed = problem is not None and not live
        if crashed or _has_end(file.path, offset):
            # of one that was uploaded by its name nobody tells it by himself
            state = RunState.ENDING if header.upload else RunState.LOCAL
    to_upload = state in (RunState.WAITING, RunState.BLOCKED)
    what, meaning, remedy, code, age = "", "", "", "", 0.0
    # an uploaded run can have one, too: its pictures may be missing
    if problem and (to_upload or state in (RunState.UPLOADED, RunState.ENDING)):
        what, meaning = problem.what, problem.meaning
        remedy, code, age = problem.remedy, problem.code, _age(problem)
    return RunStatus(  # by their places: named ones take twice as long, and there are 20
        key, header.run_name, project, file.place, state,
        records, uploaded, pending if to_upload else 0, 0,
        mine is not None and mine.stopped,
        url(RunRef(mine.entity, project, header.run_id)) if mine else "",
        what, meaning, remedy, code, header.created, live, "", age,
    )  # fmt: skip


def _changed(file: LogFile, known: Cursor) -> Problem | None:
    """That the file isn't the one that was uploaded from: a daemon would find so, where one looks,
    and what was counted of the other says nothing of this one."""
    try:
        if file.as_kept and known.head and known.path == file.place:  # nearly all
            return None
        fingerprint.check(file.path, known.confirmed, known.fingerprint)
    except FileChanged as found:
        from syncd.sync import troubles

        return failures.problem_of(
            file.key, file.path, troubles.changed(found, file.path, file.key)
        )
    except OSError:  # it is gone since the folder was looked at
        return None
    return None


def _attended(
    run: RunStatus,
    known: Cursor | None,
    daemon: Holder | None,
    destination: str,
    lock_dir: Path | None,
) -> RunStatus:
    """The run with who uploads it. daemon: the one whose state this is; destination: as leases have
    it."""
    run_id = run.run_id.partition(".")[0]  # the parts of a run have one lease
    uploader = holder_of(lease.run_lease(Path(run.path), run_id, destination, lock_dir).path)
    if uploader is None or (daemon and (uploader.host, uploader.pid) == (daemon.host, daemon.pid)):
        return run
    run = run._replace(holder=str(uploader))
    # `sync` keeps its cursors in this state folder, too: one that moved since it took the run
    if known and _time(known.updated) >= _time(uploader.since) > 0:
        return run
    return run._replace(state=RunState.ELSEWHERE)


def _has_end(path: Path, offset: int) -> bool:
    from syncd.sync.outcome import outcome_before

    return outcome_before(path, offset) is not None


def _age(problem: Problem) -> float:
    since = _time(problem.since)
    return max(0.0, datetime.now(UTC).timestamp() - since) if since else 0.0


def _time(text: str) -> float:
    return parse_timestamp(text, 0.0)


def _unreadable_state(folder: Path) -> Iterable[RunStatus]:
    """Without the state folder everything looks as if it were yet to be uploaded."""
    try:
        with os.scandir(folder):
            return
    except FileNotFoundError:
        return
    except OSError as error:
        yield RunStatus(
            "", str(folder), "", str(folder), RunState.UNREADABLE,
            problem=f"the state folder can't be read: {error.strerror}",
            meaning="What is uploaded isn't known without it: records may be counted as waiting "
            "that are there",
            remedy="Make it readable for this user, or set XDG_STATE_HOME",
            code=ProblemCode.UNREADABLE,
        )  # fmt: skip


def _state(upload: bool, ignored: bool, problem: Problem | None, pending: int) -> RunState:
    if ignored:
        return RunState.FORGOTTEN
    if problem and problem.decision:
        return RunState.BLOCKED
    if not pending:
        return RunState.UPLOADED
    return RunState.WAITING if upload else RunState.LOCAL


def _unusable(
    file: UnusableFile,
    known: Cursor | None,
    settings: Settings,
    ignored: Container[str],
    name: str,
    counts: tailer.Counts,
) -> RunStatus:
    """known: of the run that was uploaded from there, where that isn't told by the file; name: of
    the file or folder."""
    header = file.header
    run_id = header.run_id if header else known.run_id if known else ""
    state = RunState(file.code) if file.code else RunState.EMPTY
    state = RunState.FORGOTTEN if run_id in ignored else state
    if state is RunState.EMPTY and known and known.records and not known.ended:
        return _missing(known, "the file was emptied before its run ended")
    if state is RunState.COPY and header and not header.upload:
        state = RunState.LOCAL  # neither of them is uploaded
    if header is None:
        run = RunStatus(run_id, name, known.project if known else "", str(file.path), state)
        if known:
            at = known.records
            run = run._replace(records=at, uploaded=at)
    else:
        project = settings.project or header.project
        records = counts.of((file.path, header.run_id), file.path, file.size, tailer.START)
        run = RunStatus(
            header.run_id, header.run_name, project, str(file.path), state, records=records,
            created=header.created,
        )  # fmt: skip
    if state is RunState.LOCAL:
        return run
    return run._replace(problem=file.problem, remedy=file.remedy, code=file.code or "")


def _missing(known: Cursor, problem: str = "the file is gone before its run ended") -> RunStatus:
    return RunStatus(
        known.run_id,
        Path(known.path).stem,
        known.project,
        known.path,
        RunState.MISSING,
        records=known.records,
        uploaded=known.records,
        problem=problem,
        meaning=f"{known.records:,} records are uploaded; later ones can't be sent",
        remedy=f"Put the file back, or karaoke-syncd forget {known.run_id}",
        code=ProblemCode.MISSING,
    )


def _damaged(key: str, state: Path) -> Problem:
    """A daemon that was done with the run looks at its cursor no more."""
    error = RunTrouble(
        "what is uploaded of it isn't known here: its cursor in the state folder is damaged",
        meaning="Its records are counted as waiting, though they may be there",
        remedy=f"Ask anew what is there: karaoke-syncd retry {key}",
    )
    return failures.problem_of(key, state / "cursors" / f"{key}.json", error)


def _undecided(problem: Problem) -> RunStatus:
    """A run that waits for a decision about a file which looks like another one's here, as the
    cursor is lost that said whose it was: a daemon that runs knows, and does nothing with it."""
    return RunStatus(
        problem.run_id, Path(problem.path).stem, "", problem.path, RunState.BLOCKED,
        problem=problem.what, meaning=problem.meaning, remedy=problem.remedy, code=problem.code,
        age=_age(problem),
    )  # fmt: skip


def _belongs(around: Sequence[Path], settings: Settings) -> bool:
    """Whether a file is in the log folders. around: the folders that it's in, the nearest first."""
    nearest = around if settings.recursive else around[:1]
    return any(folder in settings.log_dir for folder in nearest)


def lines_from(path: Path, offset: int) -> int:
    """Complete lines of the file from an offset on; 0 when it can't be read."""
    try:
        return tailer.count_lines(path, offset)[0]
    except OSError:
        return 0


def _elsewhere(report: DaemonReport, identity: Identity, project: str) -> str:
    """Where the daemon uploads to, if that isn't where this shell would."""
    server = legible(report.server)
    if server and report.server != identity.address:
        return server
    if report.entity and identity.entity and report.entity != identity.entity:
        return f"{server} as {report.entity}"
    if server and report.project not in (None, project):
        return f"{server}, {_project(report.project)}"
    return ""


def _project(name: str | None) -> str:
    return f"project {name}" if name else "to the project that each run names"


def _place(identity: Identity, project: str) -> str:
    place = legible(identity.address)
    place = f"{place} as {identity.entity}" if identity.entity else place
    return f"{place}, project {project}" if project else place


def _takes_no_writes(folder: Path) -> Iterable[str]:
    """That what the daemon has done since is not known here, as far as the disk tells."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return
    if disk.f_flag & os.ST_RDONLY:
        why, remedy = "is mounted read-only", "Mount it for writing"
    elif (disk.f_blocks and not disk.f_bavail) or (disk.f_files and not disk.f_favail):
        why, remedy = "is on a full disk", "Make room there"
    elif disk.f_blocks and disk.f_bavail * disk.f_frsize < _LEAST_ROOM:
        why, remedy = "is on a disk that is nearly full", "Make room there"
    else:
        return
    yield (
        f"the state folder {folder} {why}: records are uploaded all the same, and those of which "
        f"it takes no word are counted as waiting here. {remedy}"
    )


def _missed(settings: Settings) -> Iterable[str]:
    """Where a folder for each run is what was meant, as far as a glance tells."""
    for folder in () if settings.recursive else settings.log_dir:
        below = folders((folder,), recursive=True, most=_GLANCE)[1:]
        if any(next(one.glob(LOG_FILES), None) for one in below):
            yield f"there are runs in the folders below {folder}: --recursive takes them in"


def _stopped(runs: Iterable[RunStatus]) -> Iterable[str]:
    for run in runs:
        if run.stopped:
            yield (
                f"somebody pressed Stop on the page of {run.label}: its training was not stopped "
                "by it, and its records go on being uploaded"
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
        here = _place(identity, settings.project)
        yield f"the daemon uploads to {elsewhere}, this shell would to {here}"
    for folder in settings.log_dir:
        if not os.path.lexists(folder):
            yield f"{folder} does not exist yet; it is watched as soon as it does"
        elif holder and not is_watched(folder, report):
            flag = f"--log_dir {shlex.quote(str(folder))}"
            yield f"{folder} is not watched by the daemon: start it with {flag}"
        elif holder and settings.recursive and not report.recursive:
            yield (
                f"the folders below {folder} are not watched by the daemon: start it with "
                "--recursive"
            )
