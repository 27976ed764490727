"""Status -> what a person reads: is my data safe, what is left, what is wrong, what do I do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from syncd.errors import Exit
from syncd.report.status import RunStatus, Status, exit_code

WIDE: Final = 110  # columns of a terminal that has room for links and paths
SHOWN: Final = 20  # finished runs in the table; those with something to do are all shown

_REACH: Final = {
    "online": "[green]online[/]",
    "offline": "[yellow]offline[/]",
    "captive": "[yellow]no W&B server answers[/]",
    "trouble": "[yellow]server in trouble[/]",
    "not_logged_in": "[red]nobody is logged in[/]",
    "refused": "[red]refused[/]",
    "unknown": "[dim]not known[/]",
}


def render(status: Status, console: Console) -> None:
    """Print the status."""
    page = _page(status, with_places=console.width >= WIDE)
    console.print(page, highlight=False, soft_wrap=True)


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
    runs = [run for run in status.runs if run.state not in ("local", "forgotten", "copy", "empty")]
    uploaded = sum(run.uploaded for run in runs)
    if not status.runs:
        return "[bold]No runs yet[/] in " + escape(", ".join(status.log_dirs))
    if status.left:
        return (
            f"[bold yellow]{_some(status.left, 'record')} wait[/], safe on disk; "
            f"{uploaded:,} are on the server"
        )
    if any(run.state == "blocked" for run in runs):
        return f"[bold yellow]A decision of yours is needed[/]; {uploaded:,} records were uploaded"
    return f"[bold green]All {uploaded:,} records are on the server[/] ({_some(len(runs), 'run')})"


def _facts(status: Status) -> Iterable[str]:
    daemon = f"running ({escape(status.daemon)})" if status.running else "[yellow]not running[/]"
    yield f"Daemon   {daemon}"
    reach = _REACH[status.reach]
    if status.reach_words and status.reach_words not in reach:
        reach += f": {escape(status.reach_words)}"
    yield f"Server   {escape(status.server)}{_set_by(status, 'base_url')}  {reach}"
    login = f"key from {escape(status.login)}" if status.login else "no key"
    entity = escape(status.entity or "the default entity")
    yield f"Account  {entity}{_set_by(status, 'entity')}, {login}"
    project = status.project or "as each run says"
    yield f"Project  {escape(project)}{_set_by(status, 'project')}"
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
    active = [run for run in status.runs if run.state != "uploaded"]
    done = [run for run in status.runs if run.state == "uploaded"]
    for run in [*active, *done[-SHOWN:]]:
        table.add_row(
            escape(run.name),
            escape(run.project),
            f"{run.records:,}",
            f"{run.uploaded:,}",
            f"{run.left:,}",
            f"{run.bad:,}" if run.bad else "",
            _state(run),
            *([escape(run.url or run.path)] if with_places else []),
        )
    if len(done) > SHOWN:
        table.caption = f"and {len(done) - SHOWN:,} more that are uploaded"
    return table


def _state(run: RunStatus) -> str:
    colour = {"uploaded": "green", "waiting": "yellow", "local": "dim", "forgotten": "dim"}
    words = {"local": "kept local"}.get(run.state, run.state)
    return f"[{colour.get(run.state, 'red')}]{words}[/]"


def _problem(run: RunStatus) -> str:
    parts = [f"{run.path}: {run.problem}", run.meaning, run.remedy]
    return "  " + escape(" ".join(f"{part.rstrip('.')}." for part in parts if part))


def _next(status: Status) -> str:
    code = exit_code(status)
    if code is Exit.LOGIN:
        return escape(f"{status.reach_remedy}. Then: {_upload_command(status)}")
    if code is Exit.DECISION:
        return "decide about the runs under “What is wrong”; each says how"
    if code is Exit.NOT_RUNNING:
        return escape(_upload_command(status))
    if code is Exit.OFFLINE:
        return "nothing to do: the records go up as soon as the server can be reached"
    if status.left:
        return "nothing to do: the records are being uploaded"
    return "nothing to do"


def _upload_command(status: Status) -> str:
    folders = " ".join(f"--log_dir {folder}" for folder in status.log_dirs)
    if status.running:
        return f"nothing more, the daemon goes on by itself (or karaoke-syncd sync {folders})"
    return (
        f"karaoke-syncd sync {folders}   (once), or karaoke-syncd start {folders}   (keeps at it)"
    )


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
