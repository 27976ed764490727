"""`sync`: what is gathered, what goes up, what is said of it at the end."""

from __future__ import annotations

import ast
import io
import itertools
import json
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog import RunLog
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Lock
from syncd.destination.base import Labels, Outcome
from syncd.destination.trackio.destination import TrackioDestination
from syncd.errors import Connection, Exit, Refused, Unreachable
from syncd.settings import Limits, Settings
from syncd.source import folder_tree
from syncd.state import daemon_report
from syncd.state.daemon_report import DaemonReport
from syncd.state.lease import state_lock
from syncd.sync import progress, run_once
from syncd.sync.run_once import collect_inputs, sync
from tests.fakes.console import FakeConsole
from tests.fakes.unreadable import unreadable
from tests.fakes.uploads import FakeServer, PromptServer
from tests.syncd.world import config_line, end_line, let_hang, train_line

DOCUMENT = {"config": {"lr": 1}, "train_metrics": [{"timestamp": "2024-01-15T12:00:00", "step": 1}]}


class Rig:
    """`sync` over a folder, with the destination in memory."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.server = FakeServer()
        limits = Limits(
            confirm_first=0.001, backoff_first=0.001, backoff_most=0.002, count_stable_for=0.001
        )
        self.settings = Settings(log_dir=(self.logs,), state_dir=folder / "state", limits=limits)
        self.out = io.StringIO()

    def log(self, name: str, *lines: bytes, run_id: str = "", **config: Any) -> Path:
        path = self.logs / f"training_log_{name}.jsonl"
        path.write_bytes(config_line(run_id or name, **config) + b"".join(lines))
        return path

    def sync(self, *paths: Path, **how: Any) -> Exit:
        inputs = collect_inputs(paths or self.settings.log_dir, self.settings.state_dir)
        there = PromptServer(self.server)
        return sync(
            [(self.settings, there)], inputs, FakeConsole(self.out), everything=not paths, **how
        )

    def said(self) -> str:
        return self.out.getvalue()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_all_logs_go_up_once(rig: Rig) -> None:
    rig.log("a", train_line(1), end_line())
    rig.log("b", train_line(1), train_line(2), end_line("failed", 2))
    assert rig.sync() is Exit.OK
    assert "7 records of 2 runs are on the server" in rig.said()
    assert rig.server.runs["b"].outcome == Outcome("failed", 2)
    sent = rig.server.sent
    assert rig.sync() is Exit.OK
    assert (rig.server.sent, rig.server.violations) == (sent, [])


def test_a_crashed_run_and_its_torn_tail_are_no_failure(rig: Rig) -> None:
    rig.log("a", train_line(1), b'{"torn')
    assert rig.sync() is Exit.OK
    assert rig.server.count("a") == 2


def test_folders_that_are_left_out_are_said_and_no_success(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.log("a", end_line())
    (rig.logs / "x").mkdir()
    (rig.logs / "x" / "training_log_b.jsonl").write_bytes(config_line("b") + end_line())
    monkeypatch.setattr(folder_tree, "MOST", 1)
    inputs = collect_inputs([rig.logs], rig.settings.state_dir, recursive=True)
    assert [path.parent for path in inputs.files] == [rig.logs]
    (error,) = inputs.unusable
    assert "runs in them are not uploaded" in str(error)


def test_beside_a_living_writer_it_ends(rig: Rig) -> None:
    with RunLog.create(rig.logs, project="songs", run_id="alive") as log:
        log.train(1, 0.0, {"train/loss": 1.0})
        assert rig.sync() is Exit.OK
        assert rig.server.runs["alive"].outcome is None
    assert rig.sync(follow=True) is Exit.OK
    assert rig.server.runs["alive"].outcome == Outcome("finished", 0)


@pytest.mark.slow  # waits for seconds of the real clock
def test_beside_a_writer_that_never_rests_it_ends_with_what_was_there(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.log("ended", train_line(1), end_line())
    with RunLog.create(rig.logs, project="songs", run_id="alive") as log:
        for step in range(1, 100):
            log.train(step, 0.0, {"train/loss": 1.0})
        wait, more = run_once.wait_for, itertools.count(100)

        def busy(daemons: Any) -> None:
            log.train(next(more), 0.0, {"train/loss": 1.0})
            wait(daemons)

        monkeypatch.setattr(run_once, "wait_for", busy)
        assert rig.sync() is Exit.OK
        assert rig.server.count("alive") >= 100
        assert "of 2 runs are on the server: all that were there. 1 of them is still being" in (
            rig.said()
        )
        monkeypatch.undo()
    assert rig.sync() is Exit.OK
    assert (rig.server.count("alive"), rig.server.violations) == (next(more) + 1, [])


def test_a_run_kept_local_goes_up_only_when_named(rig: Rig) -> None:
    path = rig.log("a", end_line(), upload=False)
    assert rig.sync() is Exit.OK
    assert rig.server.runs == {}
    assert rig.sync(path) is Exit.OK
    assert rig.server.count("a") == 2


def test_a_named_file_goes_up_under_the_name_that_is_asked_for(rig: Rig) -> None:
    path = rig.log("a", end_line())
    rig.log("b", end_line())
    assert rig.sync(path, run_name="mine") is Exit.OK
    assert list(rig.server.runs) == ["a"]
    assert rig.server.runs["a"].target.header.run_name == "mine"


def test_labels_are_told_of_runs_that_go_up_and_of_those_that_are_there(rig: Rig) -> None:
    rig.log("a", end_line())
    assert rig.sync() is Exit.OK
    rig.log("b", end_line())
    labels = Labels(("good",), notes="n")
    assert rig.sync(labels=labels) is Exit.OK
    assert {ref.run_id: told for ref, told in rig.server.labelled.items()} == {
        "a": labels,
        "b": labels,
    }
    assert {(ref.entity, ref.project) for ref in rig.server.labelled} == {("team", "songs")}


def test_labels_of_a_run_in_parts_are_the_runs(rig: Rig) -> None:
    rig.log("first", train_line(1), end_line(), run_id="a", created_at="2024-01-01T00:00:00+00:00")
    rig.log("then", train_line(2), end_line(), run_id="a", created_at="2024-01-02T00:00:00+00:00")
    labels = Labels(("good",))
    assert rig.sync(labels=labels) is Exit.OK
    assert {ref.run_id: told for ref, told in rig.server.labelled.items()} == {"a": labels}


def test_labels_that_could_not_be_told_are_said(rig: Rig) -> None:
    rig.log("a", end_line())
    rig.server.deleted.add("a")
    assert rig.sync(labels=Labels(("good",))) is Exit.DECISION
    assert "its labels were not told" in rig.said()


def test_a_document_is_a_run_that_is_finished_and_the_same_one_again(rig: Rig) -> None:
    document = rig.logs / "training_log_20240115_120000.json"
    document.write_text(json.dumps(DOCUMENT))
    assert rig.sync() is Exit.OK
    ((run_id, run),) = rig.server.runs.items()
    assert run.outcome == Outcome("finished", 0)
    assert run.target.header.run_name == "sync_20240115_120000"
    grown = {**DOCUMENT, "val_metrics": [{"timestamp": "2024-01-15T13:00:00", "step": 2}]}
    document.write_text(json.dumps(grown))
    assert rig.sync(document) is Exit.OK
    assert list(rig.server.runs) == [run_id]
    assert len(run.rows) == 3
    assert rig.server.violations == []


def test_what_is_unusable_is_named_and_the_rest_goes_up(rig: Rig) -> None:
    rig.log("a", end_line())
    (rig.logs / "training_log_bad.json").write_text("{")
    assert rig.sync() is Exit.FAILED
    assert "training_log_bad.json: is no training log" in rig.said()
    assert rig.server.count("a") == 2


def test_a_copy_waits_for_a_decision_and_its_run_goes_up(rig: Rig) -> None:
    path = rig.log("a", end_line())
    path.with_name("training_log_b.jsonl").write_bytes(path.read_bytes())
    assert rig.sync() is Exit.DECISION
    assert "a copy of training_log_a.jsonl" in rig.said()
    assert rig.server.count("a") == 2


def test_a_file_that_is_named_by_two_ways_to_it_is_no_copy_of_itself(rig: Rig) -> None:
    path = rig.log("a", end_line())
    link = rig.logs.parent / "link"
    link.symlink_to(rig.logs)
    again = [link / path.name, rig.logs / ".." / rig.logs.name / path.name]
    assert rig.sync(path, *again, rig.logs, link) is Exit.OK, rig.said()
    assert "copy" not in rig.said()
    assert rig.server.count("a") == 2


def test_a_picture_that_is_gone_and_a_bad_line_are_said(rig: Rig) -> None:
    gone = b'{"type":"media","step":1,"key":"roll","path":"roll_1.png","kind":"image"}\n'
    rig.log("a", gone, b"{broken}\n", end_line())
    rig.log("b", end_line())
    assert rig.sync() is Exit.OK
    words = "Of name of a, 2 lines could not be uploaded as they are: the first is line 1, "
    assert f"{words}roll_1.png was left out: No such file or directory" in rig.said()
    assert "name of b" not in rig.said()
    assert rig.server.count("a") == 4


def test_a_refused_run_is_told_with_its_remedy(rig: Rig) -> None:
    rig.log("a", end_line())
    rig.server.deleted.add("a")
    assert rig.sync() is Exit.DECISION
    assert "the run was deleted at the server" in rig.said()


def test_a_run_in_trouble_is_left_after_some_tries(rig: Rig) -> None:
    rig.log("a", end_line())
    rig.server.faults += ["open"] * 9
    assert rig.sync() is Exit.FAILED
    assert "1 of 1 run left with records to send, safe on disk" in rig.said()
    assert "the session does not open" in rig.said()


@pytest.mark.parametrize(
    ("down", "code"),
    [
        (Unreachable("no network"), Exit.OFFLINE),
        (Refused("no key", kind=Connection.NOT_LOGGED_IN, remedy="log in"), Exit.LOGIN),
    ],
)
def test_a_server_out_of_reach_leaves_all_on_disk(rig: Rig, down: Any, code: Exit) -> None:
    rig.log("a", end_line())
    rig.server.down = down
    assert rig.sync() is code
    assert "safe on disk" in rig.said()


def test_folders_files_and_documents_are_gathered_in_order(rig: Rig, tmp_path: Path) -> None:
    log = rig.log("a")
    (rig.logs / "notes.txt").touch()
    document = tmp_path / "old.json"
    document.write_text(json.dumps(DOCUMENT))
    inputs = collect_inputs([rig.logs, document, tmp_path / "none"], tmp_path / "state")
    assert inputs.files == (log, *inputs.documents)
    assert inputs.documents[0].parent == tmp_path / "state" / "documents"
    assert ["no such file" in str(error) for error in inputs.unusable] == [True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.csv", b"step,loss\n1,0.5\n"),
        ("one.py", b"print('hello')\n"),
        ("package.whl", b"PK\x03\x04\0\0\n\xff"),
        ("notes.txt", b"just words\n"),
        ("other.jsonl", b'{"step": 1, "loss": 0.5}\n'),
        ("empty.jsonl", b""),
    ],
)
def test_a_file_that_is_no_record_log_is_refused(rig: Rig, name: str, content: bytes) -> None:
    path = rig.logs / name
    path.write_bytes(content)
    assert rig.sync(path) is Exit.FAILED
    assert f"{name}: this is no record log. Nothing of it is uploaded." in rig.said()
    assert f"karaoke-syncd import {path}" in rig.said()
    assert not rig.server.runs


def test_a_record_log_may_have_any_name(rig: Rig, tmp_path: Path) -> None:
    path = rig.log("a", end_line()).rename(tmp_path / "my run.log")
    assert rig.sync(path) is Exit.OK
    assert rig.server.count("a") == 2


def test_nothing_to_upload_asks_for_no_login(rig: Rig) -> None:
    rig.server.down = Refused("no key", kind=Connection.NOT_LOGGED_IN, remedy="log in")
    assert rig.sync() is Exit.OK
    assert "There is nothing to upload" in rig.said()


def test_nothing_that_goes_to_the_local_dashboard_is_called_an_upload(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.server.identity = TrackioDestination(tmp_path / "store").identity
    monkeypatch.setattr(progress, "FIRST_LINE", 1e-9)
    rig.sync()
    assert "There is no run to show" in rig.said()
    rig.log("a", end_line())
    rig.sync()
    assert re.search(r"to the local dashboard: \d of 2 records", rig.said())
    assert "All 2 records of 1 run are in the local dashboard" in rig.said()
    assert "upload" not in rig.said()


def test_it_promises_nothing_that_only_a_daemon_does(rig: Rig) -> None:
    path = rig.log("a", train_line(1))
    assert rig.sync() is Exit.OK
    rig.server.lose("a", 1)
    path.write_bytes(path.read_bytes() + end_line())
    rig.out.truncate(0)
    assert rig.sync() is Exit.FAILED
    assert "the server holds 1 records; it had confirmed 2. It may be catching up. " in rig.said()
    assert "asked again by itself" not in rig.said()
    assert "Run karaoke-syncd sync again" in rig.said()


def test_promises_stand_where_they_can_be_left_out() -> None:
    """What an error means, and what the user does about it, is true without a daemon, too."""
    for path in Path(run_once.__file__).parents[1].rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            for keyword in call.keywords if isinstance(call, ast.Call) else ():
                if keyword.arg in ("meaning", "remedy"):
                    assert "by itself" not in ast.unparse(keyword), f"{path.name}:{call.lineno}"


def test_without_a_daemon_it_says_what_to_do_and_with_one_what_that_does(rig: Rig) -> None:
    rig.log("a", train_line(1), end_line())
    rig.server.down = Unreachable("no route")
    rig.sync()
    assert "no route. The records are safe on disk. Run karaoke-syncd sync again" in rig.said()
    assert "karaoke-syncd start --detach" in rig.said()
    rig.out.truncate(0)
    lock = state_lock(rig.settings.state_dir)
    lock.acquire()
    try:
        rig.sync()
        assert "they are sent as soon as that has passed" in rig.said()
        assert "sync again" not in rig.said()
        daemon_report.save(rig.settings.state_dir, DaemonReport())
        let_hang(rig.settings.state_dir)
        rig.sync()
        assert "Run karaoke-syncd sync again" in rig.said()
    finally:
        lock.release()


def test_the_runs_pages_are_named_at_the_end_each_whole(rig: Rig) -> None:
    rig.log("a", end_line(), project="p" * 100)
    assert rig.sync() is Exit.OK
    assert rig.said().splitlines()[-1] == f"  http://127.0.0.1:9/team/{'p' * 100}/runs/a"
    for number in range(run_once.LINKS + 1):
        rig.log(f"b{number}", end_line())
    assert rig.sync() is Exit.OK
    assert rig.said().splitlines()[-1] == "  and 2 more: karaoke-syncd status --all --links"


def test_of_what_is_not_there_no_page_is_named(rig: Rig) -> None:
    rig.log("a", end_line())
    rig.server.down = Unreachable("no network")
    assert rig.sync() is Exit.OFFLINE
    assert "http" not in rig.said()


def test_an_interrupted_upload_says_what_is_safe(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.log("a", train_line(1), end_line())

    def interrupted(daemons: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_once, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rig.sync()
    assert rig.said().splitlines() == [
        "Interrupted: 0 records were confirmed, the others are safe on disk. karaoke-syncd sync "
        "goes on from there."
    ]


@pytest.mark.parametrize("left", [None, b""], ids=["gone", "emptied"])
def test_a_file_that_goes_while_it_is_uploaded_is_not_called_safe(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, left: bytes | None
) -> None:
    path = rig.log("a", *map(train_line, range(9)))

    def go(*_: object) -> None:
        path.unlink(missing_ok=True)
        if left is not None:
            path.write_bytes(left)

    monkeypatch.setattr(run_once, "shown", lambda console: nullcontext(go))
    assert rig.sync() is not Exit.OK
    assert "1 of 1 run left with records to send\n" in rig.said()


def test_runs_that_are_kept_local_are_counted_with_the_way_to_upload_them(rig: Rig) -> None:
    rig.log("a", end_line(), upload=False)
    assert rig.sync() is Exit.OK
    assert "There is nothing to upload\n1 run kept local" in rig.said()
    assert "karaoke-syncd sync FILE" in rig.said()


@pytest.mark.slow  # waits for seconds of the real clock
@pytest.mark.parametrize(("lives", "code"), [(False, Exit.FAILED), (True, Exit.OK)])
def test_a_run_is_followed_until_its_file_and_its_writer_have_gone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, lives: bool, code: Exit
) -> None:
    path, looks, wait = rig.log("a", train_line(1)), itertools.count(), run_once.wait_for
    whole, writer = path.read_bytes(), Lock(lock_path(path))
    writer.acquire()

    def go(daemons: Any) -> None:
        if lives and next(looks) == 9:
            path.write_bytes(whole + end_line())
        elif not path.exists() or path.read_bytes() == whole:
            path.unlink(missing_ok=True)
        if not lives:
            writer.release()
        wait(daemons)

    monkeypatch.setattr(run_once, "wait_for", go)
    assert rig.sync(path, follow=True) is code
    writer.release()


@pytest.mark.slow  # waits for seconds of the real clock
def test_following_without_a_network_says_once_what_it_waits_for_and_how_to_stop_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beside a training that was killed: nobody else ends it."""
    rig.log("a", train_line(1), end_line())
    rig.server.down = Unreachable("no network")
    looks, wait = itertools.count(), run_once.wait_for

    def mend(daemons: Any) -> None:
        if next(looks) == 50:
            assert rig.said().count("no network") == 1
            rig.server.down = None
        wait(daemons)

    monkeypatch.setattr(run_once, "wait_for", mend)
    assert rig.sync(follow=True) is Exit.OK
    said = rig.said()
    assert f"To stop it: Ctrl-C, or kill {os.getpid()}; karaoke-syncd sync goes on" in said
    assert "All 3 records of 1 run are on the server" in said


def test_a_folder_that_cannot_be_looked_into_is_not_one_without_runs(rig: Rig) -> None:
    rig.log("a", end_line())
    with unreadable(rig.logs):
        assert rig.sync() is Exit.FAILED
    assert f"{rig.logs}: can't be read: Permission denied" in rig.said()


def test_a_file_that_cannot_be_read_waits_for_no_decision(rig: Rig) -> None:
    rig.log("a", end_line())
    path = rig.log("b", end_line())
    with unreadable(path):
        assert rig.sync() is Exit.FAILED
    assert "All 2 records of 1 run are on the server" in rig.said()


def test_runs_that_are_there_already_need_no_server(rig: Rig) -> None:
    rig.log("a", end_line())
    assert rig.sync() is Exit.OK
    rig.server.down = Unreachable("no network")
    assert rig.sync() is Exit.OK
    assert "no network" not in rig.said()
