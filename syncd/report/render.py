"""Status -> what a person reads: is my data safe, what is left, what is wrong, what do I do."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from syncd.errors import Connection, Exit
from syncd.report.status import RunState, RunStatus, Status, exit_code, spoken

WIDE: Final = 110  # columns of a terminal that has room for links and paths
SHOWN: Final = 20  # finished runs in the table; those with something to do are all shown

_CONNECTIVITY: Final = {
    Connection.ONLINE: "[green]online[/]",
    Connection.OFFLINE: "[yellow]offline[/]",
    Connection.CAPTIVE: "[yellow]no W&B server answers[/]",
    Connection.TROUBLE: "[yellow]server in trouble[/]",
    Connection.NOT_LOGGED_IN: "[red]nobody is logged in[/]",
    Connection.REFUSED: "[red]refused[/]",
    Connection.UNKNOWN: "[dim]not known[/]",
}

_NOT_UPLOADED: Final = (RunState.LOCAL, RunState.FORGOTTEN, RunState.COPY, RunState.EMPTY)
_COLOURS: Final = {
    RunState.UPLOADED: "green",
    RunState.ENDING: "yellow",
    RunState.WAITING: "yellow",
    RunState.LOCAL: "dim",
    RunState.FORGOTTEN: "dim",
}


def render(status: Status, console: Console) -> None:
    """Print the status."""
    page = _page(status, with_places=console.width >= WIDE)
    console.print(page, highlight=False, markup=True, soft_wrap=True)


def render_all(statuses: Sequence[Status], console: Console) -> None:
    """Print how every destination is; of several, each has a column."""
    if len(statuses) == 1:
        render(statuses[0], console)
        return
    first = statuses[0]
    parts: list[RenderableType] = [
        f"[bold]{status.destination:<8}[/] {_verdict(status)}" for status in statuses
    ]
    parts += ["", _daemon(first)]
    for status in statuses:
        parts += _server(status)
    parts += _folders(first)
    if first.runs:
        parts += ["", _columns(statuses)]
    troubled = dict.fromkeys(
        _problem(run, status) for status in statuses for run in status.runs if run.problem
    )
    if troubled:
        parts += ["", "[bold]What is wrong[/]", *troubled]
    warnings = dict.fromkeys(warning for status in statuses for warning in status.warnings)
    parts += [f"[yellow]Note[/]  {escape(warning)}" for warning in warnings]
    parts += ["", *(f"[bold]Next[/]  {status.destination}: {_next(status)}" for status in statuses)]
    console.print(Group(*parts), highlight=False, soft_wrap=True)


def _columns(statuses: Sequence[Status]) -> Table:
    """A row per run, and what each destination has of it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Run", overflow="fold")
    table.add_column("Project")
    table.add_column("Records", justify="right")
    for status in statuses:
        table.add_column(status.destination)
    by_path = [{run.path: run for run in status.runs} for status in statuses]
    done = [path for path in by_path[0] if all(map(_is_uploaded, _each(path, by_path)))]
    for path, run in by_path[0].items():
        if path in done[:-SHOWN]:
            continue
        cells = [f"{one.uploaded:,} {_state(one)}" for one in _each(path, by_path)]
        table.add_row(escape(run.name), escape(run.project), f"{run.records:,}", *cells)
    if len(done) > SHOWN:
        table.caption = f"and {len(done) - SHOWN:,} more that are uploaded"
    return table


def _each(path: str, by_path: Sequence[Mapping[str, RunStatus]]) -> list[RunStatus]:
    """What each destination has of the file. One that came between two looks is in all of them
    the next time."""
    return [runs.get(path, by_path[0][path]) for runs in by_path]


def _is_uploaded(run: RunStatus) -> bool:
    return run.state is RunState.UPLOADED


def _page(status: Status, *, with_places: bool) -> RenderableType:
    parts: list[RenderableType] = [_verdict(status), ""]
    parts += list(_facts(status))
    if status.runs:
        parts += ["", _table(status, with_places=with_places)]
    troubled = [run for run in status.runs if run.problem]
    if troubled:
        parts += ["", "[bold]What is wrong[/]"]
        parts += [_problem(run) for run in troubled]
    parts += [f"[yellow]Note[/]  {escape(warning)}" for warning in status.warnings]
    parts += ["", f"[bold]Next[/]  {_next(status)}"]
    return Group(*parts)


def _verdict(status: Status) -> str:
    if status.silent:
        return (
            f"[bold red]The daemon has not reported for {spoken(status.silent)}[/]: "
            f"{_upload_verdict(status)}"
        )
    return _upload_verdict(status)


