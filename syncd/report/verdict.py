"""Status -> its first line and what to do, in words; pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from syncd.errors import Exit
from syncd.report.status import RunState, RunStatus, Status, exit_code, spoken
from syncd.settings import BY_DAEMON, BY_FLAG, BY_SERVICE

_NOT_UPLOADED = (RunState.LOCAL, RunState.FORGOTTEN, RunState.COPY, RunState.EMPTY)
# What to do about a daemon that has said nothing for too long
ABOUT_SILENCE: Final = (
    "it hangs or is stopped, or its state folder takes no writes (a full disk?): look at its log, "
    "then karaoke-syncd restart"
)
_NEWS: Final = 60.0  # seconds for which what was seen needs no time


class Verdict(NamedTuple):
    """Whether the data is safe. level: ok, warning or error; rest: what else is to be said, behind
    a semicolon each; advice: what to do."""

    level: str
    head: str
    rest: tuple[str, ...]
    advice: str

    def __str__(self) -> str:
        return "; ".join((self.head, *self.rest))


def verdict(status: Status) -> Verdict:
    """What a status comes to, in words."""
    head, *rest = _parts(status)
    code = exit_code(status)
    level = "ok" if code is Exit.OK and not status.waits and status.runs else "warning"
    if status.silent:
        level, head = "error", f"The daemon has not reported for {spoken(status.silent)}: {head}"
    return Verdict(level, head, tuple(rest), _advice(status, code))


def what_is_wrong(run: RunStatus, destination: str = "") -> str:
    """A run's problem, what it means for the data, and what to do. destination: where there are
    several."""
    of = f"{destination}: " if destination else ""
    seen = f" (first seen {spoken(run.age)} ago)" if run.age > _NEWS else ""
    parts = [f"{of}{run.path}: {run.problem.rstrip('.')}{seen}", run.meaning, run.remedy]
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def _parts(status: Status) -> Iterator[str]:
    """The clauses of the first line, the gravest first."""
    runs = [run for run in status.runs if run.done or run.state not in _NOT_UPLOADED]
    there = sum(run.uploaded for run in runs)
    elsewhere = [run for run in status.remaining if run.state is RunState.ELSEWHERE]
    ending = sum(run.state is RunState.ENDING for run in status.remaining)
    unread = sum(run.state is RunState.UNREADABLE for run in status.remaining)
    troubled = len(status.troubled) - unread
    decisions = len(status.decisions)
    if not status.runs:
        folders = ", ".join(status.log_dirs)
        yield f"No runs in {folders} any more" if status.gone else f"No runs yet in {folders}"
        if status.gone:
            yield f"{some(status.gone, 'run')} {_was(status.gone)} uploaded from there to the end"
        return
    if status.blind:
        yield f"{status.state_dir} can't be read: what is {status.place} isn't known here"
        return
    if not runs and not decisions:
        yield f"There is nothing to upload ({_kept(status)})"
        return
    if status.pending:
        yield f"{some(status.pending, 'record')} {_waits(status.pending)}, safe on disk"
        yield f"{there:,} {_is(there)} {status.place}"
    if decisions:
        yield (
            f"{some(decisions, 'run')} {_waits(decisions)} for your decision"
            if status.pending
            else "A decision of yours is needed"
        )
    if troubled:
        yield f"{some(troubled, 'run')} {_is(troubled)} in trouble"
    if unread:
        yield f"{_unreadable(status)} can't be read: what is in {_it(unread)} isn't known"
    if ending:
        yield f"{_ends(ending)} yet to be told"
    if elsewhere:
        yield (
            f"{some(len(elsewhere), 'run')} {_is(len(elsewhere))} uploaded by another daemon "
            f"({elsewhere[0].holder}): what is {status.place} isn't known here"
        )
    if status.pending:
        return
    if decisions or troubled or unread or ending or elsewhere:
        if there:
            yield f"{some(there, 'record')} {_is(there)} {status.place}"
        return
    live = sum(run.live for run in runs)
    records = "The only record is" if there == 1 else f"All {there:,} records are"
    yield f"{records} {status.place} ({some(len(runs), 'run')})"
    if live:
        yield f"{live:,} still being written"


def _unreadable(status: Status) -> str:
    found = [run.path for run in status.runs if run.state is RunState.UNREADABLE]
    return found[0] if len(found) == 1 else f"{len(found):,} files or folders"


def _kept(status: Status) -> str:
    """The runs of which nothing is to be uploaded, by why."""
    words = {RunState.LOCAL: "kept local", RunState.FORGOTTEN: "forgotten", RunState.EMPTY: "empty"}
    counts = {state: sum(run.state is state for run in status.runs) for state in words}
    return ", ".join(f"{count:,} {words[state]}" for state, count in counts.items() if count)


def _advice(status: Status, code: Exit) -> str:
    if code is Exit.SILENT:
        return ABOUT_SILENCE
    if code is Exit.ELSEWHERE:
        return (
            f"the daemon uploads to {status.elsewhere}: restart it from this shell "
            f"(karaoke-syncd restart), or once: karaoke-syncd sync {_flags(status)}"
        )
    if code is Exit.LOGIN:
        return f"{status.connectivity_remedy}. Then: {_upload_command(status)}"
    if code is Exit.DECISION:
        return _about(
            status.decisions, "decide about the runs under “What is wrong”; each says how"
        )
    if code is Exit.NOT_RUNNING:
        return _watch_command(status) if status.running else _upload_command(status)
    if code is Exit.OFFLINE:
        if status.connectivity_remedy:
            return f"{status.connectivity_remedy}; the records then go up by themselves"
        return f"nothing to do: the records go up as soon as {status.name} can be reached"
    if code is Exit.TROUBLE:
        causes = [
            run for run in status.troubled if not status.blind or run.path == status.state_dir
        ]
        return _about(causes, "see “What is wrong”: each says what becomes of it")
    if status.waits:
        by = "" if status.running else next(f" by {r.holder}" for r in status.runs if r.holder)
        return f"nothing to do: the records are being uploaded{by}"
    return "nothing to do"


def _about(runs: Sequence[RunStatus], otherwise: str) -> str:
    """What to do about these runs; of a single one, what it says itself."""
    if len(runs) != 1:
        return otherwise
    (run,) = runs
    if run.decision and not run.remedy:
        return otherwise
    return f"{run.label}: {run.remedy or 'nothing to do, it is tried again by itself'}"


def _upload_command(status: Status) -> str:
    flags = _flags(status)
    if status.running:
        return f"nothing more, the daemon goes on by itself (or karaoke-syncd sync {flags})"
    start = "service restart" if status.service else f"start {flags}"
    return f"karaoke-syncd sync {flags}   (once), or karaoke-syncd {start}   (keeps at it)"


def _watch_command(status: Status) -> str:
    """For a daemon that runs, and leaves out folders."""
    left_out = [folder for folder in status.log_dirs if folder in status.unwatched]
    once = _flags(status, left_out or status.log_dirs)
    return (
        f"karaoke-syncd sync {once}   (once), or karaoke-syncd restart "
        f"{_flags(status)}   (with these folders)"
    )


def _flags(status: Status, folders: Sequence[str] = ()) -> str:
    """That name these of its folders, or all, and where records go, if the next command would not
    know that by itself."""
    words = [f"--log_dir {shlex.quote(folder)}" for folder in folders or status.log_dirs]
    words += ["--recursive"] if status.recursive else []
    entity = status.entity if status.needs_key else ""
    given = {"project": status.project, "entity": entity, "destinations": status.destination}
    for name, value in given.items():
        if status.origin.get(name) in (BY_FLAG, BY_DAEMON, BY_SERVICE) and value:
            words.append(f"--{name.removesuffix('s')} {shlex.quote(value)}")
    return " ".join(words)


def some(count: int, what: str) -> str:
    """So many of them, in words."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _ends(count: int) -> str:
    return "1 run's end is" if count == 1 else f"{count:,} runs' ends are"


def _waits(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _it(count: int) -> str:
    return "it" if count == 1 else "them"
