"""Status -> what a person reads: is my data safe, what do I do, what is left, what is wrong."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from syncd.errors import Connection
from syncd.report.selection import Selection, rank, select
from syncd.report.status import RunState, RunStatus, Status, spoken
from syncd.report.verdict import Verdict, verdict, what_is_wrong

SHOWN: Final = 20  # runs in the table, and problems below it, where nothing else is asked for
FEWEST: Final = 5  # the same on a low terminal
_BESIDE: Final = 18  # lines of a page beside the table
NARROW: Final = 72  # columns of a terminal with room for a project and all numbers

_CONNECTIVITY: Final = {
    Connection.ONLINE: "[green]online[/]",
    Connection.OFFLINE: "[yellow]offline[/]",
    Connection.CAPTIVE: "[yellow]no W&B server answers[/]",
    Connection.TROUBLE: "[yellow]server in trouble[/]",
    Connection.NOT_LOGGED_IN: "[red]nobody is logged in[/]",
    Connection.REFUSED: "[red]refused[/]",
    Connection.UNKNOWN: "[dim]not known[/]",
}

_COLOURS: Final = {
    RunState.UPLOADED: "green",
    RunState.ENDING: "yellow",
    RunState.WAITING: "yellow",
    RunState.ELSEWHERE: "yellow",
    RunState.LOCAL: "dim",
    RunState.FORGOTTEN: "dim",
}
_Row = Sequence[RunStatus | None]  # per destination; None where it knows nothing of the run
_LEVELS: Final = {"ok": "bold green", "warning": "bold yellow", "error": "bold red"}


@dataclass(frozen=True, slots=True)
class View:
    """What of a status is shown. wanted: the runs, as `selection` has it; limit: how many, None for
    all; links: the addresses of the runs in full, below the table."""

    wanted: Sequence[str] = ()
    limit: int | None = SHOWN
    links: bool = False


def fitting(console: Console) -> int:
    """The rows that a table may have, so that a terminal shows the whole page."""
    return max(FEWEST, min(SHOWN, console.height - _BESIDE)) if console.is_terminal else SHOWN


def render(status: Status, console: Console, view: View = View()) -> None:
    """Print the status."""
    found = verdict(status)
    _say_folded(console, head(found))
    _say(console, f"[bold]Next[/]  {escape(found.advice)}", "")
    _say(console, *_facts(status))
    chosen = select(status.runs, view.wanted, view.limit)
    _say_table(console, table(chosen, console.width), chosen, view)
    _say_problems(console, [status], view)


def render_all(
    statuses: Sequence[Status],
    console: Console,
    view: View = View(),
) -> None:
    """Print how every destination is; of several, each has a column."""
    if len(statuses) == 1:
        render(statuses[0], console, view)
        return
    found = [(status.destination, verdict(status)) for status in statuses]
    for name, words in found:
        _say_folded(console, f"[bold]{name:<8}[/] {head(words)}")
    _say(console, *(f"[bold]Next[/]  {name}: {escape(words.advice)}" for name, words in found), "")
    _say(console, _daemon(statuses[0]))
    for status in statuses:
        _say(console, *_server(status))
    _say(console, *_folders(statuses[0]))
    rows = {
        min(filter(None, row), key=rank): row for row in _rows(statuses)
    }  # by the most pressing
    chosen = select(rows, view.wanted, view.limit)
    _say_table(console, _columns(statuses, chosen, rows), chosen, view)
    _say_problems(console, statuses, view)


def head(found: Verdict) -> str:
    """The first line, as markup."""
    rest = "".join(f"; {escape(part)}" for part in found.rest)
    return f"[{_LEVELS[found.level]}]{escape(found.head)}[/]{rest}"


def _say_folded(console: Console, markup: str) -> None:
    for line in folded(console.render_str(markup, markup=True), console.width):
        console.print(line, highlight=False, soft_wrap=True)


def _say_table(console: Console, made: Table, chosen: Selection, view: View) -> None:
    if chosen.shown:
        console.print("")
        console.print(made, highlight=False, markup=True)
    _say(console, *_below(chosen, console, view))


def _say_problems(console: Console, statuses: Sequence[Status], view: View) -> None:
    words = [
        what_is_wrong(run, status.destination if len(statuses) > 1 else "")
        for status in statuses
        for run in select((*status.troubled, *status.decisions), view.wanted, None).shown
    ]
    if words:
        _say(console, "", "[bold]What is wrong[/]", *_problems(words, view.limit))
    warnings = dict.fromkeys(warning for status in statuses for warning in status.warnings)
    _say(console, *(f"[yellow]Note[/]  {escape(warning)}" for warning in warnings))


def _rows(statuses: Sequence[Status]) -> Iterable[_Row]:
    """What each destination has of each run. A run that had another run's file before, or whose
    file is gone, is not known to all of them."""
    found: dict[tuple[str, int], list[RunStatus | None]] = {}
    for place, status in enumerate(statuses):
        seen: Counter[str] = Counter()
        for run in status.runs:
            row = found.setdefault((run.path, seen[run.path]), [None] * len(statuses))
            row[place] = run
            seen[run.path] += 1
    return found.values()


def folded(text: Text, width: int) -> Iterable[Text]:
    """The text in lines that end between words, however long a word is: rich alone would break or
    cut that."""
    lines = textwrap.wrap(text.plain, width, break_long_words=False, break_on_hyphens=False)
    ends = accumulate(len(line) + 1 for line in lines[:-1])
    for line in text.divide(list(ends)):
        line.rstrip()
        yield line


def _say(console: Console, *lines: str) -> None:
    """Lines that a terminal may fold, and that are pasted whole: commands, paths and links."""
    for line in lines:
        console.print(line, highlight=False, markup=True, soft_wrap=True)


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
    below = " and those below" if status.recursive else ""
    folders = escape(", ".join(status.log_dirs))
    yield f"Folders  {folders}{below}{_set_by(status, 'log_dir')}"
    yield f"State    {escape(status.state_dir)}"


def _set_by(status: Status, setting: str) -> str:
    source = status.origin.get(setting)
    return f" [dim](set by {escape(source)})[/]" if source else ""


def table(chosen: Selection, width: int) -> Table:
    """The runs in rows. Names that do not fit are cut, numbers and states never."""
    wide = width >= NARROW
    bad = any(run.bad for run in chosen.shown)
    made = Table(box=None, pad_edge=False, header_style="bold")
    # ellipsis without no_wrap: these give way first, and fold between words alone
    made.add_column("Run", overflow="ellipsis", min_width=8)
    if wide:
        made.add_column("Project", overflow="ellipsis", min_width=7)
        made.add_column("Records", justify="right", no_wrap=True)
    for column in ("Uploaded", "Left", *(["Bad"] if bad else [])):
        made.add_column(column, justify="right", no_wrap=True)
    made.add_column("State", no_wrap=True)
    for run in chosen.shown:
        unknown = run.state is RunState.ELSEWHERE
        made.add_row(
            _linked(run),
            *([escape(run.project), f"{run.records:,}"] if wide else []),
            "?" if unknown else f"{run.uploaded:,}",
            "?" if unknown else f"{run.pending:,}",
            *([f"{run.bad:,}" if run.bad else ""] if bad else []),
            _state(run),
        )
    return made


def _columns(
    statuses: Sequence[Status], chosen: Selection, rows: Mapping[RunStatus, _Row]
) -> Table:
    """A row per run, and what each destination has of it."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("Run", overflow="ellipsis", min_width=8)
    made.add_column("Records", justify="right", no_wrap=True)
    for status in statuses:
        made.add_column(status.destination, no_wrap=True)
    for run in chosen.shown:
        made.add_row(_linked(run), f"{run.records:,}", *map(_cell, rows[run]))
    return made


