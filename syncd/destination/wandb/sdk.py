"""A run's lines to wandb through its own SDK, in a worker process; the count from the server.

What the SDK says of arrival is never believed: it goes on taking rows after a refused request,
and finishes without an error. Only the server's own count says what arrived.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from typing import Final

from karaoke_train.runlog.format import BadRecord, Record, RunHeader
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.base import Outcome, RemoteRun, Target
from syncd.destination.refusals import not_counted, run_deleted, run_refused, stands_still
from syncd.destination.rows import attempt_at, epoch_table, row
from syncd.destination.wandb.api import TIMEOUT, Api
from syncd.destination.wandb.definitions import run_program, wandb_config
from syncd.destination.wandb.endings import await_end
from syncd.destination.wandb.worker import Configure, Finish, Log, Open, Request, ReuploadMedia
from syncd.destination.wandb.worker_pool import Worker, WorkerFailed, WorkerPool
from syncd.errors import RunRefused, RunTrouble, UploadError
from syncd.source.lines import Lines, special_lines

STABLE: Final = 5.0  # seconds; counts were seen to lag 2 to 4 s behind what was written
HAND_OVER: Final = 60.0  # to take a chunk of rows
STARTS: Final = 10.0  # to import the SDK and start wandb-core, on a busy machine
FINISH: Final = 60.0  # to upload summary, table and media at the end
_MEDIA_ID: Final = re.compile(r"_\d+_[0-9a-f]{20}\.")  # in media/images/KEY_STEP_SHA256.png
# wandb-core's words for an answer that would be the same each time; the SDK's checks of names
_NOT_TAKEN: Final = re.compile(
    r"returned error (400|404|409|422)\b|(?i:invalid (project|entity|run))"
)


class WandbSdk:
    """An Uploader (see `upload.base`) over wandb's SDK."""

    def __init__(
        self,
        target: Target,
        api: Api,
        pool: WorkerPool,
        *,
        request_timeout: float = TIMEOUT,
        count_stable_for: float = STABLE,
    ) -> None:
        self._target = target
        self._api = api
        self._pool = pool
        self._init = 2 * request_timeout  # wandb.init asks two questions in turn
        self._count_stable_for = count_stable_for
        self._worker: Worker | None = None
        self._started = parse_timestamp(target.header.created, 0.0)
        self._attempt = target.attempt  # of the newest line that was made a row

    def open(self) -> int:
        """Open the run where the server's count is. Raises RunTrouble while its answers
        contradict each other: logged now, records would be put over others."""
        count = self._stable_count()
        header = self._target.header
        self._worker = self._pool.acquire()
        request = Open(
            base_url=self._api.login.base_url,
            key=self._api.login.key,
            entity=self._target.entity,
            project=self._target.project,
            run_id=header.run_id,
            run_name=header.run_name,
            config=wandb_config(header),
            program=run_program(header),
            timeout=self._init,
        )
        starting_step = self._call(request, self._init + STARTS)
        again = self._ask()
        if again is None or not starting_step == again.count == again.last_step + 1:
            raise self._contradiction(f"counts {count}, but lets the run go on at {starting_step}")
        return starting_step

    def _stable_count(self) -> int:
        """The count, once it agrees with the last step and has stood still for a while: the SDK
        puts its lines where one answer of the server says, and that answer may come late."""
        remote = self._ask()
        if remote is None or not (remote.count or remote.last_step + 1):
            return 0
        self._pool.pause(self._count_stable_for)
        again = self._ask()
        if again is None or again.count != remote.count:
            raise self._contradiction(f"counted {remote.count} lines, then others")
        if again.count != again.last_step + 1:
            raise self._contradiction(f"counts {again.count}, its last step is {again.last_step}")
        return again.count

    def send(self, lines: Lines) -> Sequence[Line]:
        """Hand the lines' rows to the SDK."""
        parsed = list(lines)
        rows = []
        for line in parsed:
            self._attempt = attempt_at(line, self._attempt)
            rows.append((line.at.ordinal, row(line, self._started, self._attempt)))
        self._call(Log(rows, self._target.media), HAND_OVER)
        special = special_lines(parsed)
        for line in special:
            if line.at.ordinal and line.record and RecordType.of(line.record) is RecordType.CONFIG:
                self._reconfigure(line.record)
        return special

    @property
    def ahead(self) -> int:
        """None: the SDK says nothing about arrival."""
        return 0

    def stalled(self, first: int, sent: int) -> UploadError:
        """The SDK says nothing of its posts. Where the first of the lines is there all the same,
        it's the server that does not count."""
        if self._api.rows(self._target.ref, first, first + 1):
            return not_counted(self._target.header.run_id, first, sent)
        return stands_still(first, sent)

    @property
    def stopped(self) -> bool:
        """Not known: the SDK hands no answer on."""
        return False

    def pause(self) -> float:
        """None: the SDK has a pace of its own."""
        return 0.0

    def confirm(self) -> int:
        """The server's count."""
        remote = self._ask()
        return remote.count if remote else 0

    def close(
        self, outcome: Outcome | None, epochs: Sequence[Record], media: Sequence[Line] = ()
    ) -> None:
        """Finish the run. Without an outcome, and after a crash, the session just ends: the
        server then sees no more of it, as it would of any crashed run."""
        if outcome is None:
            self.abandon()
            return
        hopeless = self._bring_again(media)
        if not outcome.told:
            deadline = time.monotonic() + FINISH
            while len(self._absent(media)) > hopeless and time.monotonic() < deadline:
                time.sleep(1.0)
            self._insist(media, hopeless)
            self.abandon()
            return
        self._call(Finish(outcome.code, epoch_table(epochs)), FINISH)
        self._insist(media, hopeless)
        await_end(self._api, self._target.ref, outcome)
        if self._worker:
            self._pool.release(self._worker)
            self._worker = None

    def _bring_again(self, media: Sequence[Line]) -> int:
        """Have the files uploaded that aren't at the server: the SDK brings them some time after
        their rows, and never if it's killed or refused meanwhile. Answers how many can't be."""
        absent = self._absent(media)
        if not absent:
            return 0
        rows = [(line.at.ordinal, row(line, self._started)) for line in absent]
        return len(absent) - self._call(ReuploadMedia(rows, self._target.media), HAND_OVER)

    def _insist(self, media: Sequence[Line], hopeless: int) -> None:
        if (absent := len(self._absent(media))) > hopeless:
            raise RunTrouble(
                f"{absent - hopeless} of the run's pictures and sounds did not get to the server",
                meaning="All its records did, and the files are safe on disk",
                remedy="They are sent again by itself",
            )

    def _absent(self, media: Sequence[Line]) -> list[Line]:
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
            data = (self._target.media / str((line.record or {}).get("path", ""))).read_bytes()
        except OSError:
            return ""
        return f"_{line.at.ordinal}_{hashlib.sha256(data).hexdigest()[:20]}." if data else ""

    def abandon(self) -> None:
        """Kill the session."""
        if self._worker:
            self._pool.kill(self._worker)
            self._worker = None

    def _reconfigure(self, record: Record) -> None:
        try:
            self._call(Configure(wandb_config(RunHeader.of(record))), HAND_OVER)
        except BadRecord:
            return  # it is in the history all the same

    def _ask(self) -> RemoteRun | None:
        return self._api.remote_run(self._target.ref)

    def _call(self, request: Request, timeout: float) -> int:
        if self._worker is None:
            raise RunTrouble("its session is gone")
        try:
            return self._worker.call(request, timeout)
        except WorkerFailed as failed:
            self._api.viewer()  # everybody's trouble, or the user's, has its own words
            raise self._explained(str(failed)) from None
        except RunTrouble:
            self._api.viewer()
            raise

    def _explained(self, words: str) -> RunTrouble | RunRefused:
        key, run_id = self._api.login.key, self._target.header.run_id
        words = words.replace(key, "***") if key else words
        if "deleted" in words:
            return run_deleted(run_id)
        if _NOT_TAKEN.search(words):
            return run_refused(run_id, words)
        return RunTrouble(
            f"wandb's SDK: {words}",
            meaning="The records are safe on disk; tried again by itself",
        )

    def _contradiction(self, what: str) -> RunTrouble:
        return RunTrouble(
            f"the server {what}",
            meaning="It may be catching up; nothing is sent until its answers agree",
            remedy="If this stays, somebody else wrote to the run: upload the file as a run of "
            "its own with karaoke-syncd sync --as_new FILE",
        )
