"""Events -> state -> action: what to do next for a run. Pure: no clock, file or thread.

Rule: `TRANSITIONS` says where a run may go, `start` and `transition` take it there, and nothing
else in the program changes a run. What the table does not list raises and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome
from syncd.errors import (
    Leased,
    NotCounted,
    Refused,
    RemoteLostRecords,
    RunRefused,
    Unreachable,
    UploadError,
)
from syncd.settings import Limits

RunKey = str
_FEW: Final = 10  # times fewer than may be on their way: a live run's
_LOOKED_AT_AGAIN: Final = (RemoteLostRecords, NotCounted)  # a late count looks the same


class Phase(StrEnum):
    """Where a run is. The ones in -ING have an action under way, and take no other: a run is
    never in two hands, so its session needs no lock."""

    IDLE = "idle"  # no session; also where every run begins, and where a crash would leave it
    OPENING = "opening"
    OPEN = "open"  # a session, and nothing under way
    SENDING = "sending"
    BRINGING = "bringing"
    CONFIRMING = "confirming"
    CLOSING = "closing"
    BLOCKED = "blocked"  # no session, and none until a person has decided


class ActionKind(StrEnum):
    """What can be done with a run. Each, once performed, yields exactly one event."""

    OPEN = "open"  # take the lease, ask the server for its count, begin there
    SEND = "send"  # hand over the next lines
    BRING = "bring"  # take the files there that lines of this session are about
    CONFIRM = "confirm"  # ask the server's count
    CHECK = "check"  # look at the writer's lock, the run's sign of life
    CLOSE = "close"  # end the session, and with an outcome the run
    ABANDON = "abandon"  # drop a session whose lines don't arrive


@dataclass(frozen=True, slots=True)
class FileSize:
    """The file has this size now."""

    size: int  # bytes; smaller than before where somebody truncated or replaced the file


@dataclass(frozen=True, slots=True)
class Opened:
    """A session is open; the server holds the lines before `at`. ahead, base: see `Run`. outcome:
    of the `end` record, where that is the last of these lines."""

    at: Position
    ahead: int = 0
    outcome: Outcome | None = None
    base: int = 0


@dataclass(frozen=True, slots=True)
class AlreadyComplete:
    """The server holds all lines, which end at `at`, and knows how the run ended, or has a later
    part of the run behind them. base: see `Run`. scanned_to: bytes of the file that were looked at,
    where a torn line follows. look_in: see `Closed`."""

    at: Position
    base: int = 0
    scanned_to: int = 0
    look_in: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """The lines before `upto` are with the session; `scanned_to` bytes of the file were looked at.
    outcome: of the `end` record, where that was the last line. pause: seconds until the next lines
    are welcome. files: see `Run`."""

    upto: Position
    scanned_to: int  # beyond `upto.offset` where the file ends in a torn line
    outcome: Outcome | None = None
    pause: float = 0.0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Brought:
    """The files are there. pause: seconds until the next lines are welcome."""

    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The server holds the lines before `at`. ahead: see `Run`."""

    at: Position
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """The writer lives (no outcome), or died without an `end` record."""

    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is closed; ended: the server was told the outcome. look_in: seconds until it is
    asked whether it still shows it, where it may not; 0.0 for never."""

    ended: bool
    look_in: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The action failed, and the session with it. It is tried again by itself."""

    error: UploadError


@dataclass(frozen=True, slots=True)
class Blocked:
    """The action failed, the session with it, and the run waits for a decision."""

    error: RunRefused


# A user's decision and a server that is back are one event: both mean that what was believed
# about the run may be wrong by now.
@dataclass(frozen=True, slots=True)
class Retry:
    """Somebody asked to try now, and to believe nothing but the server."""


@dataclass(frozen=True, slots=True)
class StartOver:
    """Runs go to another account than was thought: what is known of the run there."""

    known: Run


Event = (
    FileSize
    | Opened
    | AlreadyComplete
    | Sent
    | Brought
    | Confirmed
    | Checked
    | Closed
    | Failed
    | Blocked
    | Retry
    | StartOver
)

