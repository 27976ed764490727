"""`verify`: is what the server has what the files have, record by record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

from karaoke_train.runlog.plain_text import json_text
from syncd.cli.common import Invocation, command, print_error_json, say
from syncd.destination.base import Destination, Identity
from syncd.destination.registry import connect, connect_all
from syncd.errors import Exit, Refused, SyncError, Unreachable, UploadError
from syncd.paths import destination_folder
from syncd.report.page import Column, Line, Page, Styled, page_of_stdout
from syncd.report.verdict import some
from syncd.settings import BY_DAEMON, BY_SERVICE, Settings
from syncd.source.scanner import LogFile

if TYPE_CHECKING:  # it would have every other command wait for it
    from syncd.destination.comparison import Comparison
    from syncd.report.chosen import Chosen
    from syncd.report.verify import Looked

Compared = Sequence[tuple[LogFile, "Comparison"]]
# What may be said of a run beside its records, and its heading: all of them go into 80 columns
_COUNTS: Final = {
    "missing": "missing",
    "duplicate": "twice",
    "extra": "extra",
    "different": "differ",
    "waiting": "waiting",
}
_LEAST_NAME: Final = 8  # cells
_AGAIN: Final = "Run karaoke-syncd verify again"
_TAKEN: Final = {"log_dir": "Folders", "project": "Project", "destinations": "Destination"}


@command(
    "verify",
    to_stdout=True,
    exits={
        Exit.OK: "what the server has is what the files have; what waits is counted",
        Exit.OFFLINE: "the server can't be reached: of runs not named as compared nothing is known",
        Exit.LOGIN: "nobody is logged in, or the server refuses the account",
        Exit.FAILED: "some runs or folders could not be read or compared; each is named",
        Exit.DIFFERENT: "records, pictures, sounds or a run's end are missing at the server, or it "
        "has others",
    },
    examples=(
        ("karaoke-syncd verify", "for the daemon's log folders, or ./logs"),
        ("karaoke-syncd verify logs/training_log_20240115_143022.jsonl", "one run"),
        ("karaoke-syncd verify --json abc123", "for a script, by run id"),
        ("karaoke-syncd verify --repair abc123", "send again what is missing there"),
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN|FILE]...")
@click.option("--json", "as_json", is_flag=True, help="A stable schema, for programs.")
@click.option(
    "--repair", is_flag=True, help="Send what is missing again; what isn't the file's is left."
)
def verify(call: Invocation, runs: Sequence[str], as_json: bool, repair: bool) -> Exit:
    """Compare what the server has with the files, record by record; of a run that has ended there,
    see that its pictures and sounds are there, and that it is shown as ended.

    RUN is a run id. Without one or a FILE: all runs in the log folders that are to be uploaded.
    Folders, project and destinations that are not named are the daemon's, as those of `status`.
    """
    from syncd.service import folders

    meant = folders.in_force(call.settings)
    results = [
        _verified(runs, settings, destination, repair)
        for settings, destination in connect_all(meant)
    ]
    code = next((result.code for result in results if result.code is not Exit.OK), Exit.OK)
    if as_json:
        first = results[0]
        if first.error and first.nothing and len(results) == 1:
            print_error_json(SyncError(_words(first.error)), code)
        else:
            say(json_text(_to_json(results, code)))
        return code
    page = page_of_stdout()
    for line in _taken(meant):
        page.line(*line)
    _say(results, page)
    say(str(page))
    return code


@dataclass(frozen=True, slots=True)
class _Verified:
    """What came of one destination: its runs with what was found, or why that isn't known."""

    identity: Identity
    compared: Compared = ()
    failed: Sequence[tuple[LogFile, SyncError]] = ()  # those that could not be compared, and why
    unusable: Sequence[SyncError] = ()  # files and folders that can't be looked at
    left: Sequence[LogFile] = ()  # those that were not come to, since of `error`
    error: Unreachable | Refused | None = None

    @property
    def nothing(self) -> bool:
        """Whether no run was come to."""
        return not self.compared and not self.failed

    @property
    def code(self) -> Exit:
        """What is the worst of it."""
        if not all(result.consistent for _, result in self.compared):
            return Exit.DIFFERENT
        if self.error:
            return Exit.LOGIN if isinstance(self.error, Refused) else Exit.OFFLINE
        return Exit.FAILED if self.failed or self.unusable else Exit.OK


