"""One run's upload: each action yields one event; a failed one drops the session."""

from __future__ import annotations

import errno
import fcntl
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Lock
from karaoke_train.runlog.reader import Line, Position, parse_line
from syncd import memory
from syncd.destination.base import Destination, Outcome, Target
from syncd.destination.refusals import not_counted, out_of_place
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination
from syncd.errors import Leased, NotCounted, RunRefused, RunTrouble, Unreachable, UploadError
from syncd.source import marked, tailer
from syncd.source.scanner import LogFile, LogScanner
from syncd.state import cursor, decisions, lease, quarantine
from syncd.sync.content import Content
from syncd.sync.outcome import CRASHED
from syncd.sync.remembered import LOST_TRIES
from syncd.sync.scheduler import (
    AlreadyComplete,
    Blocked,
    Checked,
    Closed,
    Confirmed,
    Failed,
    Opened,
    Run,
    Sent,
)
from syncd.sync.session import Session
from tests.fakes.uploads import FakeServer, FakeUploader, PromptServer
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.patience import patience
from tests.syncd.world import NAME, config_line, end_line, offset_of, train_line

if TYPE_CHECKING:
    from syncd.sync.scheduler import Event

DATA = config_line() + b"".join(map(train_line, range(5)))  # six lines
END = Position(6, len(DATA))
FINISHED = Outcome("finished", 0)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(DATA)
    return path


def session(path: Path, server: Destination, **how: Any) -> Session:
    file = LogScanner().look(path)
    assert isinstance(file, LogFile)
    how = {"state": path.parent / "state", "entity": lambda: "team"} | how
    return Session(file, server, **how)


def at(ordinal: int) -> Position:
    return Position(ordinal, offset_of(DATA, ordinal))


def failed(event: Event) -> UploadError:
    assert isinstance(event, Failed | Blocked), event
    return event.error


def uploaded(one: Session, server: FakeServer) -> None:
    """All six lines, confirmed."""
    assert one.open() == Opened(at(0))
    assert one.send(at(0), 99) == Sent(END, END.offset)
    server.deliver()
    assert one.confirm(at(0)) == Confirmed(END)


def brought(path: Path, server: FakeServer) -> Session:
    """A session whose lines are all at the server, and not confirmed."""
    one = session(path, server)
    one.open()
    one.send(at(0), 99)
    server.deliver()
    return one


