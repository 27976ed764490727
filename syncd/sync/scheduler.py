"""Events -> state -> actions: what to do next for every run. Pure: no clock, file or thread.

Rule: everything that changes a run's state is in `after` and `began`; nothing else does.

    IDLE ──open──▶ OPENING ──Opened──▶ OPEN ──send────▶ SENDING ────Sent─────▶ OPEN
                                       OPEN ──confirm─▶ CONFIRMING ─Confirmed▶ OPEN
                                       OPEN ──close───▶ CLOSING ────Closed───▶ IDLE
    OPENING ──Settled──▶ IDLE, when the server has it all
    OPEN, BLOCKED ──Retry──▶ IDLE, to ask the server anew
    any of them ──Failed──▶ IDLE, or BLOCKED when the run waits for a decision

`Failed` returns a run to where a crash would leave it, so the error path and the crash path are
one. Only `Opened` and `Confirmed`, which carry the server's own count, move what is confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome
from syncd.errors import Leased, Refused, RunRefused, Shortfall, Unreachable, UploadError

RunKey = str


class Phase(StrEnum):
    """Where a run is. The ones in -ING have an action under way."""

    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    SENDING = "sending"
    CONFIRMING = "confirming"
    CLOSING = "closing"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, how often, how long. Times in seconds."""

    open_runs: int = 4  # sessions at once: a process with wandb's SDK each, about 105 MiB
    batch: int = 20_000  # lines sent at once; the next go when the server has confirmed these
    settle: float = 5.0  # a run's count has to stand for so long before it's continued
    confirm_first: float = 1.25  # after a send, to the first question
    confirm_most: float = 8.0  # between questions while the count stands still
    answer: float = 15.0  # until a server that says nothing counts as unreachable
    stall: float = 60.0  # the count stands still while lines wait: the session is dropped
    quiet: float = 120.0  # no news, before the writer's lock is looked at
    linger: float = math.inf  # a session with nothing to do stays open while its writer lives
    takeover: float = 5.0  # between looks at a run that another daemon uploads, in case it dies
    backoff_first: float = 1.0
    backoff_most: float = 300.0
    probe_every: float = 60.0  # between looks at a server that was reachable


@dataclass(frozen=True, slots=True)
class Run:
    """What the scheduler knows of a run."""

    phase: Phase = Phase.IDLE
    size: int = 0  # bytes of the file
    seen: int = 0  # bytes that a read has looked at: beyond is news
    confirmed: Position = field(default_factory=Position)
    sent: Position = field(default_factory=Position)
    outcome: Outcome | None = None  # how the run ended, as far as the file tells
    ended: bool = False  # the server knows the outcome
    failures: int = 0  # in a row
    retry_at: float = 0.0
    news_at: float = 0.0  # when the file last grew
    checked_at: float = 0.0  # when the writer's lock was last looked at
    progress_at: float = 0.0  # when lines were last sent, or the count moved
    confirm_at: float = 0.0
    confirm_wait: float = 0.0
    error: UploadError | None = None


@dataclass(frozen=True, slots=True)
class Dirty:
    """The file has this size now."""

    size: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A session is open; the server holds the lines before `at`."""

    at: Position


@dataclass(frozen=True, slots=True)
class Settled:
    """The server holds all lines, which end at `at`, and knows how the run ended."""

    at: Position


@dataclass(frozen=True, slots=True)
class Sent:
    """The lines before `upto` are with the session; `seen` bytes of the file were looked at.
    outcome: of the `end` record, where that was the last line."""

    upto: Position
    seen: int
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The server holds the lines before `at`."""

    at: Position


@dataclass(frozen=True, slots=True)
class Checked:
    """The writer lives (no outcome), or died without an `end` record."""

    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is closed; ended: the server was told the outcome."""

    ended: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The action failed, and the session with it."""

    error: UploadError


@dataclass(frozen=True, slots=True)
class Retry:
    """Somebody asked to try now, and to believe nothing but the server."""


Event = Dirty | Opened | Settled | Sent | Confirmed | Checked | Closed | Failed | Retry


class Do(StrEnum):
    """What can be done with a run. Each, once performed, yields exactly one event."""

    OPEN = "open"
    SEND = "send"
    CONFIRM = "confirm"
    CHECK = "check"
    CLOSE = "close"
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Action:
    """Do this with that run. outcome: what a close tells the server; None parks the run."""

    do: Do
    key: RunKey
    outcome: Outcome | None = None