TRANSITIONS: Final[Mapping[tuple[Phase, ActionKind | type[Event]], Phase]] = {
    # One session, from its start to its end. Only `Opened`, `AlreadyComplete` and `Confirmed`
    # carry the server's own count, and so only they move what is confirmed.
    (Phase.IDLE, ActionKind.OPEN): Phase.OPENING,
    (Phase.OPENING, Opened): Phase.OPEN,
    (Phase.OPENING, AlreadyComplete): Phase.IDLE,
    (Phase.OPEN, ActionKind.SEND): Phase.SENDING,
    (Phase.SENDING, Sent): Phase.OPEN,
    (Phase.OPEN, ActionKind.BRING): Phase.BRINGING,
    (Phase.BRINGING, Brought): Phase.OPEN,
    (Phase.OPEN, ActionKind.CONFIRM): Phase.CONFIRMING,
    (Phase.CONFIRMING, Confirmed): Phase.OPEN,
    (Phase.OPEN, ActionKind.CLOSE): Phase.CLOSING,
    (Phase.OPEN, ActionKind.ABANDON): Phase.CLOSING,
    (Phase.CLOSING, Closed): Phase.IDLE,
    # A failure leaves what a crash would: the run is idle, and whatever was sent and not
    # confirmed counts as not sent. Error and crash are one path, so that the one that is hard to
    # try in a test is tried all the time (litestream zeroes its position on any error likewise).
    (Phase.OPENING, Failed): Phase.IDLE,
    (Phase.SENDING, Failed): Phase.IDLE,
    (Phase.BRINGING, Failed): Phase.IDLE,
    (Phase.CONFIRMING, Failed): Phase.IDLE,
    (Phase.CLOSING, Failed): Phase.IDLE,
    # The same, but trying again by itself would do harm or is known to fail.
    (Phase.OPENING, Blocked): Phase.BLOCKED,
    (Phase.SENDING, Blocked): Phase.BLOCKED,
    (Phase.BRINGING, Blocked): Phase.BLOCKED,
    (Phase.CONFIRMING, Blocked): Phase.BLOCKED,
    (Phase.CLOSING, Blocked): Phase.BLOCKED,
    # A user's `retry`, or a server that is back. An action that is under way ends first; its
    # event then finds a run that may be opened again at once.
    (Phase.IDLE, Retry): Phase.IDLE,
    (Phase.OPEN, Retry): Phase.IDLE,
    (Phase.BLOCKED, Retry): Phase.IDLE,
    (Phase.OPENING, Retry): Phase.OPENING,
    (Phase.SENDING, Retry): Phase.SENDING,
    (Phase.BRINGING, Retry): Phase.BRINGING,
    (Phase.CONFIRMING, Retry): Phase.CONFIRMING,
    (Phase.CLOSING, Retry): Phase.CLOSING,
    # Looks that move nothing. The lock is looked at between actions alone: an answer that came
    # during one would speak of a file that has grown since.
    (Phase.IDLE, ActionKind.CHECK): Phase.IDLE,
    (Phase.OPEN, ActionKind.CHECK): Phase.OPEN,
    (Phase.IDLE, Checked): Phase.IDLE,
    (Phase.OPEN, Checked): Phase.OPEN,
    (Phase.IDLE, StartOver): Phase.IDLE,
    **{(phase, FileSize): phase for phase in Phase},  # files grow whatever we do
}


class IllegalEvent(Exception):
    """An event or action that can't come in this phase: a bug in whoever sent it."""


class Run(NamedTuple):
    """What the scheduler knows of a run. Times are the loop's monotonic clock, in seconds."""

    # A tuple, as each record of a live run makes five new ones: a dataclass takes three times as
    # long for one that differs in a field

    phase: Phase = Phase.IDLE
    size: int = 0  # bytes of the file
    # Bytes that a read has looked at: beyond is news. Not the same as `sent`: a torn tail was
    # looked at, and is nothing to send; were it news, it would be read again at every tick.
    scanned_to: int = 0
    # Two positions and never one. `sent` is a sender's word, which wandb's SDK was seen to give
    # for 20 of 60 records that never arrived; only `confirmed` is ever remembered or shown.
    confirmed: Position = Position()
    sent: Position = Position()
    base: int = 0  # the line of the run that the file's first line is: 0, but for later parts
    # Two facts, and either may be there without the other: a file can end before the server is
    # told, and a crashed run that was told about can be resumed.
    outcome: Outcome | None = None  # how the run ended, as far as the file tells
    ended: bool = False  # the server knows the outcome
    look_at: float = math.inf  # when it is asked whether it still does
    failures: int = 0  # in a row
    retry_at: float = 0.0
    waits_since: float = 0.0  # when it came to need a session that it has not
    opened_at: float = 0.0  # when its session was opened
    opened_for: int = 0  # bytes that the file had then
    grown_at: float = 0.0  # when the file last grew
    # The same, once it was found with something in it: what has just been found may be a year old
    grew_at: float = -math.inf
    checked_at: float = 0.0  # when the writer's lock was last looked at
    progress_at: float = 0.0  # when lines were last sent, or the count moved
    # Lines that may be sent beyond the last confirmed one. None where only the count can show that
    # lines arrived at all; many where each post has an answer of its own.
    ahead: int = 0
    # Pictures and sounds that lines of the session are about, and that are yet to be brought. Those
    # of a session that fails are brought with the run's end, which looks for all that are missing
    files: int = 0
    send_at: float = 0.0  # before, the server wants no more lines of this run
    confirm_at: float = 0.0  # when the count is asked next
    confirm_wait: float = 0.0  # between that and the question before it
    error: UploadError | None = None

    @property
    def records(self) -> int:
        """Records of the file that the server holds."""
        return max(0, self.confirmed.ordinal - self.base)


