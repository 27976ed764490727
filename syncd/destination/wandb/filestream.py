"""A run's lines to wandb over its own HTTP interface: the direct lane.

Line n is posted to offset n, always, with a content that depends on the line and the run alone. So
a post may be sent twice, late, or by two daemons, and changes nothing the second time. Posts of a
run are contiguous and serial: the next one begins where the last one ended, once the last one's own
answer was a file stream's answer. A portal's page or a cut answer is seen at the post itself, where
wandb's SDK takes any 200 for success and steps over the gap.

What the server's *count* says is still the only confirmation. `ahead` says how many lines may be on
their way before it is asked again: none until the server was seen to count what was posted. With
one that counts something else the run goes the other lane (see `lanes`).
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from karaoke_train.runlog.format import BadRecord, Record, RunHeader
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd import events, memory
from syncd.destination.base import Labels, Outcome, Target
from syncd.destination.refusals import (
    not_counted,
    not_now,
    not_taken,
    out_of_place,
    run_deleted,
    says_deleted,
    stands_still,
    took_a_place,
    without_names,
)
from syncd.destination.rows import EPOCH_TABLE, epoch_table
from syncd.destination.wandb.api import Api, Bucket, Rejected
from syncd.destination.wandb.bulk import HistoryLines, Summary, history_lines, line_text, text
from syncd.destination.wandb.definitions import run_config, run_program
from syncd.destination.wandb.endings import await_end
from syncd.destination.wandb.lanes import Lane, Lanes
from syncd.destination.wandb.last_sessions import ARRIVES_WITHIN, LastSession, LastSessions
from syncd.destination.wandb.media import MediaFile, MediaFiles
from syncd.destination.wandb.pace import Pace
from syncd.errors import RunRefused, RunTrouble, Unreachable, UploadError
from syncd.source.lines import Lines, special_lines

HISTORY: Final = "wandb-history.jsonl"
SUMMARY: Final = "wandb-summary.json"
MAX_POST: Final = 8 << 20  # bytes of texts in a post; wandb-core keeps to about 10 MiB
FILES: Final = 100  # of which the server is asked at once where it wants them
AHEAD: Final = 100_000  # lines on their way before the count is asked again
MAX_SLOWED: Final = 60.0  # seconds of a RateLimit-Reset that are taken seriously
COUNTED_WITHIN: Final = 15.0  # seconds; counts were seen to lag 2 to 4
NOT_TAKEN: Final = (200, 400, 404, 409, 422)  # at a first post: perhaps the SDK's are taken
COUNTED_SOON: Final = 3.0  # seconds; counts were seen 2 to 4 s behind what was sent
STABLE: Final = 5.0  # seconds that somebody else's count has to stand still
_SUMMARY_CUT: Final = (
    "its page shows the last values of some metrics alone, as they are too many or too long; the "
    "history has all of them"
)
# How GraphQL servers word a question that is not theirs
_OTHER_SCHEMA: Final = re.compile(
    r"(?i)cannot query|unknown (field|argument|type)|not defined|unexpected (field|argument)"
)


class FileStream:
    """An Uploader (see `destination.base`) over plain HTTP."""

    def __init__(
        self,
        target: Target,
        api: Api,
        pace: Pace,
        lanes: Lanes,
        *,
        counts: bool = True,
        count_stable_for: float = STABLE,
        last: LastSessions | None = None,
    ) -> None:
        self._target = target
        self._api = api
        self._pace = pace
        self._lanes = lanes
        self._last = last or LastSessions()
        self._counts = counts  # else each post's own answer is the confirmation
        self._count_stable_for = count_stable_for
        self._started = parse_timestamp(target.header.created, 0.0)
        self._attempt = target.attempt  # of the newest line that was made a row
        # Of those that the server was told, or has from an earlier session: notes may be long
        self._labels = hash(Labels())
        self._summary = Summary()
        self._summary_cut = False  # whether it was said
        self._media = MediaFiles(target.media)
        self._began = 0  # the server's count at the opening
        self._next = 0  # the line that the next post begins with
        self._unanswered = 0  # the line after the last one of a post that had no answer
        self._limit = MAX_POST  # bytes of texts per post: less for a server that said 413
        self._posting = threading.Lock()  # a heartbeat must not overtake a post
        self._posted_at = self._lines_at = time.monotonic()
        self._alive = False
        self._beat_lost_at = -math.inf  # a sign of life had no answer, and may still come
        self.stopped = False  # somebody pressed Stop on the run's page; uploading goes on

    @property
    def ahead(self) -> int:
        """Lines that may be sent beyond the last confirmed one."""
        return AHEAD if self._lanes.counts or not self._counts else 0

    @property
    def most(self) -> int:
        """Lines that one send may have: the posts are cut by their size."""
        return sys.maxsize

    def open(self) -> int:
        """Begin at the server's count. Raises RunTrouble while it moves without us."""
        bucket = self._api.bucket(self._target.ref)
        self._await_stragglers(bucket)
        count = self._stable_count(bucket) if self._counts else self._target.confirmed
        if bucket:
            self._summary = Summary(bucket.summary)
            self._bring_forward(count)
        with self._target.whole() as header:
            labels = Labels.of(header)
            self._labels = hash(labels)
            # Told with the file's first line alone: what people change on the page is to stay
            told = Labels() if self._target.confirmed else labels
            self._configure(header, bucket, told)
        # Told once: a session that kept the config would take a hundred times what it needs
        slim = self._target.header.slim()
        self._target = replace(self._target, header=slim, read=None, since=None)
        self._began = self._next = count
        self._last.begin(self._target.ref)
        self._alive = True
        return count

    def send(self, lines: Lines) -> Sequence[Line]:
        """Post the lines, in as few requests as the limits allow."""
        if self._lanes.of(self._target.ref) is not Lane.DIRECT:
            raise _other_lane("the server was found out not to do what this way relies on")
        with memory.for_lines(len(lines.data), len(lines)):
            return self._send(lines)

    @property
    def files(self) -> int:
        """Those that rows referred to since the last `bring`."""
        return self._media.waiting

    def bring(self) -> None:
        """Bring them to where the server wants them."""
        self._bring(self._media.pop())

    def confirm(self) -> int:
        """The server's count; where it has none, the lines that it answered for."""
        if not self._counts:
            return self._next
        remote = self._api.remote_run(self._target.ref)
        count = remote.count if remote else 0
        if not self._lanes.counts:
            self._judge(count)
        return count

    @property
    def rewinds(self) -> bool:
        """It does."""
        return True

    def rewind(self, ordinal: int, attempt: int) -> None:
        """Go back to a line: contiguous from there, whatever the server's own cursor does with who
        goes back (wandb#12269)."""
        self._next, self._attempt = ordinal, attempt

    def stalled(self, first: int, sent: int) -> UploadError:
        """Each of the lines had an answer: they are not sent again, whatever became of them, but
        for those that a server put in the places of earlier ones."""
        if first > self._began:  # it counts, and is behind
            return stands_still(first, sent)
        if took_a_place(self._api, self._target.ref, first):
            return out_of_place(first)
        self._lanes.not_counted()
        return not_counted(first, sent)

    def pause(self) -> float:
        """Seconds until the next post is welcome."""
        ref = self._target.ref
        return self._pace.wait_for(f"{ref.entity}/{ref.project}", ref.run_id)

    def close(
        self, outcome: Outcome | None, epochs: Iterable[Record], media: Iterable[Line] = ()
    ) -> None:
        """End the session. Without an outcome, and after a crash, nothing is said: the heartbeats
        stop, as those of any crashed run do."""
        if outcome is None:
            self.abandon()
            return
        self._bring(self._absent(media))
        if not outcome.told:
            self.abandon()
            return
        with memory.for_table():
            files = self._epoch_table(epochs)
            summary = self._summary_text()
            files.append(MediaFile(SUMMARY, data=summary.encode()))
            names = self._put(files)
            del files
        body = {
            "files": {SUMMARY: {"offset": 0, "content": [summary]}},
            "uploaded": names,
            "complete": True,
            "exitcode": outcome.code,
        }
        self._alive = False  # any post after this one, a heartbeat too, would reopen the run
        self._post(body)
        if time.monotonic() - self._beat_lost_at < ARRIVES_WITHIN * self._api.http.timeout:
            raise RunTrouble(
                "a sign of life had no answer, and may still come after the run's end",
                meaning="All its records are there",
                by_itself="Its end is told again by itself",
            )
        await_end(self._api, self._target.ref, outcome)

    def abandon(self) -> None:
        """Nothing is open but what is under way, which the next session waits for."""
        self._alive = False
        if self._unanswered:
            session = LastSession(self._unanswered, confirmed=False, orderly=False)
            self._last.note(self._target.ref, session)
            self._unanswered = 0

    def is_silent(self, seconds: float) -> bool:
        """Whether it is open, nothing was posted for so long, and a post would not have to wait: a
        server may ask for an hour, and other projects' runs come behind."""
        late = self._alive and time.monotonic() - self._posted_at >= seconds
        return late and not self._posting.locked() and self.pause() <= 0

    def beat(self, every: float) -> None:
        """A sign of life, where it has been silent for so many seconds: W&B shows a run without one
        as crashed after some minutes. None beside a post of lines, which is one. Never raises: the
        next one comes."""
        if not self.is_silent(every):
            return
        try:
            self._post({}, is_beat=True)
        except Exception as error:
            self._posted_at = time.monotonic()  # the lines' own posts say what is wrong
            if isinstance(error, Unreachable) and not error.retry_after:
                self._beat_lost_at = self._posted_at

    # --- opening

    def _await_stragglers(self, bucket: Bucket | None) -> None:
        """Raises RunTrouble while a post of the session before may still arrive, with the time for
        the next try: hundreds of runs have such a post at once, when a server comes back."""
        last = self._last.of(self._target.ref)
        count = bucket.run.count if bucket else 0
        wait = last.may_still_arrive(count, self._api.http.timeout) if last else 0.0
        if not last or not wait:
            return
        trouble = RunTrouble(
            f"lines before {last.lines:,} were sent without an answer, and may still arrive",
            meaning="What follows them is sent once that is over",
            by_itself="Nothing to do: it goes on by itself",
        )
        soon = last.at + COUNTED_SOON - time.monotonic()  # an answer that was lost, mostly
        trouble.retry_after = soon if 0 < soon < wait else wait
        raise trouble

    def _stable_count(self, bucket: Bucket | None) -> int:
        """The count. One that may be another session's has to stand still first: read too early,
        ours would be put over lines that are still on their way (wandb#10708)."""
        if bucket is None or not bucket.run.count or self._target.known:
            return bucket.run.count if bucket else 0
        self._api.http.pause(self._count_stable_for)
        again = self._api.remote_run(self._target.ref)
        if again is None or again.count != bucket.run.count:
            raise RunTrouble(
                f"the server counted {bucket.run.count} lines, then others",
                meaning="It may be catching up; nothing is sent until its answers agree",
                remedy="If this stays, somebody else writes to the run: upload the file as a run "
                "of its own with karaoke-syncd sync --as_new FILE",
            )
        return again.count

    def _bring_forward(self, count: int) -> None:
        """Have the summary know of all lines that are there: a late post of an earlier session
        takes it back to its own lines, and what those behind them alone have told would be gone."""
        last = self._summary.last_step
        if self._target.since is None or last is None or last + 1 >= count:
            return
        self._attempt, pieces = self._target.since(last + 1, count)
        for lines in pieces:
            with memory.for_lines(len(lines.data), len(lines)):
                self._rows(lines)
        self._media.pop()  # those that are missing there are brought with the run's end

    def _judge(self, count: int) -> None:
        """Whether the server counts what is posted to it. Raises RunTrouble once it's clear that it
        counts something else. A count that has not moved at all says nothing yet."""
        if count == self._next > self._began:
            self._lanes.counted()
        late = time.monotonic() - self._lines_at > COUNTED_WITHIN
        if late and self._began < count < self._next:
            if took_a_place(self._api, self._target.ref, count):  # the run's trouble alone
                raise out_of_place(count)
            why = f"it counted {count:,} lines of the {self._next:,} that it was sent"
            if self._lanes.leave(why):
                raise _other_lane(why)

    def _configure(self, header: RunHeader, bucket: Bucket | None, labels: Labels) -> None:
        known = bucket.config if bucket else {}
        config = text(run_config(header, known, self._target.allowed_keys))
        try:
            was_there = self._api.upsert(
                self._target.ref,
                name=header.run_name,
                config=config,
                program=run_program(header),
                labels=labels,
            )
        except Rejected as rejected:
            raise self._run_refused(rejected) from None
        if was_there and bucket is None:
            raise RunTrouble(
                "the run has just been begun by somebody else, or by a request of ours without an "
                "answer",
                meaning="Whose it is is looked at before anything is sent",
            )

    def _reconfigure(self, record: Record) -> None:
        try:
            header = RunHeader.of(record)
        except BadRecord:
            return  # it is in the history all the same
        # a run that was renamed while it was resumed keeps its first name
        header = header._replace(run_name=self._target.header.run_name)
        labels = Labels.of(header)
        told = labels if hash(labels) != self._labels else Labels()
        self._labels = hash(labels)
        self._configure(header, self._api.bucket(self._target.ref), told)

    # --- posting

    def _rows(self, lines: Lines) -> HistoryLines:
        look = self._media.reference
        if lines.overlong is not None:
            row = line_text(lines.overlong, self._started, self._summary, look, self._attempt)
            return HistoryLines([row], lines.end, tuple(special_lines(lines)), self._attempt)
        made = history_lines(
            lines.data, lines.start, self._started, self._summary, look, self._attempt
        )
        self._attempt = made.attempt
        return made

    def _in_posts(self, texts: list[str]) -> Iterable[list[str]]:
        begin, size = 0, 0
        for index, row in enumerate(texts):
            length = len(row) if row.isascii() else len(row.encode())
            if begin < index and size + length > self._limit:
                yield texts[begin:index]
                begin, size = index, 0
            size += length
        if begin < len(texts):
            yield texts[begin:]

    def _send(self, lines: Lines) -> Sequence[Line]:
        made = self._rows(lines)
        # Before they are posted: a crash in between has it told again
        for line in made.special:
            if line.at.offset and RecordType.of(line.record or {}) is RecordType.CONFIG:
                self._reconfigure(lines.whole(line).record or {})
        at = lines.start.ordinal
        for texts in self._in_posts(made.texts):
            last = at + len(texts) == lines.end.ordinal
            self._post_lines(at, texts, with_summary=last)
            at += len(texts)
        return made.special

    def _post_lines(self, offset: int, texts: list[str], *, with_summary: bool) -> None:
        if offset != self._next:
            raise RunTrouble(f"line {offset} is not the next one, which is {self._next}")
        files: dict[str, Any] = {HISTORY: {"offset": offset, "content": texts}}
        if with_summary:
            files[SUMMARY] = {"offset": 0, "content": [self._summary_text()]}
        self._unanswered = offset + len(texts)
        try:
            self._post({"files": files})
        except Unreachable as error:
            if error.retry_after:  # that was an answer: it has not taken them
                self._unanswered = 0
            raise
        except Rejected as rejected:
            self._unanswered = 0
            if rejected.status != 413 or len(texts) < 2:
                raise self._lines_refused(rejected) from None
            half = len(texts) // 2  # what a post may hold is the server's to say
            self._limit = max(1, self._limit // 2)
            self._post_lines(offset, texts[:half], with_summary=False)
            self._post_lines(offset + half, texts[half:], with_summary=with_summary)
            return
        self._unanswered = 0
        self._next = offset + len(texts)
        self._lines_at = time.monotonic()

    def _post(self, body: dict[str, Any], *, is_beat: bool = False) -> None:
        data = orjson.dumps(body)
        ref = self._target.ref
        project = f"{ref.entity}/{ref.project}"
        if not self._posting.acquire(blocking=not is_beat):
            return
        try:
            if is_beat and not self._alive:
                return
            self._api.http.pause(self._pace.delay(project, ref.run_id, len(data)))
            try:
                answer = self._api.file_stream(ref, data)
            except Unreachable as error:
                self._pace.slowed(project, error.retry_after)  # all of its runs share the limit
                raise
            self._posted_at = time.monotonic()
        finally:
            self._posting.release()
        if answer.remaining == 0 and answer.reset > 0:
            self._pace.slowed(project, min(answer.reset, MAX_SLOWED))
        self.stopped = self.stopped or answer.stopped

    def _summary_text(self) -> str:
        written, told = self._summary.text(), self._summary_cut
        if self._summary.cut and not told:
            self._summary_cut = True
            run_id = self._target.ref.run_id
            events.left_out(run_id, f"{run_id}: {_SUMMARY_CUT}")
        return written

    # --- files

    def _bring(self, files: Sequence[MediaFile]) -> None:
        if names := self._put(files):
            self._post({"uploaded": names})

    def _put(self, files: Sequence[MediaFile]) -> list[str]:
        """Bring files to where the server wants them; the names of those that are there."""
        here = {file.name: file for file in files}
        if not here:
            return []
        names = list(here)
        try:
            for begin in range(0, len(names), FILES):
                for upload in self._api.create_files(
                    self._target.ref, names[begin : begin + FILES]
                ):
                    if (file := here.get(upload.name)) and (data := self._media.open(file)):
                        with data:
                            self._api.put_file(upload, data)
        except Rejected as rejected:
            raise RunTrouble(
                f"a file of the run was refused ({rejected})",
                meaning="Its records are uploaded, and the files are safe on disk",
                by_itself="They are sent again by itself",
            ) from None
        return names

    def _absent(self, media: Iterable[Line]) -> list[MediaFile]:
        """The files that these lines name, are here, and are not at the server."""
        wanted = self._media.files_of(media)
        with memory.for_table():  # the names of all that the run has there
            there = self._api.files(self._target.ref) if wanted else set()
            return [file for file in wanted if file.name not in there]

    def _epoch_table(self, epochs: Iterable[Record]) -> list[MediaFile]:
        """The epoch table as a file of the run, and its place in the summary. The SDK makes an
        artifact of it as well, six requests for a copy that nothing here reads: left out."""
        columns, rows = epoch_table(epochs)
        if not rows:
            return []
        data = text({"columns": columns, "data": rows}).encode()
        digest = hashlib.sha256(data).hexdigest()
        name = f"media/table/{EPOCH_TABLE}_summary_{digest[:20]}.table.json"
        about = {
            "_type": "table-file",
            "path": name,
            "sha256": digest,
            "size": len(data),
            "ncols": len(columns),
            "nrows": len(rows),
            "log_mode": "IMMUTABLE",
        }
        self._summary.update({EPOCH_TABLE: about})
        return [MediaFile(name, data=data)]

    def _run_refused(self, rejected: Rejected) -> RunTrouble | RunRefused:
        """The server does not make the run, or does not take its config."""
        words, ref = str(rejected), self._target.ref
        is_other = _OTHER_SCHEMA.search(without_names(words, *ref))
        if is_other and self._lanes.leave(f"it answers {words!r}"):
            return _other_lane(words)
        if says_deleted(words, ref):
            return run_deleted()
        return not_taken(words, ref, rejected.status) if rejected.own else not_now(words)

    def _lines_refused(self, rejected: Rejected) -> RunTrouble | RunRefused:
        words, ref = str(rejected), self._target.ref
        if says_deleted(words, ref):
            return run_deleted()
        first = self._next == self._began
        if first and rejected.status in NOT_TAKEN and self._lanes.leave_for(ref, words):
            return _other_lane(words)
        return RunTrouble(
            f"the server does not take the run's lines ({words})",
            meaning="The records are safe on disk",
            by_itself="It's tried again by itself",
        )


def _other_lane(why: str) -> RunTrouble:
    return RunTrouble(
        f"the server does not take lines over plain HTTP as expected ({why})",
        meaning="The records are safe on disk",
        by_itself="The run is opened anew, by wandb's SDK, from the server's count",
    )
