"""The boundary to a destination, in prose.

A **Destination** is one account at one server, or one local store. Making one asks nothing and
costs nothing; what is known without asking is its `identity`. Every question has a deadline for
its whole answer and may be asked from any thread. It fails with `Unreachable` (everybody waits),
`Refused` (the user has to act) or another UploadError (this run alone waits).

An **Uploader** carries one run in one session. Lines go in by `send`, in order and without gaps,
the first of them at the count that `open` returned. `send` says nothing about arrival: only
`confirm` does, and what it returns is the server's own count of history lines, never the
sender's. Line n of the file is history line n at the server, with `_step` n; sending a line again
replaces it by its equal, so a session may begin anew at any confirmed count.

Any method may raise an UploadError. After its first error an uploader is dead: nothing of it may
be called but `abandon`, and going on means a new uploader. `close` with an outcome tells the
server how the run ended; without one the run is left as it is, to be continued. Neither method
may wait for an unreachable server longer than the timeouts that the uploader was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from karaoke_train.runlog.format import MAX_TAG, Record, RunHeader
from karaoke_train.runlog.secrets import cut
from syncd import memory
from syncd.errors import UploadError

if TYPE_CHECKING:  # `status` sends no line, and would wait for it
    from karaoke_train.runlog.reader import Line
    from syncd.source.lines import Lines
    from syncd.source.media_folder import MediaFolder

Row = Mapping[str, Any]  # a history row, with its `_step`
_DONE: Final = frozenset({"finished"})
_FAILED: Final = frozenset({"failed", "killed"})


class Outcome(NamedTuple):
    """How a run ended: status finished, failed, interrupted or crashed."""

    status: str
    exit_code: int

    @property
    def told(self) -> bool:
        """Whether a server is told: of a crash it learns from the heartbeats that stop."""
        return self.status != "crashed"

    @property
    def code(self) -> int:
        """The exit code that goes with the status; a foreign file may have any."""
        return self.exit_code or (0 if self.status == "finished" else 1)


class RunRef(NamedTuple):
    """A run's name at a destination."""

    entity: str
    project: str
    run_id: str


class Labels(NamedTuple):
    """What people sort runs by. Empty ones leave the server's as they are."""

    tags: tuple[str, ...] = ()
    group: str = ""
    job_type: str = ""
    notes: str = ""

    @classmethod
    def of(cls, header: RunHeader) -> Labels:
        """Those of a run, as its file has them but for secrets in them; a foreign one's tags cut to
        what is a tag."""
        tags = tuple(dict.fromkeys(cut(tag)[:MAX_TAG] for tag in header.tags))
        return cls(tags, cut(header.group), cut(header.job_type), cut(header.notes))

    def __bool__(self) -> bool:
        return bool(self.tags or self.group or self.job_type or self.notes)


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """A run as the server has it. count: history lines; last_step: the highest `_step`, -1
    without history; state: the server's own word."""

    count: int
    last_step: int
    state: str = ""

    def shows(self, outcome: Outcome) -> bool:
        """Whether the server was told this outcome. One that it came to itself, `crashed` when no
        heartbeats came, is nobody's word."""
        if not outcome.told:
            return True
        return self.state in (_DONE if outcome.code == 0 else _FAILED)


@dataclass(frozen=True, slots=True)
class Target:
    """The run at the destination, and where its media are here. known: what the server has of it
    came from this file, as far as a cursor of ours tells. attempt: that of the line before the
    first one that will be sent, from 1 (see `rows.attempt_at`). allowed_keys: of the config, what
    is told though it is named like a secret. header: perhaps a slim one, `whole` then has the rest,
    of `length` bytes: 16 sessions that open at once would hold 16 configs otherwise. since: the
    attempt of the line before line m of the run, and the lines from m to n, for what the server
    knows of the run beside its lines; None where that is surely as new as its count."""

    header: RunHeader
    entity: str
    project: str
    media: MediaFolder
    known: bool = False
    confirmed: int = 0  # lines that the cursor says are there
    attempt: int = 1
    allowed_keys: tuple[str, ...] = ()
    read: Callable[[], RunHeader] | None = None
    length: int = 0
    since: Callable[[int, int], tuple[int, Iterable[Lines]]] | None = None

    @contextmanager
    def whole(self) -> Iterator[RunHeader]:
        """The header with its config, to be let go soon. Raises OSError."""
        with memory.for_lines(self.length):
            yield self.read() if self.read else self.header

    @property
    def ref(self) -> RunRef:
        """The run's name there."""
        return RunRef(self.entity, self.project, self.header.run_id)


class Account(NamedTuple):
    """Who we are at the destination. entity: where runs go to."""

    entity: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a destination without asking it.

    kind: its name in the settings. address: the server's URL, or where the store is. entity: as
    asked for, empty for the account's own. key_source: where the key was found, empty without
    one; login_remedy: what to do then. key_digest: changes with the key, and tells nothing of it.
    """

    kind: str
    address: str
    entity: str = ""
    key_source: str = ""
    needs_key: bool = True  # a store on this machine asks nobody who they are
    name: str = "the server"  # what people are told of it by
    place: str = "on the server"  # where records are once they are there
    activity: str = "uploading"  # what is done until then
    nothing: str = "There is nothing to upload"
    has_table: bool = True  # whether a run's page shows its epoch summaries as a table
    key_from_environment: bool = False  # of this shell, which a service does not see
    login_remedy: str = ""
    warning: str = ""  # a key that others on this machine can read, say
    key_digest: str = field(default="", repr=False)


def legible(address: str) -> str:
    """A destination's address as people read it: a local store's is a path."""
    parts = urlsplit(address)
    return unquote(parts.path) if parts.scheme == "file" else address


class Finding(NamedTuple):
    """One thing that `doctor` saw. check: a stable name; level: ok, warning or error; remedy:
    empty when there's nothing to do."""

    check: str
    level: str
    what: str
    remedy: str = ""