@dataclass(frozen=True, slots=True)
class Action:
    """Do this with that run. outcome: what a close tells the server; None parks the run."""

    kind: ActionKind
    key: RunKey
    outcome: Outcome | None = None


def start(run: Run, action: Action) -> Run:
    """The run, once the action is under way. Raises IllegalEvent, and changes nothing."""
    # Before the work begins, not when it ends: the next tick must not begin it a second time
    return run._replace(phase=_next_phase(run, action.kind))


def transition(run: Run, event: Event, now: float, jitter: float, limits: Limits) -> Run:
    """The run, once the event has come. jitter: 0 to 1, the share of the longest backoff that is
    waited. Raises IllegalEvent, and changes nothing, for an event that can't come now."""
    phase = _next_phase(run, type(event))
    after = _fields_after(run, event, phase, now, jitter, limits)
    if after.phase is phase:
        return after
    kept = after.files if phase not in (Phase.IDLE, Phase.BLOCKED) else 0
    return after._replace(phase=phase, files=kept)


def _next_phase(run: Run, trigger: ActionKind | type[Event]) -> Phase:
    phase = TRANSITIONS.get((run.phase, trigger))
    if phase is None:
        name = trigger if isinstance(trigger, ActionKind) else trigger.__name__
        raise IllegalEvent(f"{name} while {run.phase}")
    return phase


def _fields_after(
    run: Run, event: Event, phase: Phase, now: float, jitter: float, limits: Limits
) -> Run:
    """What the event changes beside the phase, which the table decides."""
    match event:
        case FileSize(size):
            if size == run.size:
                return run
            # Whoever waits already keeps its place. A file that became smaller is for the next
            # read to judge
            since = run.waits_since if needs_session(run) else now
            grew_at = now if run.size else run.grew_at
            return run._replace(size=size, grown_at=now, grew_at=grew_at, waits_since=since)
        case Opened(at, ahead, outcome, base):
            # Back to the server's count, whatever was believed: behind `confirmed` where the
            # server lost lines, before it where an earlier session's lines still arrived
            return run._replace(
                confirmed=at, sent=at, base=base, scanned_to=at.offset, progress_at=now,
                confirm_wait=limits.confirm_first, ahead=ahead, send_at=now,
                opened_at=now, opened_for=run.size, outcome=outcome or run.outcome,
                ended=False,  # a session shows the run as running, whatever was told before
                look_at=math.inf,
            )  # fmt: skip
        case AlreadyComplete(at, base, scanned_to, look_in):
            # A torn tail counts as looked at: the run would be opened for it again and again
            return run._replace(
                confirmed=at, sent=at, base=base, scanned_to=max(at.offset, scanned_to),
                ended=True, look_at=_look_at(now, look_in), failures=0, error=None,
            )  # fmt: skip
        case Sent():
            return _after_sent(run, event, now, limits)
        case Brought(pause):
            return run._replace(files=0, send_at=now + pause)
        case Confirmed(at, ahead):
            return _after_confirmed(run, at, now, limits)._replace(ahead=ahead)
        case Checked(outcome):
            # checked_at, not grown_at: the look itself is no sign of life of the writer
            return run._replace(outcome=outcome, checked_at=now)
        case Closed(ended, look_in):
            # A parked run (closed without an outcome) that had ended before has still ended
            ended = ended or run.ended
            return run._replace(
                ended=ended, look_at=_look_at(now, look_in), failures=0, error=None,
                waits_since=now,
            )  # fmt: skip
        case Failed(error) | Blocked(error):
            return _after_failed(run, error, now, jitter, limits)
        case Retry():
            run = run._replace(failures=0, retry_at=now, error=None)
            # scanned_to 0: a run that seems done needs a session again, which asks the server
            return run._replace(sent=run.confirmed, scanned_to=0) if phase is Phase.IDLE else run
        case StartOver(known):
            return known._replace(size=run.size)


