"""`retry` and `forget`: what a person decides about a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from syncd.cli.common import Invocation, command
from syncd.destination.registry import connect_all
from syncd.errors import Connection, Exit, SyncError, UsageError
from syncd.paths import destination_folder

if TYPE_CHECKING:
    from syncd.report.status import RunStatus, Status

_runs: Final = click.argument("runs", nargs=-1, required=True, metavar="RUN...")
_EXAMPLE_IDS: Final = ("karaoke-syncd status --json", "has the run ids, as run_id")
SHOWN: Final = 5  # runs that a word may mean


@command(
    "retry",
    exits={
        Exit.OK: "decided, and a running daemon does it",
        Exit.NOT_RUNNING: "decided, but no daemon uploads the run; the message says what will",
        Exit.LOGIN: "decided, but nobody is logged in, or the server refuses the account",
    },
    examples=(("karaoke-syncd retry abc123", "one run"), _EXAMPLE_IDS),
)
@_runs
def retry(call: Invocation, runs: Sequence[str]) -> Exit:
    """Take a run as it is now, and try it again.

    RUN is a run id, a name, or the beginning of either if no other run begins so. A run that was
    forgotten is uploaded again.
    """
    from syncd.state import daemon_report, decisions

    codes = {Exit.OK}
    for status, chosen, state in _find(call, runs):
        watched = daemon_report.load(call.settings.state_dir).log_dir if status.running else ()
        for run in chosen:
            with _kept(run, state):
                decisions.retry(state, run.run_id)
            code, words = _what_follows(status, uploads=str(Path(run.path).parent) in watched)
            said = f"{run.label} ({run.run_id}) {words}"
            call.console.print(said)
            codes.add(code)
    return max(codes)  # the login first: without one, a daemon would not help


@command(
    "forget",
    exits={Exit.OK: "decided: nothing more of them is uploaded or said"},
    examples=(
        ("karaoke-syncd forget abc123", "one run; `retry abc123` takes it back"),
        _EXAMPLE_IDS,
    ),
)
@_runs
def forget(call: Invocation, runs: Sequence[str]) -> Exit:
    """Leave a run alone for good.

    RUN is a run id, a name, or the beginning of either if no other run begins so. The file stays,
    and so does what the server has.
    """
    from syncd.state import decisions

    found = _find(call, runs)
    for _, chosen, state in found:
        for run in chosen:
            with _kept(run, state):
                decisions.forget(state, run.run_id)
    for run in {run.run_id: run for _, chosen, _ in found for run in chosen}.values():
        words = f"{run.label} ({run.run_id}) is left alone from now on"
        call.console.print(words)
    return Exit.OK


@contextmanager
def _kept(run: RunStatus, state: Path) -> Iterator[None]:
    """Decide something about a run. Raises SyncError where that can't be kept."""
    try:
        yield
    except OSError as error:
        raise SyncError(
            f"the decision about {run.label} ({run.run_id}) can't be kept: {error.strerror}",
            where=str(state),
            meaning="There it stays as it was; its file, and what is uploaded, are not touched",
            remedy="Make room there, or make it writable, and give the same command again",
        ) from None


def _find(call: Invocation, runs: Sequence[str]) -> list[tuple[Status, list[RunStatus], Path]]:
    """Per destination how everything stands, the runs that are meant, and the folder in which
    decisions about them are kept. Raises UsageError for a word that means no run, or several."""
    from syncd.report.collect import collect
    from syncd.service import folders

    # by its name a run is meant wherever it is: here, where the daemon looks, or where an upload
    # that named its folder left it
    watched = folders.in_force(call.settings)
    targets = [
        (
            settings,
            destination,
            destination_folder(settings.state_dir, destination.identity.address),
        )
        for settings, destination in connect_all(watched)
    ]
    left = (folder for *_, state in targets for word in runs for folder in _folders_of(word, state))
    everywhere = tuple(dict.fromkeys((*call.settings.log_dir, *watched.log_dir, *left)))
    found, unknown = [], set(runs)
    for settings, destination, state in targets:
        status = collect(replace(settings, log_dir=everywhere), destination)
        chosen = {}
        for word in runs:
            if run := _meant(word, status):
                chosen[run.run_id] = run
                unknown.discard(word)
        found.append((status, list(chosen.values()), state))
    for word in unknown:  # at any of them: one may never have heard of a run whose file is gone
        raise UsageError(
            f"no run {word!r} is known here",
            meaning="Nothing was decided",
            remedy="`karaoke-syncd status --all` lists the runs; name its --log_dir",
        )
    return found


def _folders_of(word: str, state: Path) -> Iterator[Path]:
    """Where the file of the run with this id was, as far as a destination's state tells."""
    from karaoke_train.runlog.format import RUN_ID
    from syncd.state import cursor, failures

    if RUN_ID.fullmatch(word.partition(".")[0]):
        for known in (cursor.load(state / "cursors", word), failures.load(state, word)):
            if known:
                yield Path(known.path).parent


def _meant(word: str, status: Status) -> RunStatus | None:
    """The one run that a word means; None where it means none. Raises UsageError."""
    from syncd.report.selection import named

    found = named(status.runs, word)
    if len(found) > 1:
        some = ", ".join(f"{run.run_id} ({run.label})" for run in found[:SHOWN])
        more = " …" if len(found) > SHOWN else ""
        raise UsageError(
            f"{word!r} may be any of {len(found):,} runs: {some}{more}",
            meaning="Nothing was decided",
            remedy="Name the run by its id, or more of its name",
        )
    return found[0] if found else None


def _what_follows(status: Status, *, uploads: bool) -> tuple[Exit, str]:
    """What becomes of a run that is to be tried again. uploads: whether a daemon watches it."""
    login = status.connectivity in (Connection.NOT_LOGGED_IN, Connection.REFUSED)
    words = "".join(_parts(status, uploads=uploads, login=login))
    if login:
        return Exit.LOGIN, words
    return Exit.OK if uploads and not status.silent else Exit.NOT_RUNNING, words


def _parts(status: Status, *, uploads: bool, login: bool) -> Iterator[str]:
    from syncd.report.status import spoken
    from syncd.report.verdict import ABOUT_SILENCE

    if not uploads:
        yield "is tried by the next `karaoke-syncd sync` or `karaoke-syncd start`: "
        yield "the daemon does not watch its folder" if status.running else "no daemon is running"
    elif status.silent:
        yield f"is tried once the daemon goes on. It has not reported for {spoken(status.silent)}: "
        yield ABOUT_SILENCE
    elif login:
        yield "is tried by the daemon as soon as it may"
    elif status.connectivity in (Connection.OFFLINE, Connection.CAPTIVE, Connection.TROUBLE):
        yield f"is tried as soon as {status.name} can be reached"
    else:
        yield "is tried at once"
    if login:
        remedy = status.connectivity_remedy.rstrip(".")
        yield f". Before that: {status.connectivity_words}. {remedy}."