def _verified(
    runs: Sequence[str], settings: Settings, destination: Destination, repair: bool
) -> _Verified:
    """Raises UsageError for what names no run."""
    identity = destination.identity
    chosen = _chosen(runs, settings, destination)
    try:
        looked = _looked(chosen.files, settings, destination)
        if repair and (damaged := [one for one in looked.compared if not one[1].consistent]):
            destination.close()
            _repair(damaged, settings)
            destination = connect(settings)
            looked = _looked(chosen.files, settings, destination)
    finally:
        destination.close()
    return _Verified(
        identity, looked.compared, looked.failed, chosen.unusable, looked.left, looked.error
    )


def _looked(files: Sequence[LogFile], settings: Settings, destination: Destination) -> Looked:
    """What was found of each."""
    from syncd.report import verify as report
    from syncd.state import cursor

    try:
        entity = destination.account().entity
    except (Unreachable, Refused) as error:
        return report.Looked(left=files, error=error)
    cursors = destination_folder(settings.state_dir, destination.identity.address) / "cursors"

    def look(file: LogFile) -> Comparison:
        project = settings.project or file.header.project
        known = cursor.load(cursors, file.key)
        if known and (known.project, known.entity) != (project, entity):
            known = None  # what another project or account has is not here
        ended = known is not None and known.ended
        found = report.verify(file, project, entity, destination, ended=ended)
        if known:
            found = report.with_lost(found, known.records, known.base)
            found.shown_as = report.shown_as(file, known, destination)
        return found

    return report.each(files, look, destination)


def _repair(damaged: Compared, settings: Settings) -> None:
    """Upload the runs once more, and believe nothing of what is known of them: that compares, and
    sends again what is missing. Where nothing but pictures and sounds is, or the end is not shown,
    only that is not believed, with which they come. Where a daemon has a run, it does so."""
    from syncd.report.terminal import Terminal
    from syncd.state import cursor, decisions
    from syncd.sync.run_once import SyncInputs, sync

    destination = connect(settings)
    state = destination_folder(settings.state_dir, destination.identity.address)
    untold = []
    for file, found in damaged:
        known = cursor.load(state / "cursors", file.key)
        if known and replace(found, absent=0, shown_as="").consistent:
            doubted = known._replace(ended=not found.absent, unsettled=time.time())
            cursor.save(state / "cursors", doubted)
            untold.append(file.key)
        else:
            decisions.retry(state, file.key)
    files = tuple(file.path for file, _ in damaged)
    try:
        sync(
            [(settings, destination)],
            SyncInputs(files, (), ()),
            Terminal(stderr=True),
            everything=False,
        )
    finally:
        for key in untold:  # a daemon that runs is done with them, and would not look again
            known = cursor.load(state / "cursors", key)
            if known and (known.unsettled or not known.ended):
                decisions.try_at_once(state, key)


def _chosen(wanted: Sequence[str], settings: Settings, destination: Destination) -> Chosen:
    """The runs to verify, one file each. Raises UsageError for what names none."""
    from syncd.report.chosen import Chosen, absent, chosen

    state = destination_folder(settings.state_dir, destination.identity.address)
    found = chosen(wanted, settings, state)
    if wanted:
        return found
    uploaded = [file for file in found.files if file.header.upload]
    return Chosen(uploaded, [*absent(settings), *found.unusable])


def _to_json(results: Sequence[_Verified], code: Exit) -> dict[str, Any]:
    errors = {result.identity.kind: _words(result.error) for result in results if result.error}
    return {
        "schema": 1,
        "exit_code": int(code),
        "exit": code.name.lower(),
        **({"errors": errors} if errors else {}),
        "runs": [
            {
                "run_id": file.key,
                "path": str(file.path),
                "destination": result.identity.kind,
                **found.to_json(),
            }
            for result in results
            for file, found in result.compared
        ],
        "not_compared": [
            {
                "run_id": file.key,
                "path": str(file.path),
                "destination": result.identity.kind,
                "error": error,
            }
            for result in results
            for file, error in _uncompared(result)
        ]
        + [
            {
                "run_id": "",
                "path": error.where,
                "destination": result.identity.kind,
                "error": str(error),
            }
            for result in results
            for error in result.unusable
        ],
    }