def _look_at(now: float, look_in: float) -> float:
    return now + look_in if look_in else math.inf


def _after_sent(run: Run, event: Sent, now: float, limits: Limits) -> Run:
    # Where lines may run ahead, the clocks of the first ones that are not confirmed go on: with
    # each send beginning them anew, a server that counts nothing would never be found out
    running = run.ahead > 0 and run.sent > run.confirmed
    ends = event.outcome is not None
    # The first question comes when the SDK's own interval has passed: earlier ones are in vain
    confirm_at = now + (limits.confirm_lazy if run.ahead and not ends else limits.confirm_first)
    if running:
        confirm_at = min(run.confirm_at, confirm_at) if ends else run.confirm_at
    sent_any = event.upto > run.sent  # a look at a torn tail sends nothing, and takes nothing back
    return run._replace(
        sent=event.upto,
        scanned_to=event.scanned_to,
        outcome=event.outcome if sent_any else run.outcome,
        ended=run.ended and not sent_any,  # a line after the end: somebody resumed the run
        progress_at=run.progress_at if running else now,
        send_at=now + event.pause,
        files=event.files,
        confirm_at=confirm_at,
        confirm_wait=limits.confirm_first,
    )


def _after_confirmed(run: Run, at: Position, now: float, limits: Limits) -> Run:
    if at > run.confirmed:  # progress forgives earlier failures: the way there is open
        run = run._replace(confirmed=at, progress_at=now, failures=0, error=None)
        # Counts lag, so a live run always has newer lines on their way: asked soon again, it would
        # be asked for each of them. A backlog soon has as many as there may be
        few = run.outcome is None and run.sent.ordinal - at.ordinal < run.ahead // _FEW
        wait = limits.confirm_live if few else limits.confirm_first
    else:  # W&B's counts were seen to lag 2 to 4 s: asking faster brings load, no news
        # from no wait at all, where a count has lines at once, it goes on with a second
        wait = min(run.confirm_wait * 2 or 1.0, limits.confirm_most)
    return run._replace(confirm_at=now + wait, confirm_wait=wait)


def _after_failed(run: Run, error: UploadError, now: float, jitter: float, limits: Limits) -> Run:
    failures = run.failures + 1
    # A server that names a time knows better than our guess, and may count early ones against us
    wait = error.retry_after or backoff(failures, jitter, limits)
    if isinstance(error, Leased):  # the other daemon may die at any time, and nobody says so
        wait = limits.takeover
    if isinstance(error, _LOOKED_AT_AGAIN):  # a look now and then shows if it was only late
        wait = limits.backoff_most
    return run._replace(
        # What was on its way counts as lost; if it arrives all the same, the next session finds
        # it in the server's count and begins behind it
        sent=run.confirmed,
        # Less where a `retry` is under way: that a run seems done was not to be believed
        scanned_to=min(run.scanned_to, run.confirmed.offset),
        failures=failures,
        retry_at=now + wait,
        waits_since=now + wait,
        error=error,
    )


def failure(error: UploadError) -> Failed | Blocked:
    """The event of an action that failed: only a run that was refused waits for a decision. One
    whose records the server lost is looked at again by itself, since a late count looks the same.
    """
    if isinstance(error, RunRefused) and not isinstance(error, _LOOKED_AT_AGAIN):
        return Blocked(error)
    return Failed(error)


