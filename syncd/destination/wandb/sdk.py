"""A run's lines to wandb through its own SDK, in a worker process; the count from the server.

What the SDK says of arrival is never believed: it goes on taking rows after a refused request,
and finishes without an error. Only the server says what arrived, by its count and by the rows
themselves: an answer that was none (a captive portal's page) counts as success in the SDK, which
then steps over the lines that are missing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import Final

from karaoke_train.runlog.format import BadRecord, Record, RunHeader
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd import memory
from syncd.destination.base import Labels, Outcome, RemoteRun, Target
from syncd.destination.refusals import (
    contradiction,
    not_counted,
    not_taken,
    out_of_place,
    run_deleted,
    says_deleted,
    stands_still,
    took_a_place,
    without_names,
)
from syncd.destination.rows import attempt_at, epoch_table, row
from syncd.destination.wandb.api import TIMEOUT, Api, Rejected
from syncd.destination.wandb.definitions import run_program, wandb_config
from syncd.destination.wandb.endings import await_end
from syncd.destination.wandb.last_sessions import LastSession, LastSessions
from syncd.destination.wandb.worker import (
    Configure,
    Finish,
    Leave,
    Log,
    Open,
    Request,
    ReuploadMedia,
    Start,
)
from syncd.destination.wandb.worker_pool import NoAnswer, Worker, WorkerFailed, WorkerPool
from syncd.errors import Connection, RunRefused, RunTrouble, Unreachable, UploadError
from syncd.source.lines import Lines, special_lines

STABLE: Final = 5.0  # seconds; counts were seen to lag 2 to 4 s behind what was written
LOOKS: Final = 4  # at a count that moves, before the session waits as after any trouble
# Lines of one send. Handed over within a second they are one request to the file stream or two (the
# SDK posts at the first of them, mostly a summary alone, and the rest a second later): few can
# follow one that was lost, and `confirm` finds those. 2,700 to 5,000 lines per second were taken,
# on a busy machine and an idle one
MOST: Final = 1_000
# For the SDK and wandb-core to start, the first time; more after each time that it was not enough.
# Five minutes at once would be waited for a wandb-core, too, that was killed while it started
STARTS: Final = 60.0
HAND_OVER: Final = 60.0  # to take a chunk of rows; some of them with pictures to read
ANSWERS: Final = 10.0  # beyond what the SDK itself is told to wait, on a busy machine
FINISH: Final = 60.0  # to upload summary, table and media at the end
# in media/images/KEY_STEP_SHA256.png, or without a suffix where the file has none
_MEDIA_ID: Final = re.compile(r"_\d+_[0-9a-f]{20}(?=\.|$)")
# What the SDK's checks of names, and servers, say of one that can't be
_INVALID: Final = re.compile(r"(?i)invalid (project|entity|run)")
# An answer with data of the server's own, such as that there is no such run. Not its status alone:
# a proxy has one, too, and the SDK puts its words in the place of the server's, beside no data
_NOT_TAKEN: Final = re.compile(r'returned error (400|404|409|422): \{"data":\{')
# A page of what is between the server and us; in JSON, Go writes a `<` as \u003c
_PAGE: Final = re.compile(r"(?i)(<|\\u003c)(!doctype|html|head|body|\?xml)")


class WandbSdk:
    """An Uploader (see `destination.base`) over wandb's SDK."""

    def __init__(
        self,
        target: Target,
        api: Api,
        pool: WorkerPool,
        *,
        request_timeout: float = TIMEOUT,
        count_stable_for: float = STABLE,
        last: LastSessions | None = None,
    ) -> None:
        self._target = target
        self._api = api
        self._pool = pool
        self._last = last or LastSessions()
        self._init = 2 * request_timeout  # wandb.init asks two questions in turn
        self._timeout = request_timeout
        self._count_stable_for = count_stable_for
        self._worker: Worker | None = None
        self._started = parse_timestamp(target.header.created, 0.0)
        self._labels = Labels()  # as the server has them once the session is open
        self._attempt = target.attempt  # of the newest line that was made a row
        self._sent = self._confirmed = 0  # lines of the run, once a session is open
        # Whether what the server counts can be read back there, once that was tried
        self._shows_rows: bool | None = None

    @property
    def most(self) -> int:
        """Lines that one send may have: no more than are handed over within a second."""
        return MOST

    def open(self) -> int:
        """Open the run where the server's count is. Raises Contradiction while its answers do not
        agree: logged now, records would be put over others."""
        self._await_stragglers()
        count = self._stable_count()
        self._worker = self._pool.acquire()
        self._last.begin(self._target.ref)
        with self._target.whole() as header:
            self._labels = Labels.of(header)
            request = Open(
                base_url=self._api.login.base_url,
                key=self._api.login.key,
                entity=self._target.entity,
                project=self._target.project,
                run_id=header.run_id,
                run_name=header.run_name,
                config=wandb_config(header, self._target.allowed_keys),
                program=run_program(header),
                # Told with the file's first line alone: what people change on the page is to stay
                labels=Labels() if self._target.confirmed else self._labels,
                timeout=self._init * self._pool.slack,
            )
        self._sent = self._confirmed = count
        self._call(Start(), STARTS)
        starting_step = self._call(request, self._init + ANSWERS)
        # The SDK has asked twice: the step comes from one answer, the place of its lines from the
        # other, which is not shown. It was this count where the count before and after is it, but
        # for an answer from a cache between them: `confirm` and `stalled` find what came of that
        if starting_step != count:
            raise contradiction(f"counts {count}, but lets the run go on at {starting_step}")
        again = self._ask()
        if again is None or not count == again.count == again.last_step + 1:
            raise contradiction(f"counted {count}, and something else since")
        return count

    def _await_stragglers(self) -> None:
        """Wait until nothing of a killed session can still arrive."""
        last = self._last.of(self._target.ref)
        if last is None or last.confirmed:
            return
        remote = self._ask()
        self._pool.pause(last.may_still_arrive(remote.count if remote else 0, self._timeout))

    def _stable_count(self) -> int:
        """The count, once it agrees with the last step and has stood still for a while: the SDK
        puts its lines where one answer of the server says, and that answer may come late."""
        remote = self._ask()
        if remote is None:  # a run that is there without lines may have some on their way
            return 0
        last = self._last.of(self._target.ref)
        still = bool(last and last.orderly and last.lines == remote.count == remote.last_step + 1)
        for _ in range(LOOKS):
            if still:
                return remote.count
            self._pool.pause(self._count_stable_for)
            before, remote = remote, self._ask()
            if remote is None:
                return 0
            still = before.count == remote.count == remote.last_step + 1
        if before.count != remote.count:
            raise contradiction(f"counted {before.count} lines, then {remote.count}")
        raise contradiction(f"counts {remote.count}, its last step is {remote.last_step}")

    def send(self, lines: Lines) -> Sequence[Line]:
        """Hand the lines' rows to the SDK."""
        with memory.for_lines(len(lines.data), len(lines)):
            return self._send(lines)

    def _send(self, lines: Lines) -> Sequence[Line]:
        parsed = list(lines)
        rows = []
        for line in parsed:
            self._attempt = attempt_at(line, self._attempt)
            rows.append((line.at.ordinal, row(line, self._started, self._attempt)))
        self._sent = lines.end.ordinal
        special = special_lines(parsed)
        # Before they are sent: a crash in between has it told again
        for line in special:
            if line.at.offset and line.record and RecordType.of(line.record) is RecordType.CONFIG:
                self._reconfigure(lines.whole(line).record or {})
        self._call(Log(rows, self._target.media), HAND_OVER)
        return special

    files = 0  # the SDK has a thread of its own for them

    def bring(self) -> None:
        """Nothing is left for it."""

    @property
    def ahead(self) -> int:
        """None: the SDK says nothing about arrival."""
        return 0

    @property
    def rewinds(self) -> bool:
        """The SDK puts its lines where the server's count is, and nowhere else."""
        return False

    def rewind(self, ordinal: int, attempt: int) -> None:
        """Not here."""
        raise NotImplementedError

    def stalled(self, first: int, sent: int) -> UploadError:
        """The SDK says nothing of its posts. Where the first of the lines is there all the same,
        it's the server that does not count; where it counts on, lines are missing."""
        remote = self._ask()
        if remote and remote.count > first:
            there = self._steps(max(0, first - 1), first + 1)
            lacks = first - 1 if first in there else first
            return contradiction(f"counts {remote.count}, and does not have line {lacks}")
        if remote and took_a_place(self._api, self._target.ref, remote.count):
            return out_of_place(remote.count)
        if self._api.rows(self._target.ref, first, first + 1):
            return not_counted(first, sent)
        return stands_still(first, sent)

    @property
    def stopped(self) -> bool:
        """Not known: the SDK hands no answer on."""
        return False

    def pause(self) -> float:
        """None: the SDK has a pace of its own."""
        return 0.0

    def confirm(self) -> int:
        """The server's count, as far as its rows have no hole."""
        remote = self._ask()
        count = remote.count if remote else 0
        if self._confirmed < count <= self._sent:
            count = self._without_hole(count)
            self._confirmed = count
        return count

    def _without_hole(self, count: int) -> int:
        """The lines before the first one that is not among the server's rows. A server that shows
        none of them, or answers no such question, is believed its count.

        The last line that was confirmed before is to be there, too. Lines that the SDK put too low
        take the places of earlier ones, and the count grows once they have taken this one's."""
        if self._shows_rows is False:
            return count
        first = max(0, self._confirmed - 1)
        try:
            steps = self._steps(first, count)
        except Unreachable as error:
            if error.kind is not Connection.TROUBLE or self._shows_rows:
                raise
            steps = set()
        if self._shows_rows is None:
            self._shows_rows = bool(steps)
        if not self._shows_rows:
            return count
        whole = next((n for n in range(first, count) if n not in steps), count)
        return max(whole, self._confirmed)

    def _steps(self, start: int, stop: int) -> set[object]:
        return {row.get("_step") for row in self._api.rows(self._target.ref, start, stop)}

    def close(
        self, outcome: Outcome | None, epochs: Iterable[Record], media: Iterable[Line] = ()
    ) -> None:
        """Finish the run. Without an outcome, and after a crash, the session just ends: the
        server then sees no more of it, as it would of any crashed run."""
        if outcome is None:
            self._leave()
            return
        hopeless = self._bring_again(media)
        if not outcome.told:
            deadline = time.monotonic() + FINISH
            while len(self._absent(media)) > hopeless and time.monotonic() < deadline:
                time.sleep(1.0)
            self._insist(media, hopeless)
            self._leave()
            return
        with memory.for_table():
            self._call(Finish(outcome.code, epoch_table(epochs)), FINISH)
        self._insist(media, hopeless)
        await_end(self._api, self._target.ref, outcome)
        self._give_back()

    def _bring_again(self, media: Iterable[Line]) -> int:
        """Have the files uploaded that aren't at the server: the SDK brings them some time after
        their rows, and never if it's killed or refused meanwhile. Returns how many can't be."""
        absent = self._absent(media)
        if not absent:
            return 0
        rows = [(line.at.ordinal, row(line, self._started)) for line in absent]
        return len(absent) - self._call(ReuploadMedia(rows, self._target.media), HAND_OVER)

    def _insist(self, media: Iterable[Line], hopeless: int) -> None:
        if (absent := len(self._absent(media))) > hopeless:
            raise RunTrouble(
                f"{absent - hopeless} of the run's pictures and sounds did not get to the server",
                meaning="All its records did, and the files are safe on disk",
                by_itself="They are sent again by itself",
            )

    def _absent(self, media: Iterable[Line]) -> list[Line]:
        """The lines whose file is here, and not at the server."""
        here = {line.at.ordinal: name for line in media if (name := self._media_id(line))}
        if not here:
            return []
        names = self._api.files(self._target.ref)
        there = {found.group() for name in names if (found := _MEDIA_ID.search(name))}
        return [line for line in media if here.get(line.at.ordinal, "") not in there | {""}]

    def _media_id(self, line: Line) -> str:
        """What the SDK calls the line's file: the step and the hash. Empty if it isn't here, or
        has nothing in it, which looks at the server like a file that never came."""
        try:
            digest, size = self._target.media.digest(str((line.record or {}).get("path", "")))
        except (OSError, ValueError):  # ValueError: a path that is none
            return ""
        return f"_{line.at.ordinal}_{digest[:20]}" if size else ""

    def abandon(self) -> None:
        """Kill the session."""
        if self._worker:
            self._pool.kill(self._worker)
            self._worker = None
            self._note(orderly=False)

    def _leave(self) -> None:
        """End the session, and leave the run as it is. What is not confirmed may still be on its
        way, or lost in the SDK's hands: nothing of that is used again."""
        if self._worker is None:
            return
        if self._sent > self._confirmed:
            self.abandon()
            return
        try:
            self._worker.call(Leave(), HAND_OVER)
        except (WorkerFailed, RunTrouble):
            self.abandon()
            return
        self._give_back()

    def _give_back(self) -> None:
        if self._worker:
            self._pool.was_in_time()  # not before: to end a run takes longer than to open it
            self._pool.release(self._worker)
            self._worker = None
            self._note(orderly=True)

    def _note(self, *, orderly: bool) -> None:
        confirmed = self._sent <= self._confirmed
        self._last.note(self._target.ref, LastSession(self._sent, confirmed, orderly))

    def _reconfigure(self, record: Record) -> None:
        try:
            header = RunHeader.of(record)
        except BadRecord:
            return  # it is in the history all the same
        self._call(Configure(wandb_config(header, self._target.allowed_keys)), HAND_OVER)
        labels = Labels.of(header)
        if not labels or labels == self._labels:
            return
        self._labels = labels
        try:  # the SDK can change tags and notes of an open run, and nothing else
            self._api.label(self._target.ref, labels)
        except Rejected as rejected:
            raise self._explained(str(rejected)) from None

    def _ask(self) -> RemoteRun | None:
        return self._api.remote_run(self._target.ref)

    def _call(self, request: Request, timeout: float) -> int:
        if self._worker is None:
            raise RunTrouble("its session is gone")
        try:
            return self._worker.call(request, timeout * self._pool.slack)
        except WorkerFailed as failed:
            self._api.viewer()  # everybody's trouble, or the user's, has its own words
            error = self._explained(str(failed))
            said = without_names(error.what, *self._target.ref)
            if isinstance(error, RunTrouble) and "timed out" in said:
                self._pool.was_slow()
            raise error from None
        except NoAnswer:
            self._api.viewer()
            self._pool.was_slow()
            raise
        except RunTrouble:
            self._api.viewer()
            raise

    def _explained(self, words: str) -> RunTrouble | RunRefused:
        key = self._api.login.key
        words = words.replace(key, "***") if key else words
        ref = self._target.ref
        if not _PAGE.search(words):
            if says_deleted(words, ref):
                return run_deleted()
            found = _NOT_TAKEN.search(words)
            if found or _INVALID.search(without_names(words, *ref)):
                return not_taken(words, ref, int(found[1]) if found else 0)
        return RunTrouble(
            f"wandb's SDK: {words}",
            meaning="The records are safe on disk",
            by_itself="It's tried again by itself",
        )
