"""One run's upload: performs what the scheduler decides; every action yields exactly one event.

An action that fails drops the session, so that what remains is what a crash would have left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from karaoke_train.runlog.lock import Lock
from karaoke_train.runlog.plain_text import one_line
from karaoke_train.runlog.reader import Position
from syncd import events, memory
from syncd.destination.base import (
    Destination,
    Identity,
    Outcome,
    RemoteRun,
    RunRef,
    Target,
    Uploader,
)
from syncd.destination.refusals import not_counted, took_a_place
from syncd.errors import (
    Contradiction,
    Leased,
    NotCounted,
    RunTrouble,
    UploadError,
)
from syncd.failpoints import failpoint
from syncd.source import fingerprint, marked, tailer
from syncd.source.attempts import attempt_before
from syncd.source.fingerprint import FileChanged, PinnedLog, open_pinned
from syncd.source.lines import Lines, slim
from syncd.source.scanner import LogFile, head_of
from syncd.state import lease
from syncd.state.cursor import Cursor, Fingerprint
from syncd.state.quarantine import Quarantine
from syncd.sync import troubles
from syncd.sync.at_end import (
    MAX_MEDIA_BYTES,
    Epochs,
    MediaLines,
    gathered,
    left_out_of_table,
)
from syncd.sync.content import Content
from syncd.sync.late_posts import next_look
from syncd.sync.missing import agreeing, send_again, still_missing
from syncd.sync.newest_header import newest_header
from syncd.sync.noted import Noted
from syncd.sync.outcome import CRASHED, outcome_before, outcome_of
from syncd.sync.parts import (
    Stillness,
    await_claimed,
    await_counted,
    followed,
    may_have_parts,
    others_lack,
    place,
)
from syncd.sync.portions import portion
from syncd.sync.remembered import Remembered
from syncd.sync.scheduler import (
    AlreadyComplete,
    Brought,
    Checked,
    Closed,
    Confirmed,
    Event,
    Opened,
    Run,
    Sent,
    failure,
)
from syncd.sync.unconfirmed import Unconfirmed
from syncd.sync.writer_locks import WriterLocks

_UNHEARD: Final = 30.0  # seconds, as W&B's signs of life: see `_look_for_others`


class Session:
    """The I/O of one run. Not thread-safe: one action at a time, which the scheduler sees to.

    state: where the destination's state is. entity: where runs go to, as far as that is known by
    now. project: instead of the run's own. document: the file was made from an older document, and
    has no writer. still_for, alive_for: see `parts.Stillness`.
    """

    def __init__(
        self,
        file: LogFile,
        destination: Destination,
        *,
        state: Path,
        entity: Callable[[], str],
        project: str = "",
        lock_dir: Path | None = None,
        document: bool = False,
        still_for: float = 5.0,
        alive_for: float = 75.0,
        allowed_keys: tuple[str, ...] = (),
    ) -> None:
        self.file = file  # as it was found
        self.path = file.path  # changed by the loop when the file moves, between two actions
        self.key = file.key
        self.header = file.header
        self._media = file.media
        self.project = project or file.header.project
        self._destination = destination
        self._place = state.name
        self._lock_dir = lock_dir
        self._remembered = Remembered(state, self.key, self.project, entity)
        self._opened_at = ""  # the entity that the open session's uploader was made for
        # Asked anew each time: the account is known only once the server has answered, and a
        # session is made before that, from the file alone
        self._entity = entity
        self._begin = tailer.START  # where the file's first line is in the run
        self.placed = False  # whether that is known
        self._still_for = still_for
        self._stillness = Stillness(still_for, alive_for)
        self._document = document
        self._allowed_keys = allowed_keys
        self._uploader: Uploader | None = None
        self._lease: Lock | None = None
        self._unconfirmed = Unconfirmed()
        self._shown: Fingerprint | None = None  # what the file showed where the next read begins
        self._noted = Noted(state, self.key, self._media)
        self._contradictions = 0  # sessions in a row that failed for one
        self._others_looked = False  # whether those parts of the run were that may lack lines
        self.remark = ""  # what people are told once all of the run is there
        self._writer_locks = WriterLocks()
        self._in_order = False  # whether the run's last session ended so, as this process saw
        # Whether a post of one that did not may still come, and have the run be shown as running;
        # and when the end was told that it may undo, in seconds since 1970
        self._doubted = False
        self._told_at = 0.0
        self._stopped = False  # somebody pressed Stop on the run's page
        # When the server last showed all that was sent and no more; infinite while lines are on
        # their way, and are asked about anyway
        self._settled_at = math.inf

    @property
    def ref(self) -> RunRef:
        """The run at the server."""
        return RunRef(self._entity(), self.project, self.header.run_id)

    @property
    def _log(self) -> PinnedLog:
        return PinnedLog(self.path, self.file.first_line_hash)

    @property
    def url(self) -> str:
        """The run's page."""
        return self._destination.url(self.ref)

    def initial(self, now: float) -> Run:
        """What is known before the server was asked."""
        known = self._remembered.load()
        if known is None:
            # grown_at now, not at the file's mtime: two machines' clocks may disagree by hours,
            # and a writer must not be taken for dead because of it
            return Run(grown_at=now)
        self._begin, self.placed = Position(known.base, 0), True
        # size as confirmed, not as it is: the scan that follows tells the true one, and a file
        # that has not grown is then no news, so that a restart opens no finished run
        at = known.confirmed
        return Run(
            size=at.offset,
            scanned_to=at.offset,
            confirmed=at,
            sent=at,
            base=known.base,
            outcome=outcome_before(self.path, at.offset),
            ended=known.ended and not known.unsettled,  # asked once by each process
            grown_at=now,
        )

    def open(self) -> Event:
        """Take the run's lease, ask the server for its count, and begin there."""
        return self._guarded(self._open)

    def send(self, start: Position, most: int, searched_to: int = 0) -> Event:
        """Hand over the lines from `start` on, at most `most` of them. searched_to: bytes of the
        file that were looked at, for the end of an over-long line."""
        # `start` comes from the scheduler, not from memory here: after a failure it goes back to
        # what was confirmed, and a position kept in two places would disagree
        return self._guarded(lambda: self._send(start, most, searched_to))

    def bring(self) -> Event:
        """Take the files there that the lines sent so far are about."""
        return self._guarded(self._bring_files)

    def confirm(self, confirmed: Position) -> Event:
        """Ask the server's count; remember in the cursor what it confirms."""
        return self._guarded(lambda: self._confirm(confirmed))

    def close(self, outcome: Outcome | None, confirmed: Position) -> Event:
        """End the session, and with an outcome the run."""
        return self._guarded(lambda: self._close(outcome, confirmed))

    def stalled(self, confirmed: Position, sent: Position) -> Event:
        """Drop a session whose lines don't arrive though the server can be reached."""
        return self._guarded(lambda: self._stalled(confirmed, sent))

    def check(self) -> Event:
        """Whether the run has ended without saying so: its writer is gone."""
        if self._document:  # no writer ever held a lock on it; all of it is there
            return Checked(Outcome("finished", 0))
        locks, key = self._writer_locks, self.key
        lives = locks.is_held(key, self.path) or locks.may_come_back(key, self.path)
        return Checked(None if lives else CRASHED)

    def save_again(self) -> bool:
        """Remember what could not be remembered so far; whether all is. No action may be under
        way."""
        return self._noted.save_again() and self._remembered.save_again()

    def bad_lines(self) -> Quarantine:
        """Those that are at the server as placeholders. No action may be under way."""
        return self._noted.bad_lines()

    def drop(self) -> None:
        """Let go of everything, as a crash would. Never raises."""
        # First the uploader, then the lease: the other way about, another daemon could begin
        # while lines of this session are still being sent
        if self._uploader is not None:
            self._uploader.abandon()
            self._uploader = None
        if self._lease is not None:
            self._lease.release()
        # Also what is known of lines on their way: the next session learns from the count which of
        # them arrived
        self._unconfirmed.clear()
        self._opened_at = ""

    def _guarded(self, act: Callable[[], Event]) -> Event:
        # Every way out of an action is one event: a thread of the pool's that raised would leave
        # the run in an -ING phase for ever
        try:
            return act()
        except UploadError as error:
            return self._failed(error)
        except FileChanged as changed:  # for a person: both files may be worth keeping
            return self._failed(troubles.changed(changed, self.path, self.key))
        except OSError as error:  # permissions, a stale NFS handle, a disk that fails
            return self._failed(troubles.unreadable(error, self.path, self._there))
        except Exception as error:  # a bug costs this run a retry, and nobody else anything
            events.unexpected(self.path)
            return self._failed(
                RunTrouble(f"unexpected: {one_line(repr(error), 200)}", where=self.path.name)
            )

    def _failed(self, error: UploadError) -> Event:
        # Whatever it was, nothing of this session is used again. After one 403 wandb's SDK goes on
        # taking rows, and finishes without an error
        self.drop()
        if isinstance(error, Contradiction):
            self._contradictions += 1
            if self._contradictions > 1:  # after the first one it was only late
                self._destination.mend(self.ref)
        error.where = error.where or self.path.name
        if not error.remedy:  # the server's words: it knows neither the file nor its key
            error.remedy = one_line(troubles.way_out(error, self.path, self.key))
        return failure(error)

    def _open(self) -> Event:
        # The lease before the count: a count asked before could be old by the time that another
        # daemon gives the run up
        self._take_lease()
        failpoint("open.before")
        # Nothing is asked of the server for another file in its place
        open_pinned(self._log).close()
        known = self._remembered.load()
        remote = self._destination.remote_run(self.ref)
        told_before = known is not None and known.ended and known.unsettled > 0.0
        if known and told_before and remote is None and (deleted := self._deleted_since(known)):
            return deleted
        count = self._counted(remote, known)
        remote, displaced = agreeing(self._destination, self.ref, remote)
        if remote and self._destination.counts:
            count = remote.count
        base, is_new = self._base(remote, count, known)
        if known and known.base != base:
            known = None  # nothing of the file was confirmed where it was to begin
        if displaced and base and not self._others_looked:
            self._others_looked = True
            raise others_lack(self.header.run_id, self._there.name)
        self._begin = Position(base, 0)
        at = self._locate(count, known)
        # A count that no cursor of ours explains, or that the server's other answers deny
        denied = displaced or self._contradictions > 0
        if at.ordinal < count:
            return self._followed(at, count, known, cheaply=not denied)
        # Nothing to send and nothing to tell: a session would show the run as running again. Not
        # where the cursor is at the count and has seen no end told: that is then told again, with
        # the pictures and sounds that may be missing there
        at_cursor = known is not None and known.confirmed == at
        untold = at_cursor and not told_before
        outcome = None if untold or not remote else self._outcome_at(at)
        # Those beyond it were sent from this file, which may have lost them since, in a power cut
        # or as an older copy was put in its place, and gone on with others
        if known and not at_cursor and at.offset:
            attempt = self._noted.config_before(at)[1]
            denied = denied or self._content().is_another_at(at, attempt)
        # Where other files may have the run's id, lines beyond the cursor may be theirs, too
        beyond = known is None or (self._may_have_parts and not at_cursor)
        in_doubt = at.offset and (beyond or denied)
        missing = self._lacks(at, cheaply=not denied) if in_doubt else None
        if displaced and base and missing is None:  # not this file's: what is sent takes more
            raise others_lack(self.header.run_id, self._there.name)
        self._others_looked = False
        if outcome and remote and remote.shows(outcome) and missing is None:
            return self._complete(at, known.unsettled if known and at_cursor else 0.0)
        if known and told_before:
            self._told_at = known.unsettled
        elif not self._in_order:  # what failed since it was told may still come, too
            self._told_at = 0.0
        if outcome and remote and told_before:
            events.reopened(self.header.run_id, self.path, self._there.place, remote.state)
            self._destination.mend(self.ref)  # the summary was taken back, too
        # What a local store has not taken by the time that its writer dies never comes
        if remote and not self._in_order and not self._destination.counts_at_once:
            self._doubted = True
        self._in_order = False
        return self._begun(at, count, known, missing, is_new=is_new)

    def _deleted_since(self, known: Cursor) -> Event | None:
        """That a run which somebody has deleted after its end was told is done with; None where its
        file has grown."""
        rest = tailer.read(self._log, known.confirmed, expect=known.fingerprint)
        if rest.lines:
            return None
        self._remembered.save(known._replace(unsettled=0.0), sync=True)
        self.drop()
        return AlreadyComplete(known.confirmed, known.base, rest.scanned_to)

    def _counted(self, remote: RemoteRun | None, known: Cursor | None) -> int:
        """The run's lines at the server. Raises RunTrouble, RunRefused where it lost some, or
        counts none of those that it took."""
        count = remote.count if remote else 0
        if known and not self._destination.counts:
            count = known.confirmed.ordinal  # its own says nothing
        self._remembered.check_count(count, known, self.path, self._there)
        uncounted = known.uncounted if known and known.confirmed.ordinal == count else 0
        if uncounted > count and not took_a_place(self._destination, self.ref, count):
            raise not_counted(count, uncounted)
        return count

    def _begun(
        self, at: Position, count: int, known: Cursor | None, missing: int | None, *, is_new: bool
    ) -> Event:
        """Begin a session at the server, and send what is missing there. at: where the file goes
        on, behind `count` lines of the run; is_new: claim the file's place in it first."""
        if missing is not None:
            self._destination.mend(self.ref)
        config_at, attempt = self._noted.config_before(at)
        opened = self._open_uploader(at, known)
        failpoint("open.after")
        if opened != count:  # lines of a session before this one that were still on their way
            if is_new:
                raise _just_written(self._there)
            at = self._locate(opened, known)
            if at.ordinal < opened or self._noted.config_before(at) != (config_at, attempt):
                raise RunTrouble("more records have come there than could be expected")
        if is_new:
            at = self._claim(at)
        self._bring(missing, at)
        self._shown = fingerprint.fingerprint(self._log, at)
        # Before anything is sent: a crash from here on finds a cursor that says "not ended", and
        # ends the run again rather than believe that it was told
        self._save(at, self._shown, ended=False)
        self.placed = True
        self._settled_at = time.monotonic()
        base = self._begin.ordinal
        return Opened(at, self._alive().ahead, outcome_before(self._log, at.offset), base)

    def _complete(self, at: Position, unsettled: float = 0.0) -> Event:
        """All is there. unsettled: see `Cursor`."""
        rest = tailer.read(self._log, at)
        look_in = self._next_look(unsettled)
        self._save(at, ended=True, unsettled=self._told_at)
        self.placed = True
        self.drop()
        scanned_to = at.offset if rest.lines else rest.scanned_to
        return AlreadyComplete(at, self._begin.ordinal, scanned_to, look_in)

    def _next_look(self, told_at: float) -> float:
        """Seconds until the server is asked whether it still shows an end that was told then; 0.0
        where it is settled. told_at: 0.0 where nothing can undo it."""
        now = time.time()
        told_at = min(told_at, now)  # with a clock that was set back it begins anew
        look_in = next_look(now - told_at) if told_at else 0.0
        self._told_at, self._doubted = (told_at, True) if look_in else (0.0, False)
        return look_in

    def _open_uploader(self, at: Position, known: Cursor | None) -> int:
        """Begin a session at the server. Returns the count that it begins with."""
        # The newest config, of a resumed run's last start: the SDK is told once, at its opening
        config_at, attempt = self._noted.config_before(at)
        target = Target(
            self.header,
            self._entity(),
            self.project,
            self._media,
            known=known is not None,
            confirmed=at.ordinal,
            attempt=attempt,
            read=partial(newest_header, self.header, self._log, config_at),
            length=marked.length_at(self._log, config_at),
            allowed_keys=self._allowed_keys,
            since=self._since if self._doubted else None,
        )
        self._opened_at = target.entity
        self._uploader = self._destination.uploader(target)
        # The uploader asks for the count itself, since what the SDK does depends on the answer that
        # it was given, not on ours of a moment ago
        return self._uploader.open()

    def _since(self, first: int, end: int) -> tuple[int, Iterable[Lines]]:
        begin = self._begin
        at = tailer.place_of(self._log, max(first, begin.ordinal), begin)
        return attempt_before(self._log, at, begin), self._read_until(end, at)

    def _read_until(self, end: int, at: Position) -> Iterator[Lines]:
        for lines in tailer.until(self._log, end, at):
            self._check_stopped()  # it may be a million
            yield lines

    @property
    def _there(self) -> Identity:
        """The destination, for what is said of it."""
        return self._destination.identity

    # --- the file's place in the run

    @property
    def _may_have_parts(self) -> bool:
        return self._destination.counts and may_have_parts(self.header)

    def _base(self, remote: RemoteRun | None, count: int, known: Cursor | None) -> tuple[int, bool]:
        """The line of the run where the file's first one is, or is to be; and whether it has yet to
        claim that. Raises RunTrouble while somebody else writes there."""
        # One that nothing was confirmed for says nothing of what is there by now
        if known and (known.confirmed.offset or not count or not self._may_have_parts):
            return known.base, False
        if not self._may_have_parts or remote is None:  # a run that isn't there is begun
            return 0, False
        return place(self._content(), remote, count, self._stillness, self._still_for)

    def _claim(self, at: Position) -> Position:
        """Send the first line alone, and see that it is there before any other is sent. Raises
        RunTrouble where somebody else's has come meanwhile."""
        remote = self._destination.remote_run(self.ref)  # to open a session may have taken long
        if remote and remote.count != at.ordinal:
            raise _just_written(self._there)
        line = tailer.read(self._log, at).lines.first(1)
        self._noted.look_at(self._alive().send(line), self.path)
        await_claimed(self._content(), at.ordinal, self._still_for)
        await_counted(self._alive(), self._destination, line.end.ordinal)
        return line.end

    def _followed(self, at: Position, count: int, known: Cursor | None, *, cheaply: bool) -> Event:
        """All of the file is there, and behind it more: a later part of the run, or lines that no
        record of ours explains. Sending ours over them would destroy the only copy of somebody's
        data, so a person decides."""
        if not self._may_have_parts or not followed(self._content(), at.ordinal):
            ours = at.ordinal - self._begin.ordinal
            there = count - self._begin.ordinal
            raise troubles.remote_has_more(there, ours, self.path, self.key, self._there)
        missing = self._lacks(at, count, cheaply=cheaply)
        if missing is not None:
            self._open_uploader(at, known)
            self._bring(missing, at, count)
        return self._complete(at)

    def _content(self) -> Content:
        return Content(
            self.path,
            self._media,
            self.header,
            self.ref,
            self._destination,
            self.key,
            self._begin,
            MAX_MEDIA_BYTES,
            self.file.first_line_hash,
        )

    # --- what goes there

    def _send(self, start: Position, most: int, searched_to: int) -> Event:
        failpoint("read.before")
        chunk = self._next(start, most, searched_to)
        failpoint("read.after")
        size = len(chunk.lines.data), len(chunk.lines)
        if memory.is_small(*size):
            return self._hand_over(start, chunk)
        # Read again once there is room: each thread that waits for it would hold what it has read.
        # And held until all that was made of the lines is let go
        del chunk
        with memory.for_lines(*size):
            self._check_stopped()
            return self._hand_over(start, self._next(start, most, searched_to))

    def _next(self, start: Position, most: int, searched_to: int) -> tailer.Chunk:
        """What is to be sent next."""
        # Looked at again at each read, not at the opening alone: editors and `sed -i` put another
        # file in a log's place while a session is open
        chunk = tailer.read(
            self._log, start, expect=self._shown, searched_to=searched_to, search=tailer.SEARCH
        )
        # `most` bounds what a failure costs: lines not yet confirmed are sent again
        lines = portion(chunk.lines, min(most, self._alive().most), self._media)
        whole = len(lines) == len(chunk.lines)
        return replace(
            chunk, lines=lines, scanned_to=chunk.scanned_to if whole else lines.end.offset
        )

    def _hand_over(self, start: Position, chunk: tailer.Chunk) -> Event:
        lines = chunk.lines
        if not lines:
            return Sent(start, chunk.scanned_to)
        self._look_for_others(start)
        failpoint("send.before")
        special = self._alive().send(lines)
        failpoint("send.after")
        # A crash before this keeps no bad line from quarantine: they are not confirmed yet, so the
        # next session reads them again, to send them or to find where the server's count is
        self._noted.look_at(special, self.path)
        end, self._told_at = lines.end, 0.0  # a line after the end: somebody resumed the run
        # The next read has to find these bytes again. A file that is rewritten under an open
        # session keeps its size and its inode, and nothing else would show it
        if self._shown and lines.data:
            self._shown = fingerprint.later(self._shown, chunk.before, lines.data)
        else:
            self._shown = fingerprint.fingerprint(self._log, end)
        self._unconfirmed.add(start, end, self._shown)
        self._settled_at = math.inf
        uploader = self._alive()
        outcome = outcome_of(special, end)
        return Sent(end, chunk.scanned_to, outcome, uploader.pause(), uploader.files)

    def _look_for_others(self, start: Position) -> None:
        """Lines of somebody else may have come while nothing was sent, and ours would be written
        over them. Not asked at each post: W&B takes no condition with one. Raises RunTrouble."""
        if time.monotonic() - self._settled_at < _UNHEARD:
            return
        if (count := self._alive().confirm()) > start.ordinal:
            raise self._has_others(count, start.ordinal)

    def _has_others(self, count: int, sent: int) -> RunTrouble:
        return RunTrouble(
            f"{self._there.name} holds {count:,} records, more than the {sent:,} sent",
            by_itself="The session is opened anew, which finds out whose they are",
        )

    def _bring_files(self) -> Event:
        uploader = self._alive()
        uploader.bring()
        return Brought(uploader.pause())

    def _confirm(self, confirmed: Position) -> Event:
        failpoint("confirm.before")
        # The server's own count, and nothing that the sender says: a captive portal answers each
        # post with 200, and wandb's SDK takes that for success
        count = self._alive().confirm()
        failpoint("confirm.after")
        # More than was sent is never taken as a confirmation of ours
        newest = self._unconfirmed.end(confirmed)
        if count == newest.ordinal:
            self._settled_at = time.monotonic()
        if count > newest.ordinal:  # the last lines of a session before this one, or foreign ones
            raise self._has_others(count, newest.ordinal)
        if count <= confirmed.ordinal:  # a stale replica, or nothing has arrived yet
            return Confirmed(confirmed, self._alive().ahead)
        at, shown = self._unconfirmed.place_of(count, self._log)
        self._stopped = self._alive().stopped
        # Where only our own word says what arrived, it has to survive a power cut
        self._save(at, shown, ended=False, sync=not self._destination.counts)
        return Confirmed(at, self._alive().ahead)

    def _stalled(self, confirmed: Position, sent: Position) -> Event:
        error = self._alive().stalled(confirmed.ordinal, sent.ordinal)
        if isinstance(error, NotCounted):
            self._save(confirmed, ended=False, uncounted=sent.ordinal)
        raise error

    def _close(self, outcome: Outcome | None, confirmed: Position) -> Event:
        uploader = self._alive()
        # Their places are kept, not the records: a session of a million records needs no more
        # memory than one of ten, and ending it does not read the million again
        needs = gathered(())
        if outcome:
            with memory.for_table():
                needs = self._noted.at_end(self._log, self._begin, confirmed, self._check_stopped)
        media = MediaLines(self._log, needs.media).affordable(self._media)
        words = left_out_of_table(self.path.name, needs)
        if words and self._there.has_table:
            self.remark = words
            events.left_out(self.header.run_id, self.remark)
        if outcome and self._shown:
            fingerprint.check(self._log, confirmed, self._shown)
        # The file is looked at before the end is told: "finished" cannot be taken back without
        # opening the run again, and a rewritten file may have another end
        if outcome and confirmed.ordinal:
            self._bring(self._lacks(confirmed), confirmed)
        failpoint("close.before")
        uploader.close(outcome, Epochs(self._log, needs.epochs), media)
        failpoint("close.after")
        self._uploader = None
        self._in_order = True
        look_in = 0.0
        if outcome:  # only now: `close` has raised where the server could not be told
            may_be_undone = self._doubted and outcome.told
            look_in = self._next_look(self._told_at or time.time() if may_be_undone else 0.0)
            self._save(confirmed, ended=True, unsettled=self._told_at)
        self.drop()
        return Closed(outcome is not None, look_in)

    def _bring(self, missing: int | None, end: Position, count: int | None = None) -> None:
        """Send again what is missing from a line on, if any is. count: see `_lacks`. Raises
        UploadError, OSError."""
        if missing is not None:
            send_again(self._content(), self._alive(), missing, end)
            missing = self._lacks(end, count)
        if missing is not None:
            raise still_missing(missing, end.ordinal, self._there)
        self._contradictions = 0

    def _lacks(
        self, end: Position, count: int | None = None, *, cheaply: bool = True
    ) -> int | None:
        """The first line before `end` that the server hasn't; None when it has them all. count: of
        the run's lines there, where the file's are not the last. cheaply: by its first and last row
        and the number of steps, where these are as they should be. Raises RunRefused where it has
        others, UploadError, OSError."""
        content, attempt = self._content(), self._noted.config_before(end)[1]
        if cheaply and content.looks_right(end, attempt, count or end.ordinal):
            return None
        return content.first_missing(end.ordinal)

    def _outcome_at(self, at: Position) -> Outcome | None:
        """The outcome that the file ends with, if it ends there."""
        return (
            None
            if tailer.read(self._log, at, search=0).lines
            else outcome_before(self._log, at.offset)
        )

    def _alive(self) -> Uploader:
        # A drop between two actions (a retry, a file that moved) leaves the scheduler one action
        # behind; it learns from this failure, as from any other
        if self._uploader is None:
            raise RunTrouble("its session is gone", where=self.path.name)
        if self._entity() not in ("", self._opened_at):
            raise troubles.account_changed(self._entity(), self._opened_at)
        return self._uploader

    def _check_stopped(self) -> None:
        """Raises Unreachable once the daemon is stopped: reading a log of gigabytes takes longer
        than a stop may."""
        self._destination.pause(0)

    def _take_lease(self) -> None:
        # Beside the log, not in the state folder: login nodes of a cluster share the one, and each
        # has its own of the other. Where the file moves, its lease does
        run_lease = lease.run_lease(self.path, self.header.run_id, self._place, self._lock_dir)
        if self._lease is None or self._lease.path != run_lease.path:
            self._lease = run_lease  # kept: it's the time between its tries that shows a dead host
        # Courtesy, not safety: on a file system without locks two daemons may both believe they
        # hold it. They then send equal lines to equal places
        if not lease.take(self._lease):
            holder = lease.holder(self._lease)
            raise Leased(
                f"another uploader has this run: {holder or 'a process that left no name'}",
                where=self.path.name,
                meaning="Its records are uploaded from there",
            )

    def _locate(self, count: int, known: Cursor | None) -> Position:
        """Where line `count` begins, or the file's lines end where there are fewer. From the cursor
        where the file is what it speaks of."""
        # The cursor saves reading the file from its start, if the file is still the one that it
        # speaks of
        if known is not None:
            fingerprint.check(self._log, known.confirmed, known.fingerprint)
        if known is not None and known.confirmed.ordinal <= count:
            at, notes = known.confirmed, known.notes
            attempt = known.attempt or attempt_before(
                self._log, at, self._begin
            )  # older cursors lack it
            config = (known.config_at, attempt)
        else:
            known, at, notes, config = None, self._begin, 0, (0, 1)
        self._noted.begin(at.ordinal, notes, config)
        for lines in self._read_until(count, at):
            # Beyond a cursor are few lines, perhaps with bad ones that a session sent, and died
            # before it kept them. Without one it may be a million, and parsing them takes seconds
            with memory.for_lines(len(lines.data), len(lines)):
                seen = lines if known else self._noted.among(lines)
                self._noted.look_at([slim(line) for line in seen], self.path)
            at = lines.end
        return at

    def _save(
        self,
        at: Position,
        shown: Fingerprint | None = None,
        *,
        ended: bool,
        unsettled: float = 0.0,
        uncounted: int = 0,
        sync: bool = True,
    ) -> None:
        """Remember what the server confirmed. shown: by the file there, where that is known."""
        # Before the cursor goes past them: the lines are not read again
        noted = self._noted.save_again()
        config_at, attempt = self._noted.config_before(at)
        known = Cursor(
            run_id=self.key,
            project=self.project,
            # where it was really sent to: the account may have become another since
            entity=self._opened_at or self._entity(),
            path=str(self.path),
            fingerprint=shown or fingerprint.fingerprint(self._log, at),
            confirmed=at,
            base=self._begin.ordinal,
            notes=self._noted.count(at.ordinal),
            config_at=config_at,
            attempt=attempt,
            uncounted=uncounted,
            stopped=self._stopped,
            ended=ended,
            unsettled=unsettled,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            head=head_of(self._log, at.offset) if ended else None,
        )
        # Where the server counts, a cursor that stays behind costs a re-read, which finds bad lines
        # again that the state folder has not taken; elsewhere it is all that says what arrived
        if noted or uncounted or not self._destination.counts:
            self._remembered.save(known, sync=sync)
        else:
            self._remembered.keep(known, sync=sync)


def _just_written(there: Identity) -> RunTrouble:
    return RunTrouble(
        f"somebody else has written to the run at {there.name} just now",
        meaning="Nothing of this file was sent there; its records are safe on disk",
        remedy="Nothing to do: whose the others are is looked at before anything is sent",
    )