def _upload_verdict(status: Status) -> str:
    runs = [run for run in status.runs if run.state not in _NOT_UPLOADED]
    uploaded = sum(run.uploaded for run in runs)
    if not status.runs:
        return "[bold]No runs yet[/] in " + escape(", ".join(status.log_dirs))
    if status.pending:
        return (
            f"[bold yellow]{_some(status.pending, 'record')} wait[/], safe on disk; "
            f"{uploaded:,} are {status.place}"
        )
    if any(run.state is RunState.BLOCKED for run in runs):
        return f"[bold yellow]A decision of yours is needed[/]; {uploaded:,} records were uploaded"
    ending = sum(run.state is RunState.ENDING for run in runs)
    if ending:
        return (
            f"[bold yellow]All {uploaded:,} records are {status.place}[/]; how "
            f"{_some(ending, 'run')} ended is yet to be told"
        )
    words = f"All {uploaded:,} records are {status.place}"
    return f"[bold green]{words}[/] ({_some(len(runs), 'run')})"


def _facts(status: Status) -> Iterable[str]:
    yield _daemon(status)
    yield from _server(status)
    project = status.project or "as each run says"
    yield f"Project  {escape(project)}{_set_by(status, 'project')}"
    yield from _folders(status)


def _daemon(status: Status) -> str:
    daemon = f"running ({escape(status.daemon)})" if status.running else "[yellow]not running[/]"
    silent = f", [red]without a word for {spoken(status.silent)}[/]" if status.silent else ""
    return f"Daemon   {daemon}{silent}"


def _server(status: Status) -> Iterable[str]:
    reach = _CONNECTIVITY[status.connectivity]
    if status.silent:  # what it said then
        reach += f" {spoken(status.silent)} ago"
    if status.connectivity_words and status.connectivity_words not in reach:
        reach += f": {escape(status.connectivity_words)}"
    name = "Server" if status.needs_key else "Store "
    yield f"{name}   {escape(status.server)}{_set_by(status, 'base_url')}  {reach}"
    if status.lane:
        yield f"Lane     {escape(status.lane)}"
    if status.needs_key:
        login = f"key from {escape(status.login)}" if status.login else "no key"
        entity = escape(status.entity or "the default entity")
        yield f"Account  {entity}{_set_by(status, 'entity')}, {login}"


def _folders(status: Status) -> Iterable[str]:
    yield f"Folders  {escape(', '.join(status.log_dirs))}{_set_by(status, 'log_dir')}"
    yield f"State    {escape(status.state_dir)}"


def _set_by(status: Status, setting: str) -> str:
    source = status.origin.get(setting)
    return f" [dim](set by {escape(source)})[/]" if source else ""


def _table(status: Status, *, with_places: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Run", overflow="fold")
    table.add_column("Project")
    for column in ("Records", "Uploaded", "Left", "Bad"):
        table.add_column(column, justify="right")
    table.add_column("State")
    if with_places:
        table.add_column("Where", overflow="fold")
    active = [run for run in status.runs if run.state is not RunState.UPLOADED]
    done = [run for run in status.runs if run.state is RunState.UPLOADED]
    for run in [*active, *done[-SHOWN:]]:
        table.add_row(
            escape(run.name),
            escape(run.project),
            f"{run.records:,}",
            f"{run.uploaded:,}",
            f"{run.pending:,}",
            f"{run.bad:,}" if run.bad else "",
            _state(run),
            *([escape(run.url or run.path)] if with_places else []),
        )
    if len(done) > SHOWN:
        table.caption = f"and {len(done) - SHOWN:,} more that are uploaded"
    return table


def _state(run: RunStatus) -> str:
    words = "kept local" if run.state is RunState.LOCAL else run.state
    return f"[{_COLOURS.get(run.state, 'red')}]{words}[/]"


def _problem(run: RunStatus, status: Status | None = None) -> str:
    """status: of the destination that is named, where there are several."""
    of = f"{status.destination}: " if status else ""
    parts = [f"{of}{run.path}: {run.problem}", run.meaning, run.remedy]
    return "  " + escape(" ".join(f"{part.rstrip('.')}." for part in parts if part))


def _next(status: Status) -> str:
    code = exit_code(status)
    if code is Exit.SILENT:
        return (
            "it hangs or is stopped, or its state folder takes no writes (a full disk?): look at "
            "its log, then karaoke-syncd restart"
        )
    if code is Exit.ELSEWHERE:
        return escape(
            f"the daemon uploads to {status.elsewhere}: restart it from this shell "
            f"(karaoke-syncd restart), or once: {_upload_command(status)}"
        )
    if code is Exit.LOGIN:
        return escape(f"{status.connectivity_remedy}. Then: {_upload_command(status)}")
    if code is Exit.DECISION:
        return "decide about the runs under “What is wrong”; each says how"
    if code is Exit.NOT_RUNNING:
        return escape(_upload_command(status))
    if code is Exit.OFFLINE:
        return "nothing to do: the records go up as soon as the server can be reached"
    if status.waits:
        return "nothing to do: the records are being uploaded"
    return "nothing to do"


def _upload_command(status: Status) -> str:
    folders = " ".join(f"--log_dir {shlex.quote(folder)}" for folder in status.log_dirs)
    if status.running:
        return f"nothing more, the daemon goes on by itself (or karaoke-syncd sync {folders})"
    return (
        f"karaoke-syncd sync {folders}   (once), or karaoke-syncd start {folders}   (keeps at it)"
    )


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