def _uncompared(result: _Verified) -> Iterator[tuple[LogFile, str]]:
    """The runs of which nothing is known, and why in words."""
    for file, error in result.failed:
        yield file, _words(error)
    if result.error and not result.nothing:
        for file in result.left:
            yield file, _words(result.error)


def _words(error: SyncError) -> str:
    return error.without_daemon(_AGAIN) if isinstance(error, UploadError) else str(error)


def _not_compared(count: int) -> str:
    return "1 run was not" if count == 1 else f"{count:,} runs were not"


def _taken(settings: Settings) -> Iterator[Line]:
    """What is as the daemon or the service has it, since nobody said so here."""
    for name, what in _TAKEN.items():
        source = settings.origin.get(name)
        if source in (BY_DAEMON, BY_SERVICE):
            value = getattr(settings, name)
            words = value if isinstance(value, str) else ", ".join(map(str, value))
            yield [f"{what}  {words} ", Styled(f"(set by {source})", "dim")]


def _say(results: Sequence[_Verified], page: Page) -> None:
    """All that was found, for people."""
    for result in results:
        if len(results) > 1:
            page.line(Styled(result.identity.kind, "bold"))
        if not (result.error and result.nothing):
            _render(result, page)
        if result.error:
            left = "Nothing was" if result.nothing else _not_compared(len(result.left))
            page.line(Styled(f"{left} compared: {_words(result.error)}", "red"))


def _render(verified: _Verified, page: Page) -> None:
    compared = verified.compared
    if compared:
        _say_counts(compared, page)
    for file, result in compared:
        for words in _details(result, verified.identity.place):
            page.line(f"{file.path.name}: {words}")
    for file, error in verified.failed:
        page.line(Styled(f"{file.path.name}: not compared: {_words(error)}", "red"))
    for error in verified.unusable:
        page.line(Styled(f"not compared: {error}", "red"))
    if verified.nothing:
        page.line("There are no runs to compare")
        return
    equal = sum(result.equal for _, result in compared)
    records = sum(result.records for _, result in compared if result.equal)
    runs_here = len(compared) + len(verified.failed) + len(verified.left)
    one = runs_here == 1
    page.line(
        f"{equal} of {some(runs_here, 'run')} {'is' if one else 'are'} {verified.identity.place} "
        f"as {'it is' if one else 'they are'} here: {some(records, 'record')}"
    )
    on_the_way = [result for _, result in compared if result.consistent and result.waiting]
    if on_the_way:
        total = sum(result.records for result in on_the_way)
        there = total - sum(result.waiting for result in on_the_way)
        runs = "1 run is" if len(on_the_way) == 1 else f"{len(on_the_way)} runs are"
        page.line(f"{runs} on the way: {there:,} of {some(total, 'record')}")


def _say_counts(compared: Compared, page: Page) -> None:
    """A row per run; of what may be wrong, what is wrong with one of them."""
    counts = [name for name in _COUNTS if any(getattr(result, name) for _, result in compared)]
    headings = ["records", "server", *(_COUNTS[name] for name in counts)]
    rows: list[Sequence[Line]] = [
        [
            [file.label],
            *([f"{getattr(result, name):,}"] for name in ("records", "rows", *counts)),
            [_verdict(result)],
        ]
        for file, result in compared
    ]
    numbers = (Column(heading, right=True) for heading in headings)
    page.table([Column("run", least=_LEAST_NAME), *numbers, Column("")], rows)


def _verdict(result: Comparison) -> Styled:
    if result.equal:
        return Styled("equal", "green")
    if result.consistent:
        return Styled("equal so far", "yellow")
    return Styled("different", "red")


def _details(result: Comparison, place: str) -> list[str]:
    words = [
        f"{what} {', '.join(map(str, places))}{' …' if count > len(places) else ''}"
        for what, count, places in (
            ("no row for record", result.missing, result.missing_at),
            ("more than one row for record", result.duplicate, result.duplicate_at),
            ("no record for row", result.extra, result.extra_at),
            ("the picture or sound is missing of record", result.absent, result.absent_at),
            ("a placeholder is there for record", result.placeholder, result.placeholder_at),
        )
        if count
    ]
    words += [
        f"record {one.ordinal}, {one.key}: {one.file} here, {one.server} {place}"
        for one in result.differences
    ]
    if result.shown_as:
        words.append(f"how it ended is not shown {place}: it is {result.shown_as} there")
    return words
