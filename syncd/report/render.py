"""Status -> what a person reads: is my data safe, what do I do, what is left, what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from syncd.destination.base import legible
from syncd.errors import Connection
from syncd.report.page import Column, Line, Page, Piece, Styled
from syncd.report.selection import Selection, rank, select
from syncd.report.status import RunState, RunStatus, Status, spoken
from syncd.report.verdict import Verdict, verdict, what_is_wrong

SHOWN: Final = 20  # runs in the table, and problems below it, where nothing else is asked for
FEWEST: Final = 5  # the same on a low terminal
_BESIDE: Final = 18  # lines of a page beside the table
_LEAST_NAME: Final = 8  # cells
NARROW: Final = 72  # columns of a terminal with room for a project and all numbers

_CONNECTIVITY: Final = {
    Connection.ONLINE: Styled("online", "green"),
    Connection.OFFLINE: Styled("offline", "yellow"),
    Connection.CAPTIVE: Styled("no W&B server answers", "yellow"),
    Connection.TROUBLE: Styled("in trouble", "yellow"),
    Connection.NOT_LOGGED_IN: Styled("nobody is logged in", "red"),
    Connection.REFUSED: Styled("refused", "red"),
    Connection.UNKNOWN: Styled("not known", "dim"),
}
_OF_A_STORE: Final = _CONNECTIVITY | {
    Connection.ONLINE: Styled("in use", "green"),
    Connection.REFUSED: Styled("can't be used", "red"),
    Connection.UNKNOWN: Styled("not in use", "dim"),
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


class View(NamedTuple):
    """What of a status is shown. wanted: the runs, as `selection` has it; limit: how many, None for
    all; links: the addresses of the runs in full, below the table."""

    wanted: Sequence[str] = ()
    limit: int | None = SHOWN
    links: bool = False


USUAL: Final = View()


def fitting(page: Page) -> int:
    """The rows that a table may have, so that a terminal shows the whole page."""
    return max(FEWEST, min(SHOWN, page.height - _BESIDE)) if page.is_terminal else SHOWN


def render(status: Status, page: Page, view: View = USUAL) -> None:
    """Write the status on the page."""
    found = verdict(status)
    page.folded(*head(found))
    page.line(Styled("Next", "bold"), f"  {found.advice}")
    page.line()
    for line in _facts(status):
        page.line(*line)
    chosen = select(status.runs, view.wanted, view.limit)
    wide, bad = page.width >= NARROW, any(run.bad for run in chosen.shown)
    rows = [_cells_of(run, wide=wide, bad=bad) for run in chosen.shown]
    _say_runs(page, _columns(wide=wide, bad=bad), rows, chosen, view)
    _say_problems(page, [status], view)


def render_all(statuses: Sequence[Status], page: Page, view: View = USUAL) -> None:
    """Write how every destination is; of several, each has a column."""
    if len(statuses) == 1:
        render(statuses[0], page, view)
        return
    found = [(status.destination, verdict(status)) for status in statuses]
    for name, words in found:
        page.folded(Styled(f"{name:<8}", "bold"), " ", *head(words))
    for name, words in found:
        page.line(Styled("Next", "bold"), f"  {name}: {words.advice}")
    page.line()
    page.line(*_daemon(statuses[0]))
    for status in statuses:
        for line in _server(status):
            page.line(*line)
    for line in _folders(statuses[0]):
        page.line(*line)
    rows = {
        min(filter(None, row), key=rank): row for row in _rows(statuses)
    }  # by the most pressing
    chosen = select(rows, view.wanted, view.limit)
    columns = [
        Column("Run", least=_LEAST_NAME),
        Column("Records", right=True),
        *(Column(status.destination) for status in statuses),
    ]
    cells: list[Sequence[Line]] = [
        [[_linked(run)], [f"{run.records:,}"], *map(_cell, rows[run])] for run in chosen.shown
    ]
    _say_runs(page, columns, cells, chosen, view)
    _say_problems(page, statuses, view)


def head(found: Verdict) -> Line:
    """The first line."""
    return [Styled(found.head, _LEVELS[found.level]), *(f"; {part}" for part in found.rest)]


def _say_runs(
    page: Page,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Line]],
    chosen: Selection,
    view: View,
) -> None:
    if chosen.shown:
        page.line()
        page.table(columns, rows)
    if words := str(chosen):
        page.line(Styled(f"{words} (--all shows them, --filter STATE|NAME those of a kind)", "dim"))
    linked = [run for run in chosen.shown if run.url]
    if linked and view.links:
        page.line()
        page.line(Styled("Links", "bold"))
        for run in linked:
            page.line(f"  {run.url}  {run.label}")
    elif linked and not page.links:
        page.line(Styled("their pages: karaoke-syncd status --links", "dim"))


def _say_problems(page: Page, statuses: Sequence[Status], view: View) -> None:
    words = [
        what_is_wrong(run, status.destination if len(statuses) > 1 else "")
        for status in statuses
        for run in select((*status.troubled, *status.decisions), view.wanted, None).shown
    ]
    if words:
        page.line()
        page.line(Styled("What is wrong", "bold"))
    shown = len(words) if view.limit is None else view.limit
    for one in words[:shown]:
        page.line(f"  {one}")
    if len(words) > shown:
        more = f"and {len(words) - shown:,} more: --all --filter trouble shows them"
        page.line("  ", Styled(more, "dim"))
    for warning in dict.fromkeys(warning for status in statuses for warning in status.warnings):
        page.line(Styled("Note", "yellow"), f"  {warning}")


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


def _facts(status: Status) -> Iterable[Line]:
    yield _daemon(status)
    yield from _server(status)
    project = status.project or "as each run says"
    yield [f"Project  {project}", *_set_by(status, "project")]
    yield from _folders(status)


def _daemon(status: Status) -> Line:
    running = f"running ({status.daemon})" if status.running else Styled("not running", "yellow")
    line = ["Daemon   ", running]
    if status.silent:
        line += [", ", Styled(f"without a word for {spoken(status.silent)}", "red")]
    return line


def _server(status: Status) -> Iterable[Line]:
    reach = (_CONNECTIVITY if status.needs_key else _OF_A_STORE)[status.connectivity]
    ago = f" {spoken(status.silent)} ago" if status.silent else ""  # what it said then
    words = status.connectivity_words
    name = "Server" if status.needs_key else "Store "
    origin = _set_by(status, "base_url") if status.needs_key else []
    yield [
        f"{name}   {legible(status.server)}", *origin, "  ", reach,
        ago + (f": {words}" if words and words not in reach.text + ago else ""),
    ]  # fmt: skip
    if status.lane:
        yield [f"Lane     {status.lane}"]
    if status.needs_key:
        login = f"key from {status.login}" if status.login else "no key"
        entity = status.entity or "the default entity"
        yield [f"Account  {entity}", *_set_by(status, "entity"), f", {login}"]


def _folders(status: Status) -> Iterable[Line]:
    below = " and those below" if status.recursive else ""
    yield [f"Folders  {', '.join(status.log_dirs)}{below}", *_set_by(status, "log_dir")]
    yield [f"State    {status.state_dir}"]


def _set_by(status: Status, setting: str) -> Line:
    source = status.origin.get(setting)
    return [" ", Styled(f"(set by {source})", "dim")] if source else []


def _columns(*, wide: bool, bad: bool) -> Sequence[Column]:
    """Names that do not fit are cut, numbers and states never."""
    return [
        Column("Run", least=_LEAST_NAME),
        *([Column("Project", least=len("Project")), Column("Records", right=True)] if wide else []),
        Column("Uploaded", right=True),
        Column("Left", right=True),
        *([Column("Bad", right=True)] if bad else []),
        Column("State"),
    ]


def _cells_of(run: RunStatus, *, wide: bool, bad: bool) -> Sequence[Line]:
    unknown = run.state is RunState.ELSEWHERE
    return [
        [_linked(run)],
        *([[run.project], [f"{run.records:,}"]] if wide else []),
        ["?" if unknown else f"{run.uploaded:,}"],
        ["?" if unknown else f"{run.pending:,}"],
        *([[f"{run.bad:,}" if run.bad else ""]] if bad else []),
        _state(run),
    ]


def _cell(run: RunStatus | None) -> Line:
    """What a destination has of a run."""
    if run is None:
        return [Styled("–", "dim")]
    return [f"{'?' if run.state is RunState.ELSEWHERE else f'{run.uploaded:,}'} ", *_state(run)]


def _linked(run: RunStatus) -> Piece:
    """Its name, which leads to its page where the terminal has links (OSC 8)."""
    return Styled(run.label, url=run.url)


def _state(run: RunStatus) -> Line:
    words = {RunState.LOCAL: "kept local", RunState.ELSEWHERE: "another daemon's"}.get(
        run.state, str(run.state)
    )
    trouble = run.troubled and run.state is not RunState.UNREADABLE
    colour = "red" if trouble else _COLOURS.get(run.state, "red")
    state = Styled(f"{words}{', in trouble' if trouble else ''}", colour)
    return [state, " ", Styled("live", "green")] if run.live else [state]
