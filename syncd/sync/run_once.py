"""`sync`: upload what is there, with a progress bar, and say what came of it."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from karaoke_train.runlog.layout import LOG_FILES, lock_path
from karaoke_train.runlog.lock import holder_of
from syncd.destination.base import Destination, Identity, Labels
from syncd.errors import (
    Connection,
    Exit,
    ProblemCode,
    Refused,
    RunRefused,
    RunTrouble,
    SyncError,
    UploadError,
)
from syncd.settings import Settings
from syncd.source import legacy_documents
from syncd.source.folder_tree import FolderTree
from syncd.source.safe_open import names_in, real
from syncd.source.scanner import LogFile, LogScanner, UnusableFile
from syncd.state import daemon_report, quarantine
from syncd.state.lease import daemon_of
from syncd.sync.assemble import build_daemon
from syncd.sync.loop import Daemon, wait_for
from syncd.sync.progress import Console, Show, Totals, shown
from syncd.sync.scheduler import RunKey

_UNUSABLE: Final = (ProblemCode.UNREADABLE, ProblemCode.UNSAFE, ProblemCode.MISSING)
_NO_LABELS: Final = Labels()
LINKS: Final = 10  # pages of runs that are named at the end

# Instead of what a daemon does by itself, where there is none
AGAIN: Final = (
    "Run karaoke-syncd sync again, or have a daemon go on by itself: karaoke-syncd start --detach"
)


@dataclass(frozen=True, slots=True)
class SyncInputs:
    """The files of one upload: record logs, those that came from documents, what was unusable."""

    files: tuple[Path, ...]
    documents: tuple[Path, ...]
    unusable: tuple[SyncError, ...]


def collect_inputs(paths: Sequence[Path], state: Path, *, recursive: bool = False) -> SyncInputs:
    """The record logs in files and folders; older documents become record logs on the way.
    recursive: also in the folders below."""
    logs: list[Path] = []
    converted: list[Path] = []
    unusable: list[SyncError] = []
    given = [path.absolute() for path in paths if path.is_dir()]
    tree = FolderTree(lambda: given, recursive=recursive)
    for path, chosen in _expand(paths, tree):
        if not os.path.lexists(path):
            unusable.append(SyncError("there is no such file or folder", where=str(path)))
        elif legacy_documents.is_document(path):
            try:
                converted.append(legacy_documents.convert(path, state, own=not chosen))
            except SyncError as error:
                unusable.append(error)
        elif not chosen and (problem := _unsafe(path)):
            unusable.append(problem)
        elif chosen and not _is_log(path):
            unusable.append(
                SyncError(
                    "this is no record log",
                    where=str(path),
                    meaning="Nothing of it is uploaded",
                    remedy=f"Taken are {LOG_FILES} and files that begin with a config record. Of "
                    "tables, TensorBoard's event files and other trainers' JSON lines, "
                    f"{shlex.join(('karaoke-syncd', 'import', str(path)))} makes one",
                )
            )
        else:
            logs.append(path)
    unusable += filter(None, map(_unlisted, tree.folders))
    if tree.full:
        unusable.append(SyncError(tree.words_of_full()))
    return SyncInputs((*logs, *converted), tuple(converted), tuple(unusable))


def sync(
    targets: Sequence[tuple[Settings, Destination]],
    inputs: SyncInputs,
    console: Console,
    *,
    run_name: str = "",
    follow: bool = False,
    everything: bool = True,
    labels: Labels = _NO_LABELS,
) -> Exit:
    """Upload once, to each destination by its settings; one that is down holds back no other.

    everything: leave out runs that aren't to be uploaded, as the daemon does; otherwise the files
    were named one by one, and all of them go. follow: go on until the runs have ended. labels:
    told of each run once its records are there, also if they were before.
    """
    for error in inputs.unusable:
        console.print(str(error), style="red")
    files = [path for path in inputs.files if not everything or _wants_upload(path)]
    news = threading.Event()
    daemons: list[Daemon] = []
    with ExitStack() as stack:
        stack.enter_context(_interruptible(daemons, console))
        daemons += [
            stack.enter_context(
                build_daemon(
                    settings,
                    destination,
                    files=files,
                    documents=inputs.documents,
                    once=not follow,
                    run_name=run_name,
                    news=news,
                )
            )
            for settings, destination in targets
        ]
        known = [destination.identity for _, destination in targets]
        only = len(known) == 1
        names = [one.activity if only else one.kind for one in known]
        called = dict(zip(names, daemons, strict=True))
        with shown(console) as show:
            _upload(called, show, _Waits(console) if follow else None)
        unlabelled = [
            _label(daemon, destination, labels) if labels else []
            for daemon, (_, destination) in zip(daemons, targets, strict=True)
        ]
    codes = []
    for daemon, (_, destination), left in zip(daemons, targets, unlabelled, strict=True):
        identity = destination.identity
        if len(targets) > 1:
            console.print(identity.kind, style="bold")
        codes.append(_verdict(daemon, inputs, console, left, identity))
        if kept := 0 if daemon.runs else len(inputs.files) - len(files):
            words = (
                f"{_count(kept)} kept local (--no_wandb, or upload=False); to upload one all the "
            )
            console.print(words + "same, name its file: karaoke-syncd sync FILE", soft_wrap=True)
        for words in _links(daemon, destination):
            console.print(words, soft_wrap=True)
    return next((code for code in codes if code is not Exit.OK), Exit.OK)


@contextmanager
def _interruptible(daemons: Sequence[Daemon], console: Console) -> Iterator[None]:
    """On Ctrl-C, says what is safe."""
    try:
        yield
    except KeyboardInterrupt:
        there = sum(run.records for daemon in daemons for run in daemon.runs.values())
        words = (
            f"Interrupted: {there:,} records were confirmed, the others are safe on disk. "
            "karaoke-syncd sync goes on from there."
        )
        console.print(words, soft_wrap=True)
        raise


def _links(daemon: Daemon, destination: Destination) -> Iterator[str]:
    """The pages of the runs of which something is there."""
    known = bool(daemon.connectivity.entity)
    there = [daemon.sessions[key] for key, run in daemon.runs.items() if run.records and known]
    for session in there[:LINKS]:
        if url := session.url:
            yield f"  {url}"
    if len(there) > LINKS and destination.identity.needs_key:
        yield f"  and {len(there) - LINKS:,} more: karaoke-syncd status --all --links"


class _Waits:
    """Says what the end of the runs is waited for, where it isn't their trainings alone."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, Connection] = {}

    def look(self, name: str, daemon: Daemon) -> None:
        """Say it once, and again when it is another thing."""
        there = daemon.connectivity
        if not there.known or there.in_doubt or self._said.get(name) is there.state:
            return
        self._said[name] = there.state
        if there.error:
            words = (
                f"{there.error} The records are safe on disk, and this waits until they are sent "
                f"and the runs have ended. To stop it: Ctrl-C, or kill {os.getpid()}; "
                "karaoke-syncd sync goes on from there"
            )
            self._console.print(words, style="yellow", soft_wrap=True)