_BEGINS: Final = {
    Do.OPEN: (Phase.IDLE, Phase.OPENING),
    Do.SEND: (Phase.OPEN, Phase.SENDING),
    Do.CONFIRM: (Phase.OPEN, Phase.CONFIRMING),
    Do.CLOSE: (Phase.OPEN, Phase.CLOSING),
    Do.ABANDON: (Phase.OPEN, Phase.CLOSING),
}

_EXPECTED: Final = {  # event -> the phases in which it may come
    Opened: {Phase.OPENING},
    Settled: {Phase.OPENING},
    Sent: {Phase.SENDING},
    Confirmed: {Phase.CONFIRMING},
    Checked: {Phase.IDLE, Phase.OPEN},
    Closed: {Phase.CLOSING},
    Failed: {Phase.OPENING, Phase.SENDING, Phase.CONFIRMING, Phase.CLOSING},
    Retry: set(Phase),
    Dirty: set(Phase),
}


class IllegalEvent(Exception):
    """An event or action that can't come in this phase: a bug in whoever sent it."""


def began(run: Run, action: Action) -> Run:
    """The run, once the action is under way. A check is done at once and changes nothing."""
    if action.do is Do.CHECK:
        return run
    before, during = _BEGINS[action.do]
    if run.phase is not before:
        raise IllegalEvent(f"{action.do} while {run.phase}")
    return replace(run, phase=during)


def after(run: Run, event: Event, now: float, jitter: float, limits: Limits) -> Run:
    """The transition table. jitter: 0 to 1, the share of the longest backoff that is waited.

    Raises IllegalEvent, and changes nothing, for an event that can't come now.
    """
    if run.phase not in _EXPECTED[type(event)]:
        raise IllegalEvent(f"{event} while {run.phase}")
    match event:
        case Dirty(size):
            # A file that became smaller is for the next read to judge
            return replace(run, size=size, news_at=now) if size != run.size else run
        case Opened(at):
            return replace(
                run, phase=Phase.OPEN, confirmed=at, sent=at, seen=at.offset, progress_at=now,
                confirm_wait=limits.confirm_first,
            )  # fmt: skip
        case Settled(at):
            return replace(
                run, phase=Phase.IDLE, confirmed=at, sent=at, seen=at.offset, ended=True,
                failures=0, error=None,
            )  # fmt: skip
        case Sent(upto, seen, outcome):
            return _after_sent(run, upto, seen, outcome, now, limits)
        case Confirmed(at):
            return _after_confirmed(run, at, now, limits)
        case Checked(outcome):
            return replace(run, outcome=outcome, checked_at=now)
        case Closed(ended):
            return replace(run, phase=Phase.IDLE, ended=ended or run.ended, failures=0, error=None)
        case Failed(error):
            return _after_failed(run, error, now, jitter, limits)
        case Retry():
            run = replace(run, failures=0, retry_at=now, error=None)
            if run.phase not in (Phase.IDLE, Phase.OPEN, Phase.BLOCKED):  # something is under way
                return run
            return replace(run, phase=Phase.IDLE, sent=run.confirmed, seen=0)


def _after_sent(
    run: Run, upto: Position, seen: int, outcome: Outcome | None, now: float, limits: Limits
) -> Run:
    sent_any = upto > run.sent
    return replace(
        run,
        phase=Phase.OPEN,
        sent=upto,
        seen=seen,
        outcome=outcome if sent_any else run.outcome,
        ended=run.ended and not sent_any,
        progress_at=now,
        confirm_at=now + limits.confirm_first,
        confirm_wait=limits.confirm_first,
    )


def _after_confirmed(run: Run, at: Position, now: float, limits: Limits) -> Run:
    if at > run.confirmed:
        wait = limits.confirm_first
        run = replace(run, confirmed=at, progress_at=now, failures=0, error=None)
    else:
        wait = min(run.confirm_wait * 2, limits.confirm_most)
    return replace(run, phase=Phase.OPEN, confirm_at=now + wait, confirm_wait=wait)


def _after_failed(run: Run, error: UploadError, now: float, jitter: float, limits: Limits) -> Run:
    failures = run.failures + 1
    wait = error.retry_after or backoff(failures, jitter, limits)
    if isinstance(error, Leased):
        wait = limits.takeover
    if isinstance(error, Shortfall):
        wait = limits.backoff_most
    blocked = isinstance(error, RunRefused) and not isinstance(error, Shortfall)
    return replace(
        run,
        phase=Phase.BLOCKED if blocked else Phase.IDLE,
        sent=run.confirmed,
        seen=run.confirmed.offset,
        failures=failures,
        retry_at=now + wait,
        error=error,
    )


