"""A destination in memory, as unforgiving as wandb and its SDK are.

An uploader is dead after its first error, as the SDK is: whatever is then called of it but
`abandon` is kept in `FakeServer.violations`, since the session under test would turn a raised
assertion into a failure of the run. So is a gap, a line written over with another one, and a line
sent again that the session saw confirmed.

Lines that were sent arrive at `FakeServer.deliver`, not before: nobody learns of their arrival
but by asking for the count.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.base import Account, Identity, RemoteRun, RunRef
from syncd.destination.refusals import stands_still
from syncd.destination.rows import attempt_at, row
from syncd.errors import ProblemCode, RunRefused, RunTrouble, Unreachable, UploadError
from syncd.source.lines import special_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from karaoke_train.runlog.format import Record
    from karaoke_train.runlog.reader import Line
    from syncd.destination.base import Finding, Labels, Outcome, Row, Target
    from syncd.source.lines import Lines

Fault = Literal[
    "open",  # the session does not open
    "send",  # the server can't be reached while lines are handed over; half of them got through
    "silent",  # this session's lines stop arriving; nobody says so, not even `close`
    "confirm",  # the question for the count fails
    "close",  # everything arrives, and the answer to the close is lost
    "late",  # what a dropped session had on its way arrives while the next one opens
    "stale_count",  # the count lags, the last step doesn't: logged now, lines would be overwritten
    "stale",  # count and last step lag together
]
ENTITY = "team"
URL = "http://127.0.0.1:9"  # nobody listens there
IDENTITY = Identity("wandb", URL, ENTITY, "test", login_remedy="Run `wandb login`")


@dataclass
class FakeRun:
    """A run as the server has it: rows as wandb shows them, records as they were in the file."""

    target: Target
    rows: list[dict[str, Any]] = field(default_factory=list)
    records: list[Record | None] = field(default_factory=list)
    outcome: Outcome | None = None
    epochs: Sequence[Record] = ()
    files: set[str] = field(default_factory=set)
    shown: str = ""  # instead of the state that the outcome comes to
    heartbeat: str = ""

    @property
    def state(self) -> str:
        if self.shown or self.outcome is None:
            return self.shown or "running"
        return "finished" if self.outcome.code == 0 else "failed"


class FakeServer:
    """A Destination: runs, faults that wait to happen, and what was done that may not be."""

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or IDENTITY
        self.runs: dict[str, FakeRun] = {}  # by run_id; one entity, one project per run
        self.down: UploadError | None = None  # every question is answered with this
        self.deleted: set[str] = set()  # run ids that are not taken again
        self.faults: list[Fault] = []  # each happens once, at its first occasion
        self.sessions_at_once = 4
        self.counting = True
        self.rewinding = True  # whether its sessions can go back to a line
        self.stopped = False  # somebody pressed Stop on every run's page
        self.meaning_of_a_stall: Callable[[int, int], UploadError] = stands_still
        self.most = 10**9  # lines that one send may have
        self.ahead = 0  # lines that its sessions may send beyond the last confirmed one
        self.lag = 0  # lines that a stale answer leaves out
        self.violations: list[str] = []
        self.sessions: list[FakeUploader] = []  # those that are open
        self.sent = 0  # lines, counted each time they are sent
        self.late: list[tuple[str, Line, int]] = []
        self.asked: list[RunRef] = []
        self.labelled: dict[RunRef, Labels] = {}

    # --- what the daemon asks ---

    @property
    def max_sessions(self) -> int:
        return self.sessions_at_once

    counts_at_once = False

    @property
    def counts(self) -> bool:
        return self.counting

    @property
    def lane(self) -> str:
        return ""

    def account(self) -> Account:
        if self.down:
            raise self.down
        return Account(ENTITY)

    def remote_run(self, run_ref: RunRef) -> RemoteRun | None:
        if self.down:
            raise self.down
        self.asked.append(run_ref)
        run = self.runs.get(run_ref.run_id)
        if run is None:
            return None
        last = run.rows[-1]["_step"] if run.rows else -1
        state = run.state
        if self.take("stale_count"):
            return RemoteRun(max(0, len(run.rows) - self.lag), last, state)
        if self.take("stale"):
            return RemoteRun(max(0, len(run.rows) - self.lag), max(-1, last - self.lag), state)
        return RemoteRun(len(run.rows), last, state)

    def heartbeat(self, run_ref: RunRef) -> str:
        return self.runs[run_ref.run_id].heartbeat

    def uploader(self, target: Target) -> FakeUploader:
        return FakeUploader(self, target)

    def pause(self, seconds: float) -> None:
        """What is on its way arrives meanwhile."""
        if seconds > 0.0:
            self.deliver()

    def label(self, run_ref: RunRef, labels: Labels) -> bool:
        if self.down:
            raise self.down
        if there := run_ref.run_id in self.runs:
            self.labelled[run_ref] = labels
        return there

    def mend(self, run_ref: RunRef) -> None:
        self.rewinding = True

    def steps(self, run_ref: RunRef) -> int | None:
        return sum(row["_step"] >= 0 for row in self.runs[run_ref.run_id].rows)

    def rows(self, run_ref: RunRef, start: int, stop: int) -> Sequence[Row]:
        return self.runs[run_ref.run_id].rows[start:stop]

    def history(self, run_ref: RunRef) -> Iterator[Row]:
        return iter(self.runs[run_ref.run_id].rows)

    def files(self, run_ref: RunRef) -> set[str]:
        return self.runs[run_ref.run_id].files

    def url(self, run_ref: RunRef) -> str:
        place = f"{run_ref.entity}/{run_ref.project}/runs/{run_ref.run_id}"
        return f"{self.identity.address}/{place}"

    def checks(self) -> Iterator[Finding]:
        return iter(())

    def close(self) -> None:
        """Nothing is held open."""

    # --- what a test does ---

    def count(self, run_id: str) -> int:
        """History lines of the run, in truth."""
        return len(self.runs[run_id].rows) if run_id in self.runs else 0

    def deliver(self, lines: int = 1 << 30) -> None:
        """Let up to so many lines of each session arrive."""
        for session in self.sessions:
            session.deliver(lines)

    def take(self, fault: Fault) -> bool:
        """Whether this fault was waiting; it's used up."""
        if fault in self.faults:
            self.faults.remove(fault)
            return True
        return False

    def delete(self, run_id: str) -> None:
        """As the user's click on delete: the id is refused from now on."""
        del self.runs[run_id]
        self.deleted.add(run_id)

    def lose(self, run_id: str, keep: int) -> None:
        """The server's disk lost the run's end."""
        run = self.runs[run_id]
        del run.rows[keep:], run.records[keep:]

    # --- arrival ---

    def receive(self, run_id: str, line: Line, attempt: int, started: float) -> None:
        run = self.runs.get(run_id)
        if run is None:
            return
        place = line.at.ordinal
        new = {"_step": place, **row(line, started, attempt)}
        if place > len(run.rows):
            self.violations.append(f"{run_id}: a gap before line {place}")
        elif place == len(run.rows):
            run.rows.append(new)
            run.records.append(line.record)
        elif run.rows[place] != new:
            self.violations.append(f"{run_id}: line {place} overwritten with another one")