def _upload(daemons: Mapping[str, Daemon], show: Show, waits: _Waits | None) -> None:
    """waits: until the runs have ended, where it is given."""
    totals = {name: Totals() for name in daemons}
    while True:
        for name, daemon in daemons.items():
            daemon.tick()
            show(name, *totals[name].of(daemon))
            if waits:
                waits.look(name, daemon)
        if all(daemon.done() and (not waits or _all_ended(daemon)) for daemon in daemons.values()):
            return
        wait_for(list(daemons.values()))


def _label(daemon: Daemon, destination: Destination, labels: Labels) -> list[UploadError]:
    """Tell the runs' labels; what kept the server from taking them."""
    failed: list[UploadError] = []
    for session in daemon.sessions.values():
        try:
            if daemon.connectivity.online and destination.label(session.ref, labels):
                continue
            error: UploadError = RunTrouble(
                "its labels were not told, as the run is not there yet",
                remedy="Give the same command again once its records are there",
            )
        except UploadError as refused:
            error = refused
        error.where = error.where or session.path.name
        failed.append(error)
    return failed


def _expand(paths: Sequence[Path], tree: FolderTree) -> list[tuple[Path, bool]]:
    """The files, and those in the folders; each with whether it was chosen by its own name. tree:
    of the folders."""
    chosen = [(path.absolute(), True) for path in paths if not path.is_dir()]
    found = {
        file
        for folder in tree.look()
        for file in (*folder.glob(LOG_FILES), *legacy_documents.documents_in(folder))
    }
    # By its place: a file that is named by two ways to its folder is no copy of itself
    files: dict[str, tuple[Path, bool]] = {}
    for path, is_chosen in (*chosen, *((path, False) for path in sorted(found))):
        files.setdefault(_place(path), (path, is_chosen))
    return [*files.values()]


def _place(path: Path) -> str:
    try:
        return real(path)
    except OSError:  # there is no such folder, which is said of it
        return str(path)


def _unlisted(folder: Path) -> SyncError | None:
    """Why nothing of a folder can be uploaded."""
    try:
        names_in(folder)
    except FileNotFoundError:  # it has just gone
        return None
    except OSError as error:
        return SyncError(
            f"can't be read: {error.strerror}",
            where=str(folder),
            remedy="Make the folder readable for this user",
        )
    return None


def _unsafe(path: Path) -> SyncError | None:
    """Why a file that nobody named is not uploaded, where it may be a trap."""
    found = LogScanner().look(path)
    if isinstance(found, UnusableFile) and found.code is ProblemCode.UNSAFE:
        return SyncError(found.problem, where=str(path), remedy=found.remedy)
    return None