def _cell(run: RunStatus | None) -> str:
    if run is None:
        return "[dim]–[/]"
    return f"{'?' if run.state is RunState.ELSEWHERE else f'{run.uploaded:,}'} {_state(run)}"


def _linked(run: RunStatus) -> str:
    """Its name, which leads to its page where the terminal has links (OSC 8)."""
    return f"[link={run.url}]{escape(run.label)}[/link]" if run.url else escape(run.label)


def _state(run: RunStatus) -> str:
    words = {RunState.LOCAL: "kept local", RunState.ELSEWHERE: "another daemon's"}.get(
        run.state, str(run.state)
    )
    trouble = run.troubled and run.state is not RunState.UNREADABLE
    colour = "red" if trouble else _COLOURS.get(run.state, "red")
    return f"[{colour}]{words}{', in trouble' if trouble else ''}[/]" + (
        " [green]live[/]" if run.live else ""
    )


def _below(chosen: Selection, console: Console, view: View) -> Iterable[str]:
    if words := str(chosen):
        yield f"[dim]{words} (--all shows them, --filter STATE|NAME those of a kind)[/]"
    linked = [run for run in chosen.shown if run.url]
    if linked and view.links:
        yield ""
        yield "[bold]Links[/]"
        yield from (f"  {escape(run.url)}  {escape(run.label)}" for run in linked)
    elif linked and not has_links(console):
        yield "[dim]their pages: karaoke-syncd status --links[/]"


def has_links(console: Console) -> bool:
    """Whether names in it can lead somewhere."""
    return console.is_terminal and not console.is_dumb_terminal and bool(console.color_system)


def _problems(words: Sequence[str], limit: int | None) -> Iterable[str]:
    shown = len(words) if limit is None else limit
    yield from (f"  {escape(one)}" for one in words[:shown])
    if len(words) > shown:
        yield f"  [dim]and {len(words) - shown:,} more: --all --filter trouble shows them[/]"