def backoff(failures: int, jitter: float, limits: Limits) -> float:
    """Seconds to wait after so many failures in a row: exponential with full jitter.

    Full jitter, since a thousand trainers that lost one switch at the same moment would otherwise
    come back at the same moments as well (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    # 2 ** 20 s are twelve days: enough for any limit, and no overflow after a year offline
    longest = min(limits.backoff_most, limits.backoff_first * 2 ** min(failures, 20))
    return float(jitter * longest)


def needs_session(run: Run) -> bool:
    """Whether the run has lines to send, or an outcome to tell."""
    return run.size != run.scanned_to or (run.outcome is not None and not run.ended)


def asleep(run: Run) -> bool:
    """Whether nothing will be done for the run, however late it gets, until an event comes: it is
    uploaded and ended, or has nothing yet."""
    # Nearly all runs of a folder are, and looking at each of 10,000 ten times per second took a
    # core's fiftieth. Blocked ones are not, though nothing is due for them: there are few
    idle = run.phase is Phase.IDLE and not needs_session(run) and run.look_at == math.inf
    return idle and (run.ended or not run.size)


def due_at(run: Run, limits: Limits) -> float:
    """When something is due for the run at the earliest, unless an event comes before."""
    # Nothing is for nearly all runs at nearly all ticks, and to find that out for each of 256 live
    # ones took a tenth of the daemon's time
    if run.phase is Phase.IDLE:
        if needs_session(run):
            return run.retry_at
        return min(_check_at(run, limits), max(run.look_at, run.retry_at))
    if run.phase is not Phase.OPEN:
        return math.inf
    unconfirmed = run.sent.ordinal != run.confirmed.ordinal
    asked_at = min(run.confirm_at, run.progress_at + limits.stall) if unconfirmed else math.inf
    if run.files or has_news(run):
        return min(asked_at, run.send_at)
    if unconfirmed:
        return asked_at
    if run.outcome is not None or run.ended:
        return -math.inf
    idle_at = max(run.grown_at, run.progress_at) + limits.idle_session_timeout
    return min(idle_at, _check_at(run, limits))


def waits_for_server(run: Run) -> bool:
    """Whether the run waits for nothing but the server."""
    return run.phase is Phase.IDLE and isinstance(run.error, Unreachable | Refused)


def next_action(key: RunKey, run: Run, now: float, limits: Limits) -> Action | None:
    """What is to be done for the run now, as far as others leave it room."""
    if run.phase is Phase.IDLE:
        # Nothing new: a finished run costs no session after a restart
        if needs_session(run) or now >= run.look_at:
            return Action(ActionKind.OPEN, key) if now >= run.retry_at else None
        return _check(key, run, now, limits)
    if run.phase is not Phase.OPEN:
        return None
    unconfirmed = run.sent.ordinal - run.confirmed.ordinal
    # Before it is given up: files may have been on their way for longer than a stall takes
    if unconfirmed and now >= run.confirm_at:
        return Action(ActionKind.CONFIRM, key)
    # Measured from the last progress, not from the send: a slow server that takes line by line
    # is no stall, one that answers and counts nothing is (a portal, a server that is full)
    if unconfirmed and now - run.progress_at > limits.stall:
        return Action(ActionKind.ABANDON, key)
    if run.files:
        return Action(ActionKind.BRING, key) if now >= run.send_at else None
    if has_news(run):
        return Action(ActionKind.SEND, key) if now >= run.send_at else None
    if unconfirmed:
        return None
    if run.outcome is not None or run.ended:  # ended without an outcome: crashed, as said before
        return Action(ActionKind.CLOSE, key, None if run.ended else run.outcome)
    if now - max(run.grown_at, run.progress_at) > limits.idle_session_timeout:
        return Action(ActionKind.CLOSE, key)
    return _check(key, run, now, limits)


def has_news(run: Run) -> bool:
    """Whether lines may be sent, as far as those before them allow it."""
    # With `ahead` 0 nothing more is sent before these are there: a portal that swallowed them with
    # a 200 would otherwise leave a gap before the next
    unconfirmed = run.sent.ordinal - run.confirmed.ordinal
    return run.size != run.scanned_to and (not unconfirmed or unconfirmed < run.ahead)


def _check(key: RunKey, run: Run, now: float, limits: Limits) -> Action | None:
    return Action(ActionKind.CHECK, key) if now > _check_at(run, limits) else None


def _check_at(run: Run, limits: Limits) -> float:
    # size 0: a file that is there and has no line yet is a trainer that is starting
    open_ended = run.outcome is None and not run.ended and run.size > 0
    looked_at = max(run.grown_at, run.checked_at)
    return looked_at + limits.writer_check_after if open_ended else math.inf