class Uploader(Protocol):
    """One run, one session. See the module's text for the contract."""

    @property
    def ahead(self) -> int:
        """Lines that may be sent beyond the last confirmed one: 0 where only the count shows that
        lines arrived at all."""

    @property
    def most(self) -> int:
        """Lines that one `send` may have at most."""

    @property
    def stopped(self) -> bool:
        """Whether the server said that somebody pressed Stop on the run's page. Its trainer can't
        be told from here: its records go on being sent."""

    def open(self) -> int:
        """Begin. Returns the server's history line count, where `send` has to begin."""

    def send(self, lines: Lines) -> Sequence[Line]:
        """Hand over the next lines. Says nothing about their arrival. Returns those of them that
        say more than a step's metrics, slim: bad and blank ones, and records that are neither
        train nor val."""

    @property
    def files(self) -> int:
        """The pictures and sounds of lines that were sent which `bring` has yet to take there: none
        where they go with the lines, or in a process of their own."""

    def bring(self) -> None:
        """Take these files there, which may take as long as a store of files likes: no line waits
        for it. Those that a session did not bring are brought by the `close` of a later one."""

    @property
    def rewinds(self) -> bool:
        """Whether it can go back to a line. Where it can't, `Destination.mend` has the run's next
        session be one that can."""

    def rewind(self, ordinal: int, attempt: int) -> None:
        """Go back: the next `send` begins with line `ordinal`, and all up to the newest one are to
        follow. attempt: of the line before it."""

    def pause(self) -> float:
        """Seconds until the next lines are welcome."""

    def confirm(self) -> int:
        """The server's history line count now."""

    def stalled(self, first: int, sent: int) -> UploadError:
        """What it means that the server's count stays at `first`, with `sent` lines sent. May ask
        the server, and raise what comes of that."""

    def close(
        self, outcome: Outcome | None, epochs: Iterable[Record], media: Iterable[Line] = ()
    ) -> None:
        """End the session. With an outcome, end the run too: its epoch summaries become its table,
        the pictures and sounds that its media lines name are at the server, and the server shows
        how the run ended; or it's an error. media: may be gone through again and again."""

    def abandon(self) -> None:
        """Drop the session as a crash would, within seconds. Never raises."""


class Destination(Protocol):
    """One account at one server, or a local store. See the module's text for the contract."""

    @property
    def identity(self) -> Identity:
        """What is known without asking."""

    @property
    def max_sessions(self) -> int:
        """Uploaders that may be open at once, by what is known of the destination now."""

    @property
    def counts(self) -> bool:
        """Whether its count of lines is what confirms them. Where it isn't, the destination's own
        answers do, and its count says nothing."""

    @property
    def counts_at_once(self) -> bool:
        """Whether its count has lines as soon as they were sent, so that nothing is gained by
        asking later."""

    @property
    def lane(self) -> str:
        """How lines go there, and why so, for people; empty where there is but one way."""

    def account(self) -> Account:
        """Who we are there."""

    def remote_run(self, run: RunRef) -> RemoteRun | None:
        """The run as the server has it now; None when it has none of that name."""

    def heartbeat(self, run: RunRef) -> str:
        """When the run's last sign of life came, in the destination's own words: where they change,
        somebody writes to it. Empty where it has none."""

    def uploader(self, target: Target) -> Uploader:
        """A new session for the run, not yet open."""

    def pause(self, seconds: float) -> None:
        """Wait. Raises Unreachable at once when the destination is closed."""

    def steps(self, run: RunRef) -> int | None:
        """How many of its history rows have a `_step`; None where that can't be asked."""

    def rows(self, run: RunRef, start: int, stop: int) -> Sequence[Row]:
        """The rows with start <= `_step` < stop that it has: for a few rows, not for a history."""

    def label(self, run: RunRef, labels: Labels) -> bool:
        """Replace those of the run's labels that are given; the run stays as it is otherwise, also
        one that has ended. Whether there is such a run."""

    def mend(self, run: RunRef) -> None:
        """Lines are missing in the run's middle: its next session has to be able to go back."""

    def history(self, run: RunRef) -> Iterator[Row]:
        """The rows of a run, by ascending `_step`, to the last one."""

    def files(self, run: RunRef) -> Collection[str]:
        """The names of the run's files that are there, as the references to pictures and sounds in
        its rows have them, in `path`."""

    def url(self, run: RunRef) -> str:
        """Where a browser shows the run."""

    def checks(self) -> Iterator[Finding]:
        """What could keep records from arriving there, each with its remedy. Never raises an
        UploadError: that is a finding."""

    def close(self) -> None:
        """End all sessions and questions at once; each fails. Nothing may be begun after."""
