"""`sync`: upload what is there, with a progress bar, and say what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from karaoke_train.runlog.layout import LOG_FILES
from syncd.destination.wandb.credentials import Login
from syncd.errors import Exit, Refused, RunRefused, SyncError, UploadError
from syncd.settings import Settings
from syncd.source import legacy_documents
from syncd.source.scanner import Roster
from syncd.sync.assemble import engine
from syncd.sync.loop import Daemon
from syncd.sync.scheduler import Run


@dataclass(frozen=True, slots=True)
class Work:
    """The files of one upload: record logs, those that came from documents, what was unusable."""

    files: tuple[Path, ...]
    documents: tuple[Path, ...]
    unusable: tuple[SyncError, ...]


def gather(paths: Sequence[Path], state: Path) -> Work:
    """The record logs in files and folders; older documents become record logs on the way."""
    logs: list[Path] = []
    converted: list[Path] = []
    unusable: list[SyncError] = []
    for path in [found for given in paths for found in _expand(given)]:
        if not path.exists():
            unusable.append(SyncError("there is no such file or folder", where=str(path)))
        elif legacy_documents.is_document(path):
            try:
                converted.append(legacy_documents.convert(path, state))
            except SyncError as error:
                unusable.append(error)
        else:
            logs.append(path)
    return Work((*logs, *converted), tuple(converted), tuple(unusable))


def sync(
    settings: Settings,
    login: Login,
    work: Work,
    console: Console,
    *,
    run_name: str = "",
    follow: bool = False,
    everything: bool = True,
) -> Exit:
    """Upload once. everything: leave out runs that aren't to be uploaded, as the daemon does;
    otherwise the files were named one by one, and all of them go. follow: go on until the runs
    have ended."""
    for error in work.unusable:
        console.print(f"[red]{error}[/]", highlight=False)
    files = [path for path in work.files if not everything or _wants_upload(path)]
    with (
        engine(
            settings,
            login,
            files=files,
            documents=work.documents,
            once=not follow,
            run_name=run_name,
        ) as daemon,
        _bar(console) as bar,
    ):
        task = bar.add_task("uploading", total=None)
        while True:
            daemon.tick()
            total, confirmed = _progress(daemon)
            bar.update(task, total=total, completed=confirmed)
            if daemon.done() and (not follow or _all_ended(daemon)):
                break
            daemon.wait()
    return _verdict(daemon, work, console)


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path.absolute()]
    return sorted(
        [*path.absolute().glob(LOG_FILES), *legacy_documents.documents_in(path.absolute())]
    )


def _wants_upload(path: Path) -> bool:
    header = Roster().look(path).header
    return header is None or header.upload


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _progress(daemon: Daemon) -> tuple[int, int]:
    """Records in the files, records confirmed. Sizes stand for counts beyond what was read."""
    confirmed = sum(run.confirmed.ordinal for run in daemon.runs.values())
    return sum(map(_estimate, daemon.runs.values())), confirmed


def _estimate(run: Run) -> int:
    if not run.sent.offset:
        return run.size // 150  # bytes of a usual record; right as soon as some are read
    return round(run.sent.ordinal * max(run.size, run.sent.offset) / run.sent.offset)


def _all_ended(daemon: Daemon) -> bool:
    return bool(daemon.runs) and all(run.ended for run in daemon.runs.values())


def _verdict(daemon: Daemon, work: Work, console: Console) -> Exit:
    for found in daemon.left_out:
        console.print(f"[red]{found.path}: {found.problem}. {found.remedy}.[/]", highlight=False)
    confirmed = sum(run.confirmed.ordinal for run in daemon.runs.values())
    # a torn tail is no record until its writer, or who resumes the run, has ended it
    unsent = [
        key for key, run in daemon.runs.items() if run.seen != run.size or run.sent != run.confirmed
    ]
    if not daemon.runs:
        console.print("There is nothing to upload", highlight=False)
        return Exit.FAILED if work.unusable else Exit.DECISION if daemon.left_out else Exit.OK
    if unsent:
        words = f"{len(unsent)} of {_runs(daemon)} left with records to send, safe on disk"
    else:
        words = f"All {confirmed:,} records of {_runs(daemon)} are on the server"
    console.print(words, highlight=False)
    errors = [run.error for run in daemon.runs.values() if run.error]
    if not daemon.reach.online and daemon.reach.error:
        errors = [daemon.reach.error]
    for error in errors:
        console.print(f"[yellow]{error}[/]", highlight=False)
    return _code(daemon, work, errors, unsent)


def _code(daemon: Daemon, work: Work, errors: Sequence[UploadError], unsent: Sequence[str]) -> Exit:
    if isinstance(daemon.reach.error, Refused):
        return Exit.LOGIN
    if not daemon.reach.online and unsent:
        return Exit.OFFLINE
    if daemon.left_out or any(isinstance(error, RunRefused) for error in errors):
        return Exit.DECISION
    return Exit.FAILED if unsent or errors or work.unusable else Exit.OK


def _runs(daemon: Daemon) -> str:
    return "1 run" if len(daemon.runs) == 1 else f"{len(daemon.runs)} runs"