class FakeUploader:
    """An Uploader over a FakeServer."""

    def __init__(self, server: FakeServer, target: Target) -> None:
        self._server = server
        self._target = target
        self._started = parse_timestamp(target.header.created, 0.0)
        self._run_id = target.header.run_id
        self._attempt = target.attempt
        self._pipe: deque[tuple[Line, int]] = deque()
        self._next = -1  # the ordinal that has to be sent next; -1 before `open`
        self._confirmed = 0
        self._dead = False
        self._silent = False

    def open(self) -> int:
        self._touch("open", opened=False)
        if self._server.down:
            raise self._die(self._server.down)
        if self._server.take("open"):
            raise self._die(RunTrouble("the session does not open"))
        if self._run_id in self._server.deleted:
            raise self._die(RunRefused(ProblemCode.DELETED, "the run was deleted at the server"))
        for run_id, line, attempt in self._server.late:
            self._server.receive(run_id, line, attempt, self._started)
        self._server.late.clear()
        self._next = self._confirmed = self._settled_count()
        with self._target.whole() as header:  # as any uploader: what the file says by now
            self._target = replace(self._target, header=header, read=None)
        run = self._server.runs.setdefault(self._run_id, FakeRun(self._target))
        run.target, run.outcome = self._target, None
        self._server.sessions.append(self)
        return self._next

    def send(self, lines: Lines) -> Sequence[Line]:
        self._touch("send")
        parsed = list(lines)
        self._silent = self._silent or self._server.take("silent")
        failing = self._server.down is not None or self._server.take("send")
        for line in parsed[: len(parsed) // 2] if failing else parsed:
            self._hand_over(line)
        if failing:
            raise self._die(self._server.down or Unreachable("the connection was cut"))
        return special_lines(parsed)

    files = 0

    def bring(self) -> None:
        self._touch("bring")

    @property
    def ahead(self) -> int:
        return self._server.ahead

    @property
    def most(self) -> int:
        return self._server.most

    @property
    def stopped(self) -> bool:
        return self._server.stopped

    def pause(self) -> float:
        return 0.0

    @property
    def rewinds(self) -> bool:
        return self._server.rewinding

    def rewind(self, ordinal: int, attempt: int) -> None:
        assert self.rewinds
        self._next = ordinal

    def stalled(self, first: int, sent: int) -> UploadError:
        self._touch("stalled")
        return self._server.meaning_of_a_stall(first, sent)

    def confirm(self) -> int:
        self._touch("confirm")
        if self._server.down or self._server.take("confirm"):
            raise self._die(self._server.down or RunTrouble("the count can't be had"))
        remote = self._ask()
        count = remote.count if remote else 0
        self._confirmed = max(self._confirmed, count)
        return count

    def close(
        self, outcome: Outcome | None, epochs: Iterable[Record], media: Iterable[Line] = ()
    ) -> None:
        self._touch("close")
        if outcome is None or not outcome.told:
            self.abandon()
            return
        self.deliver(len(self._pipe))
        if run := self._server.runs.get(self._run_id):
            run.outcome, run.epochs = outcome, list(epochs)
        if self._server.take("close"):
            raise self._die(RunTrouble("the close was not answered"))
        self._leave()

    def abandon(self) -> None:
        if self._pipe and not self._silent and self._server.take("late"):
            self._server.late += [(self._run_id, *one) for one in self._pipe]
        self._leave()

    def deliver(self, lines: int) -> None:
        """Up to so many lines arrive."""
        while self._pipe and lines > 0 and not self._silent:
            self._server.receive(self._run_id, *self._pipe.popleft(), self._started)
            lines -= 1

    def _settled_count(self) -> int:
        remote = self._ask()
        if remote and remote.count != remote.last_step + 1:
            raise self._die(RunTrouble(f"the server contradicts itself: {remote}"))
        return remote.count if remote else 0

    def _ask(self) -> RemoteRun | None:
        return self._server.remote_run(self._target.ref)

    def _hand_over(self, line: Line) -> None:
        place = line.at.ordinal
        if place < self._confirmed:
            self._server.violations.append(f"{self._run_id}: line {place} sent, though confirmed")
        elif place != self._next:
            self._server.violations.append(
                f"{self._run_id}: line {place} sent where {self._next} is next"
            )
        self._next = place + 1
        self._server.sent += 1
        self._attempt = attempt_at(line, self._attempt)
        self._pipe.append((line, self._attempt))

    def _touch(self, method: str, *, opened: bool = True) -> None:
        if self._dead or opened is not (self._next >= 0):
            self._server.violations.append(
                f"{self._run_id}: {method} of a dead or unopened session"
            )
            raise RunTrouble("this session is dead")

    def _die(self, error: UploadError) -> UploadError:
        self._dead = True
        return error

    def _leave(self) -> None:
        self._dead = True
        self._pipe.clear()
        if self in self._server.sessions:
            self._server.sessions.remove(self)


class PromptServer:
    """A FakeServer's runs, whose lines arrive when they are sent."""

    def __init__(self, inner: FakeServer) -> None:
        self._inner = inner

    def uploader(self, target: Target) -> FakeUploader:
        return _Prompt(self._inner, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Prompt(FakeUploader):
    def send(self, lines: Lines) -> Sequence[Line]:
        special = super().send(lines)
        self.deliver(len(lines))
        return special