def backoff(failures: int, jitter: float, limits: Limits) -> float:
    """Seconds to wait after so many failures in a row: exponential with full jitter."""
    longest = min(limits.backoff_most, limits.backoff_first * 2 ** min(failures, 20))
    return float(jitter * longest)


def actions(
    runs: Mapping[RunKey, Run], *, online: bool, now: float, limits: Limits
) -> list[Action]:
    """What to do now, in order. Sessions are opened only while the server can be reached."""
    chosen = [action for key, run in runs.items() if (action := _next(key, run, now, limits))]
    opens = [action for action in chosen if action.do is Do.OPEN]
    rest = [action for action in chosen if action.do is not Do.OPEN]
    if not online:
        return rest
    in_use = sum(run.phase not in (Phase.IDLE, Phase.BLOCKED) for run in runs.values())
    room = max(0, limits.open_runs - in_use)
    opens.sort(key=lambda action: runs[action.key].retry_at)
    if len(opens) > room:
        rest += _parked(runs, rest, len(opens) - room)
    return rest + opens[:room]


def wanted(run: Run) -> bool:
    """Whether the run needs a session: lines to send, or an outcome to tell."""
    return run.size != run.seen or (run.outcome is not None and not run.ended)


def _next(key: RunKey, run: Run, now: float, limits: Limits) -> Action | None:
    if run.phase is Phase.IDLE:
        if wanted(run):
            return Action(Do.OPEN, key) if now >= run.retry_at else None
        return _check(key, run, now, limits)
    if run.phase is not Phase.OPEN:
        return None
    unconfirmed = run.sent.ordinal - run.confirmed.ordinal
    if unconfirmed and now - run.progress_at > limits.stall:
        return Action(Do.ABANDON, key)
    if unconfirmed:
        # Nothing more is sent before these are there: a portal that swallowed them with a 200
        # would otherwise leave a gap before the next
        return Action(Do.CONFIRM, key) if now >= run.confirm_at else None
    if run.size != run.seen:
        return Action(Do.SEND, key)
    if run.outcome is not None or run.ended:  # ended without an outcome: crashed, as we said before
        return Action(Do.CLOSE, key, None if run.ended else run.outcome)
    if now - max(run.news_at, run.progress_at) > limits.linger:
        return Action(Do.CLOSE, key)
    return _check(key, run, now, limits)


def _check(key: RunKey, run: Run, now: float, limits: Limits) -> Action | None:
    open_ended = run.outcome is None and not run.ended and run.size > 0
    due = now - max(run.news_at, run.checked_at) > limits.quiet
    return Action(Do.CHECK, key) if open_ended and due else None


def _parked(runs: Mapping[RunKey, Run], busy: list[Action], count: int) -> list[Action]:
    """Sessions with nothing to do give way to runs that wait, the quietest first."""
    taken = {action.key for action in busy}
    idle = [
        key
        for key, run in runs.items()
        if run.phase is Phase.OPEN and key not in taken and run.sent == run.confirmed
    ]
    idle.sort(key=lambda key: runs[key].news_at)
    return [Action(Do.CLOSE, key) for key in idle[:count]]


@dataclass(frozen=True, slots=True)
class Reach:
    """The destination: whether it can be reached, and when to look next.

    suspected: a run says that it can't; the next look tells if that is everybody's trouble or its
    own.
    """

    error: UploadError | None = None
    known: bool = False
    suspected: bool = False
    entity: str = ""
    failures: int = 0
    probe_at: float = 0.0

    @property
    def online(self) -> bool:
        """Whether sessions may be opened."""
        return self.known and self.error is None


def reached(entity: str, now: float, limits: Limits) -> Reach:
    """The server answered, and knows us."""
    return Reach(known=True, entity=entity, probe_at=now + limits.probe_every)


def missed(reach: Reach, error: UploadError, now: float, jitter: float, limits: Limits) -> Reach:
    """The server can't be reached, or refuses us."""
    failures = reach.failures + 1
    wait: float = error.retry_after or backoff(failures, jitter, limits)
    return replace(
        reach, error=error, known=True, suspected=False, failures=failures, probe_at=now + wait
    )


def suspect(reach: Reach, error: UploadError, now: float) -> Reach:
    """A run found the server unreachable, or was refused: look at once, or when it asks to."""
    if not reach.online:
        return reach
    return replace(reach, error=error, suspected=True, probe_at=now + error.retry_after)


def freed(run: Run) -> bool:
    """Whether the run waits for nothing but the server, which is back."""
    return run.phase is Phase.IDLE and isinstance(run.error, Unreachable | Refused)