def test_an_account_that_becomes_another_ends_the_session_which_starts_over_there(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = ["team"]
    one = session(path, server, entity=lambda: accounts[-1])
    assert one.open() == Opened(at(0))
    one.send(at(0), 99)
    server.deliver()
    count = FakeUploader.confirm

    def changes_meanwhile(uploader: FakeUploader) -> int:
        accounts.append("others")
        return count(uploader)

    monkeypatch.setattr(FakeUploader, "confirm", changes_meanwhile)
    error = failed(one.confirm(at(0)))
    assert "runs go to others now; this one's records went to team" in error.what
    known = cursor.load(path.parent / "state" / "cursors", "run-1")
    assert known is not None
    assert known.entity == "team", "where the records are"
    server.runs.clear()  # the other account has none of it
    assert one.open() == Opened(at(0))
    known = cursor.load(path.parent / "state" / "cursors", "run-1")
    assert known is not None
    assert (known.entity, known.confirmed.ordinal) == ("others", 0)


def test_a_run_opened_sent_confirmed_and_closed(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    assert one.initial(5.0) == Run(grown_at=5.0)
    uploaded(one, server)
    assert one.close(FINISHED, END) == Closed(True)
    assert server.violations == []
    known = cursor.load(path.parent / "state" / "cursors", "run-1")
    assert known is not None
    assert (known.confirmed, known.ended, known.entity, known.project) == (
        END, True, "team", "songs",
    )  # fmt: skip


def test_an_account_that_becomes_another_while_the_end_is_told_has_none_of_it(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = ["team"]
    one = session(path, server, entity=lambda: accounts[-1])
    uploaded(one, server)
    monkeypatch.setattr(FakeUploader, "close", lambda *_: accounts.append("others"))
    assert one.close(FINISHED, END) == Closed(True)
    known = cursor.load(path.parent / "state" / "cursors", "run-1")
    assert known is not None
    assert (known.entity, known.ended) == ("team", True)


def test_a_part_is_sent_where_not_more_is_allowed(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    one.open()
    assert one.send(at(0), 2) == Sent(at(2), at(2).offset)
    assert one.send(at(2), 99) == Sent(END, END.offset)


SHORT = b"""{"type":"epoch_summary","epoch":1,"train_loss":0.5}
{"type":"media","step":1,"key":"k","path":"a.png","kind":"image"}
"""


@pytest.mark.parametrize("again", [False, True])
def test_ending_a_run_reads_the_lines_that_were_noted_and_no_others(
    again: bool, path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(DATA + SHORT + end_line())
    end = Position(9, path.stat().st_size)
    one = brought(path, server)
    one.confirm(at(0))
    if again:  # after a restart, too
        one.drop()
        one = session(path, server)
        assert one.open() == Opened(end, outcome=FINISHED)
    monkeypatch.setattr(marked, "marked_lines", None)
    assert one.close(FINISHED, end) == Closed(True, 30.0 if again else 0.0)
    assert [record["epoch"] for record in server.runs["run-1"].epochs] == [1]


@pytest.mark.parametrize("damage", ["", "6 0\n7 60\n", "6 5\n", "x"])
def test_where_the_notes_are_lost_the_lines_are_looked_for(
    damage: str, path: Path, server: FakeServer
) -> None:
    path.write_bytes(DATA + SHORT + end_line())
    one = brought(path, server)
    one.confirm(at(0))
    (path.parent / "state" / "notes" / "run-1.txt").write_text(damage)
    one.drop()
    again = session(path, server)
    again.open()
    again.close(FINISHED, Position(9, path.stat().st_size))
    assert [record["epoch"] for record in server.runs["run-1"].epochs] == [1]


def test_a_run_that_the_server_does_not_have_is_not_read_to_be_opened(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "read", None)
    assert session(path, server).open() == Opened(at(0))


def test_without_a_cursor_no_line_is_parsed_that_needs_not_be(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(DATA + SHORT + train_line(6) + b"torn\n" + end_line())
    lines = path.read_bytes().splitlines(keepends=True)
    end = Position(len(lines), path.stat().st_size)
    server.ahead = 99
    one = session(path, server)
    one.open()
    one.send(at(0), 9)
    server.deliver()
    one.drop()
    shutil.rmtree(path.parent / "state")
    parsed: list[int] = []
    monkeypatch.setattr(
        marked, "parse_line", lambda raw, at: parsed.append(at.ordinal) or parse_line(raw, at)
    )
    again = session(path, server)
    begin = Position(9, sum(map(len, lines[:9])))
    assert again.open() == Opened(begin, 99)
    assert set(parsed) == {0, 6, 7}
    again.send(begin, 99)
    server.deliver()
    again.confirm(begin)
    monkeypatch.setattr(marked, "marked_lines", None)
    assert again.close(FINISHED, end) == Closed(True, 30.0)
    assert [record["epoch"] for record in server.runs["run-1"].epochs] == [1]


def test_without_a_cursor_a_line_that_is_no_object_is_kept_again(
    path: Path, server: FakeServer
) -> None:
    path.write_bytes(DATA + b"torn\n")
    one = brought(path, server)
    one.drop()
    shutil.rmtree(path.parent / "state")
    again = session(path, server)
    assert again.open() == Opened(Position(7, path.stat().st_size))
    assert quarantine.load(path.parent / "state" / "quarantine", "run-1").count == 1


def test_a_bad_line_that_a_session_sent_and_did_not_live_to_keep_is_kept(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(DATA + b'{"broken between its braces}\n')
    one = session(path, server)
    one.open()
    monkeypatch.setattr(one._noted, "look_at", lambda *_: None)
    one.send(at(0), 99)
    server.deliver()
    one.drop()
    again = session(path, server)
    assert again.open() == Opened(Position(7, path.stat().st_size))
    assert quarantine.load(path.parent / "state" / "quarantine", "run-1").count == 1


def test_the_config_that_is_told_is_the_newest_before_the_servers_count(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Content, "first_missing", None)  # the cheap look finds the rows right
    third = config_line(config={"lr": 3})
    path.write_bytes(DATA + config_line(config={"lr": 2}) + third)
    one = session(path, server)
    one.open()
    one.send(at(0), 7)
    server.deliver()
    one.drop()
    shutil.rmtree(path.parent / "state")
    assert session(path, server).open() == Opened(Position(7, path.stat().st_size - len(third)))
    target = server.runs["run-1"].target
    assert (target.header.config, target.attempt) == ({"lr": 2}, 2)


def test_an_end_that_the_cursor_does_not_know_to_be_told_is_told_again(
    path: Path, server: FakeServer
) -> None:
    """Its pictures may be missing there: a server shows an end that was told before them."""
    path.write_bytes(DATA + end_line())
    end = Position(7, path.stat().st_size)
    one = brought(path, server)
    one.confirm(at(0))
    one.drop()
    server.runs["run-1"].shown = "finished"
    assert session(path, server).open() == Opened(end, outcome=FINISHED)


def test_what_is_confirmed_is_where_the_server_is(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    one.open()
    one.send(at(0), 99)
    assert one.confirm(at(0)) == Confirmed(at(0))
    server.deliver(4)
    assert one.confirm(at(0)) == Confirmed(at(4))
    assert one.confirm(at(4)) == Confirmed(at(4))


def test_a_send_has_no_more_lines_than_the_uploader_wants(path: Path, server: FakeServer) -> None:
    server.most = 2
    one = session(path, server)
    one.open()
    assert one.send(at(0), 99) == Sent(at(2), at(2).offset)
    assert one.send(at(2), 1) == Sent(at(3), at(3).offset)


def test_a_large_read_waits_for_room_with_nothing_in_hand(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = session(path, server)
    run.open()
    with path.open("ab") as file:
        file.writelines(b"x\n" for _ in range(2000))
    whole = path.stat().st_size
    held: list[bool] = []

    @contextmanager
    def room(size: int, count: int = 1) -> Iterator[None]:
        held.append(True)
        with path.open("ab") as file:
            file.write(train_line(9))  # which is read, as what was read before is let go
        yield
        held.append(False)

    really = run._noted.look_at

    def look_at(lines: Sequence[Line], path: Path) -> None:
        assert held == [True]  # until all that was made of the lines is let go
        really(lines, path)

    monkeypatch.setattr(memory, "for_lines", room)
    monkeypatch.setattr(run._noted, "look_at", look_at)
    sent = run.send(Position(), 10_000)
    assert isinstance(sent, Sent)
    assert sent.upto.offset == whole + len(train_line(9))
    assert held == [True, False]


def test_who_waited_for_room_while_the_daemon_was_stopped_sends_nothing(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = session(path, server)
    run.open()
    with path.open("ab") as file:
        file.writelines(b"x\n" for _ in range(2000))
    monkeypatch.setattr(server, "pause", stopped)
    assert isinstance(run.send(Position(), 10_000), Failed)
    assert server.sent == 0


def test_a_stop_does_not_wait_until_a_log_was_searched_for_what_its_end_needs(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with path.open("ab") as file:
        file.write(b'{"type":"epoch_summary","epoch":0}\n' * 99 + end_line())
    one = brought(path, server)
    end = Position(106, path.stat().st_size)
    one.confirm(at(0))
    searched: list[Line] = []
    really = marked.lines_at

    def lines_at(path: Path, places: Iterable[Position]) -> Iterator[Line]:
        for line in really(path, places):
            searched.append(line)
            yield line

    monkeypatch.setattr(marked, "lines_at", lines_at)
    monkeypatch.setattr(server, "pause", stopped)
    assert isinstance(failed(one.close(FINISHED, end)), Unreachable)
    assert len(searched) == 1
    assert server.runs["run-1"].outcome is None


def test_a_stop_does_not_wait_until_a_log_was_read_to_the_servers_count(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session(path, server)
    uploaded(one, server)
    one.drop()
    cursor.remove(path.parent / "state" / "cursors", "run-1")
    monkeypatch.setattr(server, "pause", stopped)
    assert isinstance(failed(one.open()), Unreachable)


def test_a_stop_does_not_wait_until_a_summary_was_brought_forward_by_a_log(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = brought(path, server)
    one.drop()
    session(path, server).open()
    since = server.runs["run-1"].target.since
    assert since
    attempt, pieces = since(2, 6)
    assert (attempt, [line.at.ordinal for lines in pieces for line in lines]) == (1, [2, 3, 4, 5])
    monkeypatch.setattr(server, "pause", stopped)
    with pytest.raises(Unreachable):
        list(since(2, 6)[1])


def stopped(seconds: float) -> None:
    raise Unreachable("the daemon is stopping")


def test_what_the_server_has_is_looked_at_before_an_end_is_told(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    uploaded(one, server)
    server.runs["run-1"].rows[-1] = {"_step": 5, "foreign": 1}
    assert "are not the file's" in failed(one.close(FINISHED, END)).what
    assert server.runs["run-1"].outcome is None


def test_a_file_that_was_written_over_is_found_before_its_end_is_told(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session(path, server)
    uploaded(one, server)
    monkeypatch.setattr(Content, "looks_right", lambda *_: True)  # the server has what was sent
    path.write_bytes(DATA.replace(b"0.2}", b"0.9}"))
    assert isinstance(one.close(FINISHED, END), Blocked)
    assert server.runs["run-1"].outcome is None


def test_a_part_whose_place_another_one_took_before_it_sent_anything_begins_behind_it(
    tmp_path: Path, server: FakeServer
) -> None:
    mine, theirs = tmp_path / "mine.jsonl", tmp_path / "theirs.jsonl"
    for file, part in ((mine, "mine"), (theirs, "theirs")):
        file.write_bytes(config_line(part=part) + b"".join(map(train_line, range(5))))
    there = PromptServer(server)
    first = session(mine, there, still_for=0.0)
    assert first.open() == Opened(Position())
    first.drop()
    other = session(theirs, there, state=tmp_path / "elsewhere", still_for=0.0)
    assert other.open() == Opened(Position(1, len(config_line(part="theirs"))))  # its claim
    other.send(Position(1, len(config_line(part="theirs"))), 2)
    other.drop()
    server.runs["run-1"].shown = "crashed"
    again = session(mine, there, still_for=0.0)
    length = len(config_line(part="mine"))
    assert again.open() == Opened(Position(4, length), base=3)
    assert isinstance(again.send(Position(4, length), 99), Sent)
    assert [row["_step"] for row in server.runs["run-1"].rows] == list(range(9))
    assert server.violations == []


def two_parts_of_an_empty_run(tmp_path: Path, there: Destination) -> tuple[Path, Path]:
    """Files of two machines with one run's id, which the server has, and no line of it."""
    mine, theirs = tmp_path / "mine.jsonl", tmp_path / "theirs.jsonl"
    for file, part in ((mine, "mine"), (theirs, "theirs")):
        file.write_bytes(config_line(part=part) + b"".join(map(train_line, range(5))))
    begun = session(mine, there, state=tmp_path / "begun")
    begun.open()
    begun.drop()
    return mine, theirs


def test_of_two_machines_that_begin_a_run_at_the_same_moment_each_ones_lines_are_kept(
    tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers that a run was made were lost: both look again, see no lines, and send."""
    there = PromptServer(server)
    mine, theirs = two_parts_of_an_empty_run(tmp_path, there)
    run = server.runs["run-1"]

    def other_comes(seconds: float) -> None:
        if run.rows and seconds == 7.0:  # mine is there, and waits for what may come to its place
            run.rows.clear()
            run.records.clear()
            monkeypatch.setattr(server, "pause", lambda _: None)
            other = session(theirs, there, state=tmp_path / "elsewhere")
            assert isinstance(other.open(), Opened)
            assert isinstance(other.send(Position(1, len(config_line(part="theirs"))), 99), Sent)
            other.drop()

    monkeypatch.setattr(server, "pause", other_comes)
    one = session(mine, there, still_for=7.0)
    error = failed(one.open())
    assert "another part of the run has come to line 0" in error.what
    assert len(run.rows) == 6
    server.runs["run-1"].shown = "crashed"
    again = session(mine, there, still_for=0.0)
    at = Position(7, len(config_line(part="mine")))
    assert again.open() == Opened(at, base=6)
    assert isinstance(again.send(at, 99), Sent)
    assert [row["_step"] for row in run.rows] == list(range(12))
    assert server.violations == []


def test_what_came_to_a_run_while_a_session_was_being_opened_is_not_written_over(
    tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = PromptServer(server)
    mine, theirs = two_parts_of_an_empty_run(tmp_path, there)
    opened = FakeUploader.open

    def slowly(uploader: FakeUploader) -> int:
        count = opened(uploader)
        monkeypatch.setattr(FakeUploader, "open", opened)
        other = session(theirs, there, state=tmp_path / "elsewhere")
        assert isinstance(other.open(), Opened)
        return count

    monkeypatch.setattr(FakeUploader, "open", slowly)
    error = failed(session(mine, there).open())
    assert "somebody else has written to the run" in error.what
    assert server.count("run-1") == 1
    assert server.violations == []


@pytest.mark.parametrize("heard", [True, False])
def test_a_row_that_somebody_adds_to_a_run_that_stood_still_is_not_written_over(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """As `wandb.init(id=…, resume="must")` and a score do, while the training goes on."""
    one = session(path, server)
    uploaded(one, server)
    with path.open("ab") as file:
        file.write(train_line(5))
    run = server.runs["run-1"]
    run.rows.append({"_step": 6, "test/score": 0.93})
    run.records.append({"test/score": 0.93})
    monkeypatch.setattr("syncd.sync.session._UNHEARD", 60.0 if heard else 0.0)
    event = one.send(END, 99)
    if heard:  # the server was asked a moment ago
        assert isinstance(event, Sent)
        return
    assert "holds 7 records, more than the 6 sent" in failed(event).what
    error = failed(one.open())
    assert isinstance(error, RunRefused)
    server.deliver()
    assert run.rows[6] == {"_step": 6, "test/score": 0.93}


def test_a_contradiction_may_be_a_late_answer_and_the_second_in_a_row_is_mended(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contradicts(uploader: FakeUploader) -> int:  # as the SDK's does
        raise out_of_place(0)

    monkeypatch.setattr(FakeUploader, "open", contradicts)
    server.rewinding = False
    one = session(path, server)
    failed(one.open())
    assert not server.rewinding
    failed(one.open())
    assert server.rewinding


def test_after_a_contradiction_every_record_is_compared_whatever_a_glance_says(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    monkeypatch.setattr(Content, "looks_right", lambda *_: True)
    monkeypatch.setattr(Content, "first_missing", lambda _, end: compared.append(end))
    one = session(path, server)
    uploaded(one, server)
    one.drop()
    assert one.open() == Opened(END)
    assert compared == []
    server.meaning_of_a_stall = lambda first, sent: out_of_place(first)
    failed(one.stalled(END, END))
    assert one.open() == Opened(END)
    assert compared == [6]


def test_contradictions_with_a_session_between_them_are_not_in_a_row(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, answers = FakeUploader.open, [True, False, True]

    def contradicts(uploader: FakeUploader) -> int:
        if answers.pop(0):
            raise out_of_place(0)
        return opened(uploader)

    monkeypatch.setattr(FakeUploader, "open", contradicts)
    server.rewinding = False
    one = session(path, server)
    failed(one.open())
    assert isinstance(one.open(), Opened)
    one.drop()
    failed(one.open())
    assert not server.rewinding


def test_of_another_file_in_its_place_the_server_is_asked_nothing(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    path.write_bytes(config_line("other") + train_line(1))
    assert isinstance(one.open(), Blocked)
    assert server.asked == []


def test_a_run_is_given_to_others_once_its_uploader_has_let_go(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, free = session(path, server), list[bool]()
    one.open()
    rival = lease.run_lease(path, "run-1", "state")
    monkeypatch.setattr(FakeUploader, "abandon", lambda _: free.append(lease.take(rival)))
    one.drop()
    assert free == [False]
    assert lease.take(rival)
    rival.release()


def test_only_lines_that_were_taken_and_not_counted_are_kept_as_such(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    one.open()
    one.send(at(0), 99)
    failed(one.stalled(at(0), END))  # the server counts, and stands still
    assert known(path).uncounted == 0
    one.open()
    one.send(at(0), 99)
    server.meaning_of_a_stall = not_counted
    failed(one.stalled(at(0), END))
    assert known(path).uncounted == 6


@pytest.mark.parametrize("counts", [True, False])
def test_what_only_answers_confirm_is_kept_through_a_power_cut(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, counts: bool
) -> None:
    one, kept = session(path, server), list[bool]()
    one.open()
    one.send(at(0), 99)
    server.deliver()
    server.counting = counts
    save = cursor.save
    monkeypatch.setattr(
        cursor, "save", lambda *what, sync=True: kept.append(sync) or save(*what, sync=sync)
    )
    assert isinstance(one.confirm(at(0)), Confirmed)
    assert kept == [not counts]


def test_a_torn_tail_is_nothing_to_send(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    uploaded(one, server)
    with path.open("ab") as file:
        file.write(b'{"torn')
    assert one.send(END, 99) == Sent(END, END.offset + 6)


def test_an_end_is_an_outcome(path: Path, server: FakeServer) -> None:
    for status, code, outcome in (
        ("failed", 3, Outcome("failed", 3)),
        ("interrupted", 130, Outcome("interrupted", 130)),
    ):
        path.write_bytes(DATA + end_line(status, code))
        one = session(path, server)
        one.open()
        event = one.send(at(0), 99)
        assert isinstance(event, Sent)
        assert event.outcome == outcome
        one.drop()


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        (b"", FINISHED),
        (b',"status":"failed"', Outcome("failed", 1)),
        (b',"status":null,"exit_code":null', FINISHED),
        (b',"exit_code":"x"', FINISHED),
    ],
)
def test_an_end_that_says_little_is_taken_kindly(
    path: Path, server: FakeServer, fields: bytes, outcome: Outcome
) -> None:
    path.write_bytes(config_line() + b'{"type":"end"' + fields + b"}\n")
    one = session(path, server)
    one.open()
    event = one.send(Position(), 99)
    assert isinstance(event, Sent)
    assert event.outcome == outcome


def test_a_finished_run_is_settled_without_a_session(path: Path, server: FakeServer) -> None:
    path.write_bytes(DATA + end_line())
    one = brought(path, server)
    end = Position(7, path.stat().st_size)
    one.confirm(at(0))
    one.close(FINISHED, end)
    again = session(path, server)
    cursor.remove(path.parent / "state" / "cursors", "run-1")
    assert again.open() == AlreadyComplete(end, scanned_to=end.offset)
    assert server.sessions == []
    known = again.initial(5.0)
    assert (known.confirmed, known.outcome, known.ended) == (end, FINISHED, True)


@pytest.mark.parametrize("shown", ["running", "crashed", "failed", ""])
def test_a_finished_run_that_the_server_shows_otherwise_is_ended_again(
    shown: str, path: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(DATA + end_line())
    one = brought(path, server)
    end = Position(7, path.stat().st_size)
    one.confirm(at(0))
    one.drop()
    server.runs["run-1"].shown = shown
    server.rewinding = False
    cursor.remove(path.parent / "state" / "cursors", "run-1")
    again = session(path, server)
    assert again.open() == Opened(end, outcome=FINISHED)
    assert "its end was told" not in caplog.text, "it may never have been"
    assert not server.rewinding
    assert again.close(FINISHED, end) == Closed(True, 30.0)


def known(path: Path) -> cursor.Cursor:
    found = cursor.load(path.parent / "state" / "cursors", "run-1")
    assert found is not None
    return found


def taken_over(path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A run whose end was told, at second 1000, by another process than that which began it."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    path.write_bytes(DATA + end_line())
    one = brought(path, server)
    one.confirm(at(0))
    one.drop()
    other = session(path, server)
    other.open()
    assert other.close(FINISHED, Position(7, path.stat().st_size)) == Closed(True, 30.0)
    return other


def test_only_an_end_that_a_late_post_may_undo_is_looked_at_again(
    path: Path, server: FakeServer
) -> None:
    path.write_bytes(DATA + end_line())
    one = brought(path, server)
    end = Position(7, path.stat().st_size)
    one.confirm(at(0))
    assert one.close(None, end) == Closed(False)  # in order
    one.open()
    assert one.close(FINISHED, end) == Closed(True)
    assert (known(path).unsettled, one.initial(0.0).ended) == (0.0, True)


@pytest.mark.parametrize(
    ("now", "look_in", "since"),
    [(1030.0, 90.0, 1000.0), (1600.0, 0.0, 0.0), (400.0, 30.0, 400.0)],
    ids=["soon", "settled", "clock set back"],
)
def test_an_end_is_settled_once_it_was_shown_for_long_enough(
    now: float, look_in: float, since: float, path: Path, server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    taken_over(path, server, monkeypatch)
    monkeypatch.setattr(time, "time", lambda: now)
    later = session(path, server)
    assert not later.initial(0.0).ended
    end = Position(7, path.stat().st_size)
    assert later.open() == AlreadyComplete(end, 0, end.offset, look_in)
    assert (known(path).ended, known(path).unsettled) == (True, since)


def test_a_run_that_a_late_post_has_reopened_is_ended_again(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    one = taken_over(path, server, monkeypatch)
    server.runs["run-1"].outcome, server.runs["run-1"].shown = None, "crashed"
    end = Position(7, path.stat().st_size)
    assert one.open() == Opened(end, outcome=FINISHED)
    assert "the run is shown as crashed, though its end was told" in caplog.text
    server.runs["run-1"].shown = ""
    assert one.close(FINISHED, end) == Closed(True, 30.0)
    assert server.runs["run-1"].outcome == FINISHED
    # whoever does so again and again is not fought for ever
    monkeypatch.setattr(time, "time", lambda: 1600.0)
    server.runs["run-1"].outcome = None
    one.open()
    assert one.close(FINISHED, end) == Closed(True)
    assert known(path).unsettled == 0.0


def test_a_run_that_goes_on_after_its_end_was_settled_is_doubted_no_more(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = taken_over(path, server, monkeypatch)
    ended = Position(7, path.stat().st_size)
    monkeypatch.setattr(time, "time", lambda: 1600.0)
    assert one.open() == AlreadyComplete(ended, 0, ended.offset)
    with path.open("ab") as file:
        file.write(train_line(9) + end_line())
    end = Position(9, path.stat().st_size)
    assert isinstance(one.open(), Opened)
    one.send(ended, 99)
    server.deliver()
    assert one.confirm(ended) == Confirmed(end)
    assert one.close(FINISHED, end) == Closed(True)


def test_an_end_that_another_process_tells_again_is_looked_at_no_longer_for_it(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_over(path, server, monkeypatch)
    server.runs["run-1"].outcome = None
    end = Position(7, path.stat().st_size)
    monkeypatch.setattr(time, "time", lambda: 1100.0)
    later = session(path, server)
    assert later.open() == Opened(end, outcome=FINISHED)
    assert later.close(FINISHED, end) == Closed(True, 300.0)
    assert known(path).unsettled == 1000.0


def test_a_state_folder_that_takes_no_writes_does_not_have_an_end_looked_at_for_ever(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = taken_over(path, server, monkeypatch)
    monkeypatch.setattr(cursor, "save", fails)
    end = Position(7, path.stat().st_size)
    monkeypatch.setattr(time, "time", lambda: 1030.0)
    assert one.open() == AlreadyComplete(end, 0, end.offset, 90.0)
    cursor.remove(path.parent / "state" / "cursors", "run-1")
    monkeypatch.setattr(time, "time", lambda: 1600.0)
    server.runs["run-1"].outcome = None
    one.open()
    assert one.close(FINISHED, end) == Closed(True)


def fails(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_a_run_that_was_deleted_after_its_end_is_no_trouble(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = taken_over(path, server, monkeypatch)
    server.delete("run-1")
    end = Position(7, path.stat().st_size)
    assert one.open() == AlreadyComplete(end, 0, end.offset)
    assert known(path).unsettled == 0.0


@pytest.mark.parametrize("more", [train_line(9), b'{"type":"tr'], ids=["a line", "a torn line"])
def test_a_deleted_run_whose_log_grew_after_its_end_is_no_reason_to_ask_on_and_on(
    more: bytes, path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = taken_over(path, server, monkeypatch)
    server.delete("run-1")
    monkeypatch.setattr(cursor, "save", fails)
    with path.open("ab") as file:
        file.write(more)
    event = one.open()
    if isinstance(event, AlreadyComplete):
        assert event.scanned_to == path.stat().st_size
    else:
        assert "holds 0 records" in failed(event).what


def test_an_end_that_was_told_again_after_a_failure_is_looked_at_as_if_it_was_told_first(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed may still come, whenever the end was told before."""
    one = taken_over(path, server, monkeypatch)
    server.runs["run-1"].outcome = None
    end = Position(7, path.stat().st_size)
    monkeypatch.setattr(time, "time", lambda: 1599.0)
    assert one.open() == Opened(end, outcome=FINISHED)
    server.faults.append("close")
    failed(one.close(FINISHED, end))
    monkeypatch.setattr(time, "time", lambda: 1900.0)
    assert one.open() == Opened(end, outcome=FINISHED)
    assert one.close(FINISHED, end) == Closed(True, 30.0)
    assert known(path).unsettled == 1900.0


def test_a_run_that_was_resumed_has_its_next_end_looked_at_from_then_on(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = taken_over(path, server, monkeypatch)
    server.runs["run-1"].outcome = None
    ended = Position(7, path.stat().st_size)
    assert one.open() == Opened(ended, outcome=FINISHED)
    with path.open("ab") as file:
        file.write(train_line(9) + end_line())
    end = Position(9, path.stat().st_size)
    assert one.send(ended, 99) == Sent(end, end.offset, FINISHED)
    server.deliver()
    assert one.confirm(ended) == Confirmed(end)
    monkeypatch.setattr(time, "time", lambda: 1500.0)
    assert one.close(FINISHED, end) == Closed(True, 30.0)
    assert known(path).unsettled == 1500.0


def test_a_failed_action_drops_the_session_and_its_lease(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    one.open()
    server.faults.append("send")
    assert failed(one.send(at(0), 99)).where == NAME
    assert server.sessions == []
    lock = lease.run_lease(path, "run-1", "state")
    assert lease.take(lock)
    lock.release()
    assert "its session is gone" in failed(one.confirm(at(0))).what
    assert server.violations == []


def test_another_uploader_keeps_the_run(path: Path, server: FakeServer) -> None:
    one, other = session(path, server), session(path, server)
    assert one.open() == Opened(at(0))
    assert isinstance(failed(other.open()), Leased)
    one.drop()
    assert other.open() == Opened(at(0))


def test_a_dead_hosts_lease_is_taken_over_where_there_are_no_locks(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr("karaoke_train.runlog.lock.LEASE", 0.2)
    lock = lease.run_lease(path, "run-1", "state").path
    lock.parent.mkdir()
    lock.write_text('{"host": "elsewhere", "pid": 1, "since": "then"}')
    lock.with_name(lock.name + ".lease").write_text(
        "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=t\nduration=0.2\n"
    )
    one = session(path, server)
    assert "process 1 on elsewhere" in failed(one.open()).what
    deadline = time.monotonic() + patience(10)
    while isinstance(event := one.open(), Failed) and time.monotonic() < deadline:
        time.sleep(0.02)  # as a daemon asks, now and then
    assert event == Opened(at(0))
    one.drop()


def test_a_bug_costs_its_run_a_retry(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    server.remote_run = lambda *_: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    error = failed(one.open())
    assert type(error) is RunTrouble
    assert "unexpected: ZeroDivisionError" in error.what


def test_a_stalled_session_is_dropped_in_words(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    one.open()
    error = failed(one.stalled(at(2), END))
    assert "stands still at 2 while 4 records wait" in error.what
    assert server.sessions == []


def test_what_to_do_about_a_refused_part_names_its_key_and_its_file(
    path: Path, server: FakeServer
) -> None:
    """The id of the whole run is the first part's key, which is another file."""
    server.deleted.add("run-1")
    part = session(path, server).file._replace(part="0c05c2a4")
    one = Session(part, server, state=path.parent / "state", entity=lambda: "team")
    remedy = failed(one.open()).remedy
    assert "karaoke-syncd forget run-1.0c05c2a4" in remedy
    assert f"karaoke-syncd sync --as_new {path}" in remedy


def test_what_a_server_took_and_does_not_count_is_not_sent_again(
    path: Path, server: FakeServer
) -> None:
    server.meaning_of_a_stall = not_counted
    one = brought(path, server)
    event = one.stalled(at(0), END)
    assert isinstance(event, Failed)  # its count is looked at again by itself
    assert "took 6 records, and counts none" in event.error.what
    assert "karaoke-syncd retry run-1" in event.error.remedy
    sent = server.sent
    server.lag = 6
    server.faults.append("stale_count")
    again = session(path, server)  # another daemon, too
    assert isinstance(failed(again.open()), NotCounted)
    assert again.open() == Opened(END)  # the count was only late
    assert server.sent == sent


def test_lines_that_took_the_places_of_others_are_no_lines_that_are_not_counted(
    path: Path, server: FakeServer
) -> None:
    """The server has a line beyond its count, and no more rows than it counts."""
    brought(path, whole := FakeServer()).drop()
    one = session(path, server)
    one.open()
    one.send(at(0), 4)
    server.deliver()
    one.confirm(at(0))
    one.drop()
    folder = path.parent / "state" / "cursors"
    known = cursor.load(folder, "run-1")
    assert known
    cursor.save(folder, known._replace(uncounted=6))
    rows = server.runs["run-1"].rows
    rows[2:] = whole.runs["run-1"].rows[4:]  # the third and fourth are gone
    server.rows = lambda _, start, stop: [row for row in rows if start <= row["_step"] < stop]  # type: ignore[method-assign]
    server.rewinding = False
    assert not isinstance(failed(session(path, server).open()), NotCounted)
    assert server.rewinding  # the next session can go back to the third


def test_a_retry_sends_again_what_was_not_counted(path: Path, server: FakeServer) -> None:
    server.meaning_of_a_stall = not_counted
    one = session(path, server)
    one.open()
    one.send(at(0), 99)
    one.stalled(at(0), END)
    decisions.retry(path.parent / "state", "run-1")
    assert one.open() == Opened(at(1))  # the first line claims the place, and was counted


def test_that_somebody_pressed_stop_is_kept_with_the_cursor(path: Path, server: FakeServer) -> None:
    server.stopped = True
    one = session(path, server)
    uploaded(one, server)
    known = cursor.load(path.parent / "state" / "cursors", "run-1")
    assert known
    assert known.stopped


def test_where_answers_confirm_a_session_goes_on_from_the_cursor(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    uploaded(one, server)
    one.drop()
    server.counting = False
    server.runs["run-1"].rows.clear()  # its count is 0, whatever came
    target: list[Target] = []
    server.uploader = lambda given: target.append(given) or FakeUploader(server, given)  # type: ignore[method-assign,func-returns-value]
    session(path, server).open()
    assert target[0].confirmed == 6


def test_more_lines_than_were_sent_open_the_session_anew(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    one.open()
    one.send(at(0), 2)
    server.deliver()
    server.runs["run-1"].rows.append({"_step": 2})
    assert type(failed(one.confirm(at(0)))) is RunTrouble


def test_a_count_short_of_the_confirmed_is_asked_for_again_and_then_a_decision(
    path: Path, server: FakeServer
) -> None:
    uploaded(one := session(path, server), server)
    one.drop()
    server.lose("run-1", 3)
    for _ in range(LOST_TRIES):
        assert type(failed(one.open())) is RunTrouble
    error = failed(one.open())
    assert isinstance(error, RunRefused)
    assert error.code == "lost_at_server"


def test_a_cursor_of_another_project_or_account_is_not_of_here(
    path: Path, server: FakeServer
) -> None:
    uploaded(one := session(path, server), server)
    one.drop()
    assert session(path, server, project="other").initial(0.0).confirmed == Position()
    folder = path.parent / "state" / "cursors"
    known = cursor.load(folder, "run-1")
    assert known is not None
    cursor.save(folder, known._replace(entity="choir"))
    assert session(path, server).initial(0.0).confirmed == Position()


def test_a_writer_is_alive_while_its_lock_is_held(path: Path, server: FakeServer) -> None:
    one = session(path, server)
    lock = Lock(lock_path(path))
    lock.acquire()
    assert one.check() == Checked(None)
    lock.release()
    assert one.check() == Checked(CRASHED)
    assert session(path, server, document=True).check() == Checked(FINISHED)


def test_a_writer_whose_lock_is_not_there_may_be_about_to_take_it_anew(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    assert one.check() == Checked(None)
    lock = Lock(lock_path(path))
    lock.acquire()
    assert one.check() == Checked(None)
    shutil.rmtree(path.parent / ".locks")
    assert [one.check(), one.check()] == [Checked(None), Checked(CRASHED)]


@pytest.mark.parametrize("action", ["open", "send", "confirm", "close"])
def test_a_file_that_is_gone_fails_the_action_in_words(
    path: Path, server: FakeServer, action: str
) -> None:
    one = session(path, server)
    if action != "open":
        uploaded(one, server)
    path.unlink()
    act = {
        "open": one.open,
        "send": lambda: one.send(END, 99),
        "confirm": lambda: one.confirm(at(2)),
        "close": lambda: one.close(FINISHED, END),
    }[action]
    event = act()
    if action == "confirm":  # nothing new to remember
        event = one.send(END, 99)
    assert "the file can't be read: No such file" in failed(event).what


def test_lines_still_on_their_way_when_a_session_opens_are_not_sent_again(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    one.open()
    one.send(at(0), 4)
    server.faults.append("late")
    one.drop()
    assert one.open() == Opened(at(4))
    assert one.send(at(4), 99) == Sent(END, END.offset)
    assert server.violations == []


def test_the_newest_config_is_shown_under_the_first_names(path: Path, server: FakeServer) -> None:
    newest = config_line(
        config={"lr": 9}, host="gpu-2", run_name="renamed", resumed=True, tags=["b"]
    )
    path.write_bytes(DATA + newest)
    uploaded_to = session(path, server)
    uploaded_to.open()
    uploaded_to.send(at(0), 99)
    server.deliver()
    uploaded_to.confirm(at(0))
    uploaded_to.drop()
    session(path, server).open()
    header = server.runs["run-1"].target.header
    assert (header.config, header.tags) == ({"lr": 9}, ("b",))
    assert (header.run_name, header.trainer["host"]) == ("name of run-1", "gpu-2")


@pytest.mark.parametrize("older", [False, True])
def test_a_session_goes_on_in_the_attempt_that_the_cursor_has(
    older: bool, path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = config_line(resumed=True)
    path.write_bytes(DATA + again + train_line(5) + again + train_line(6))
    one = session(path, server)
    one.open()
    one.send(at(0), 99)
    server.deliver(8)  # the second attempt's, and not the third's
    one.confirm(at(0))
    one.drop()
    folder = path.parent / "state" / "cursors"
    known = cursor.load(folder, "run-1")
    assert known
    assert (known.attempt, known.config_at) == (2, len(DATA))
    if older:
        cursor.save(folder, known._replace(attempt=0))
    else:
        monkeypatch.setattr("syncd.sync.session.attempt_before", None)
    other = session(path, server)
    begin = known.confirmed
    assert other.open() == Opened(begin)
    other.send(begin, 99)
    server.deliver()
    assert [row["attempt"] for row in server.runs["run-1"].rows] == [*[1] * 6, 2, 2, 3, 3]


@pytest.mark.process
def test_lines_in_the_places_of_lost_ones_are_found_before_others_follow(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a line cursor that went back leaves: the count is behind the last step. Posting on from
    the count would bring as many lines as there should be, two of them twice and two never."""
    monkeypatch.setattr("syncd.sync.missing.LATE_COUNT", (0.0,))
    with WandbServer(tmp_path / "wandb", world=World.LINE_CURSOR) as server:
        destination = WandbDestination(Login(server.url, "team", server.key, "test"), lane="direct")
        one = session(path, destination)
        one.open()
        one.send(at(0), 2)
        one.confirm(at(0))
        one.send(at(2), 99)
        one.drop()
        (run,) = server.store.runs.values()
        del run.history[2:4]
        run.cursors.clear()
        again = session(path, destination)
        opened = again.open()
        assert isinstance(opened, Opened), opened
        assert opened.at == at(4)
        assert [row["_step"] for row in server.history("run-1")] == [0, 1, 2, 3]
        again.send(at(4), 99)
        assert [row["_step"] for row in server.history("run-1")] == list(range(6))
        again.drop()
        destination.close()


@pytest.mark.parametrize("asked", ["remote_run", "uploader"])
def test_a_file_that_takes_the_place_while_the_server_is_asked_is_not_sent_as_the_run(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    one, other = session(path, server), path.with_name("other")
    other.write_bytes(DATA.replace(b"run-1", b"run-2"))
    ask = getattr(server, asked)

    def meanwhile(*what: Any) -> Any:
        other.replace(path)
        return ask(*what)

    with monkeypatch.context() as patch:
        patch.setattr(server, asked, meanwhile)
        error = failed(one.open())
    assert (type(error), server.sent) == (RunRefused, 0)
    assert "begins otherwise than when it was found" in error.what


def test_a_file_that_takes_the_place_of_one_of_which_nothing_was_sent_is_not_sent_as_the_run(
    path: Path, server: FakeServer
) -> None:
    one = session(path, server)
    assert one.open() == Opened(at(0))
    path.with_name("other").write_bytes(DATA.replace(b"run-1", b"run-2"))
    path.with_name("other").replace(path)
    assert isinstance(failed(one.send(at(0), 99)), RunRefused)
    assert server.sent == 0