def _is_log(path: Path) -> bool:
    """Whether a file is a record log by its name or its first line; one that can't be read is
    judged later."""
    found = LogScanner().look(path, chosen=True)
    if fnmatch(path.name, LOG_FILES):
        return True
    return found.is_named if isinstance(found, LogFile) else found.code is not None


def _wants_upload(path: Path) -> bool:
    found = LogScanner().look(path, chosen=True)
    return not isinstance(found, LogFile) or found.header.upload


def _all_ended(daemon: Daemon) -> bool:
    return bool(daemon.runs) and all(
        run.ended or _is_gone(daemon, key) for key, run in daemon.runs.items()
    )


def _is_gone(daemon: Daemon, key: RunKey) -> bool:
    """Whether the run's file has gone, and its writer, who would make it anew: no end can come."""
    return not daemon.has_file(key) and holder_of(lock_path(daemon.sessions[key].path)) is None


def _verdict(
    daemon: Daemon,
    inputs: SyncInputs,
    console: Console,
    unlabelled: Sequence[UploadError],
    identity: Identity,
) -> Exit:
    for found in daemon.skipped_files:
        words = f"{found.path}: {found.problem}. {found.remedy}."
        console.print(words, style="red")
    confirmed = sum(run.records for run in daemon.runs.values())
    # a torn tail is no record until its writer, or who resumes the run, has ended it
    unsent = [
        key
        for key, run in daemon.runs.items()
        if not daemon.goes_on(key) and (run.scanned_to != run.size or run.sent != run.confirmed)
    ]
    growing = [key for key in daemon.runs if daemon.goes_on(key)]
    if not daemon.runs:
        console.print(identity.nothing)
        if inputs.unusable:
            return Exit.FAILED
        return _code_of_skipped(daemon)
    if unsent:
        safe = ", safe on disk" if all(map(daemon.has_file, unsent)) else ""
        words = f"{len(unsent)} of {_runs(daemon)} left with records to send{safe}"
    else:
        all_of_them = f"{confirmed:,} records" if growing else f"All {confirmed:,} records"
        words = f"{all_of_them} of {_runs(daemon)} are {identity.place}"
        if growing:
            words += f": all that were there. {_still_written(len(growing), len(daemon.runs))}"
        if untold := _untold(daemon):
            words += f"; how {len(untold)} of them ended could not be told"
    console.print(words)
    for left_out in _left_out(daemon):
        console.print(left_out, style="yellow")
    errors = [*(run.error for run in daemon.runs.values() if run.error), *unlabelled]
    left = unsent or errors or growing or _untold(daemon)
    offline = None if daemon.connectivity.online else daemon.connectivity.error
    if offline and (left or isinstance(offline, Refused)):
        errors = [offline]
    follows = _a_daemon_follows(daemon.settings.state_dir)
    for error in errors:
        words = str(error) if follows else error.without_daemon(AGAIN)
        console.print(words, style="yellow")
    return _code(daemon, inputs, errors, unsent)


def _a_daemon_follows(state: Path) -> bool:
    """Whether one runs, and has reported of late, that tries again what is left."""
    holder = daemon_of(state)
    return holder is not None and not daemon_report.hung_for(daemon_report.load(state), holder)


def _code(
    daemon: Daemon, inputs: SyncInputs, errors: Sequence[UploadError], unsent: Sequence[str]
) -> Exit:
    if isinstance(daemon.connectivity.error, Refused):
        return Exit.LOGIN
    if not daemon.connectivity.online and unsent:
        return Exit.OFFLINE
    skipped = _code_of_skipped(daemon)
    if skipped is Exit.DECISION or any(isinstance(error, RunRefused) for error in errors):
        return Exit.DECISION
    left = unsent or errors or inputs.unusable or _untold(daemon)
    return Exit.FAILED if left else skipped


def _code_of_skipped(daemon: Daemon) -> Exit:
    if any(file.code not in _UNUSABLE for file in daemon.skipped_files):
        return Exit.DECISION
    return Exit.FAILED if daemon.skipped_files else Exit.OK


def _left_out(daemon: Daemon) -> Iterator[str]:
    """Of each run what is there as a placeholder alone (bad lines, media that are gone), and what
    is not where people look first."""
    for session in daemon.sessions.values():
        if words := quarantine.words_of(session.file.label, session.bad_lines()):
            yield f"{words[0].upper()}{words[1:]}"
        if session.remark:
            yield session.remark


def _still_written(growing: int, runs: int) -> str:
    who = "It is" if runs == 1 else f"{growing} of them {'is' if growing == 1 else 'are'}"
    return f"{who} still being written; what came since then is for the next upload"


def _untold(daemon: Daemon) -> list[str]:
    """The runs whose end the server doesn't show."""
    return [key for key, run in daemon.runs.items() if run.outcome and not run.ended]


def _runs(daemon: Daemon) -> str:
    return _count(len(daemon.runs))


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"
