"""Lost and wrong state, case by case: nothing is duplicated or written over, `status` has words of
its own for it, and the command that it names resolves it."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from syncd.cli import main
from syncd.errors import Exit, ProblemCode, Unreachable
from syncd.report.status import RunStatus, exit_code
from syncd.settings import Limits
from syncd.source.scanner import alias_key
from syncd.state import atomic_json, cursor, decisions, failures, lease
from syncd.sync.loop import KEPT
from syncd.sync.scheduler import Phase
from tests.fakes.uploads import FakeServer, PromptServer
from tests.syncd.world import NAME, URL, World, config_line, end_line, train_line

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Six records uploaded, the session open; and a command line over the same folders."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_BASE_URL", URL)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("KARAOKE_SYNCD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("syncd.logging_setup.set_up", lambda level: None)
    made = World(tmp_path)
    made.begin()
    made.train(5)
    made.run_on()
    yield made
    made.daemon.drop()


def command(here: World, *words: str) -> int:
    return main([*words, "--log_dir", str(here.logs), "--log_dir", str(here.elsewhere)])


def tampered(here: World, path: Path | None = None) -> None:
    """From now on the file or the server isn't what the other thinks."""
    here.intact = False
    here.path = path or here.path


def look(here: World, seconds: float = 400, run_id: str = "run-1") -> RunStatus:
    """Some time passes; what does status say of the run?"""
    for _ in range(int(seconds / 5)):
        here.tick(5)
        here.server.deliver()
    return here.run_status(run_id)


def rows(here: World, run_id: str = "run-1") -> list[object]:
    return [dict(row) for row in here.server.runs[run_id].rows]


def as_new(here: World, path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """`sync --as_new PATH`, with the destination in the server's place; its code and new run."""
    known = set(here.server.runs)
    prompt = PromptServer(here.server)
    monkeypatch.setattr("syncd.destination.registry.connect", lambda _: prompt)
    monkeypatch.setenv("KARAOKE_SYNCD_CONFIRM_FIRST", "0.01")
    code = command(here, "sync", "--as_new", str(path))
    new = set(here.server.runs) - known
    assert len(new) == 1, new
    return code, new.pop()


# --- the cursor: a cache, which nobody needs to know of ---


@pytest.mark.parametrize("how", ["deleted", "truncated", "flipped", "future", "another run's"])
def test_a_lost_cursor_costs_a_re_read_and_no_words(
    here: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = here.destination / "cursors" / "run-1.json"
    known = cursor.load(file.parent, "run-1")
    assert known is not None
    here.daemon.drop()
    whole = file.read_bytes()
    match how:
        case "deleted":
            file.unlink()
        case "truncated":
            file.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            file.write_bytes(whole.replace(b'"ordinal": 6', b'"ordinal": 4'))
        case "future":
            file.write_bytes(whole.replace(b'"version": 1', b'"version": 9'))
        case "another run's":
            atomic_json.write(file, {**json.loads(file.read_bytes()), "run_id": "run-2"})
    assert cursor.load(file.parent, "run-1") is None
    here.restart()
    here.train(2)
    here.run_on()
    here.whole()
    assert here.server.sent == 8
    assert (here.run_status().state, here.run_status().problem) == ("uploaded", "")


def test_a_read_only_state_folder_loses_and_doubles_nothing(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def no_writing(path: object, flags: int, *more: object, **how: object) -> int:
        if flags & os.O_WRONLY and "state" in str(path):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, flags, *more, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", no_writing)
    here.train(3)
    here.append(b"bad\n")
    here.run_on()
    assert here.server.count("run-1") == 10
    monkeypatch.undo()
    here.restart()
    here.train(1)
    here.run_on()
    here.whole()
    assert here.server.sent == 11


def test_what_a_full_disk_for_state_did_not_take_is_kept_once_there_is_room(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a run that has ended meanwhile, and long ago."""
    save, full, tries = cursor.save, True, list[str]()

    def no_room(folder: Path, known: cursor.Cursor, *, sync: bool = True) -> None:
        if full:
            tries.append(known.run_id)
            raise OSError(28, "No space left on device")
        save(folder, known, sync=sync)

    monkeypatch.setattr(cursor, "save", no_room)
    ends = here.begin("run-2", "training_log_2.jsonl")
    here.append(end_line(), ends)
    here.train(3)
    here.run_on()
    here.tick(2 * KEPT)
    here.run_on()
    assert [here.run_status(run).pending for run in ("run-1", "run-2")] == [3, 2]
    tries.clear()
    here.tick(here.settings.rescan)
    assert len(tries) == 1  # of the runs one: the others would not fit either
    full = False
    here.tick(here.settings.rescan)
    assert [here.run_status(run).pending for run in ("run-1", "run-2")] == [0, 0]
    here.whole("run-1")
    here.whole("run-2")
    assert here.server.sent == 11


def no_room_for_bad_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    write = atomic_json.write

    def no_room(path: Path, value: object, *, sync: bool = True) -> None:
        if path.parent.name == "quarantine":
            raise OSError(28, "No space left on device")
        write(path, value, sync=sync)

    monkeypatch.setattr(atomic_json, "write", no_room)


def test_bad_lines_that_a_full_disk_did_not_take_are_counted_and_kept_once_there_is_room(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a run that gets no record more, and those behind them that were taken first."""
    no_room_for_bad_lines(monkeypatch)
    here.append(b"bad\n" * 30)
    here.run_on()
    here.train(2)
    here.append(b"worse\n")
    here.run_on()
    assert here.daemon.sessions["run-1"].bad_lines().count == 31
    assert here.run_status().bad == 0
    monkeypatch.undo()
    here.tick(here.settings.rescan)
    assert here.run_status().bad == 31
    here.append(b"worst\n")
    here.run_on()
    assert here.run_status().bad == 32
    here.restart()
    here.run_on()
    assert here.run_status().bad == 32
    here.whole()


def test_records_of_which_bad_lines_are_not_kept_wait_and_a_crash_loses_none(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the cursor, which is smaller, would find room."""
    before = here.run_status().pending
    no_room_for_bad_lines(monkeypatch)
    here.append(b"bad\n" * 30)
    here.run_on()
    found = here.run_status()
    assert (found.pending - before, found.bad, found.state) == (30, 0, "waiting")
    here.restart()
    monkeypatch.undo()
    here.run_on()
    here.tick(here.settings.rescan)
    found = here.run_status()
    assert (found.pending, found.bad) == (0, 30)
    here.whole()


def test_a_run_that_has_ended_is_kept_until_its_bad_lines_are(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_room_for_bad_lines(monkeypatch)
    here.append(b"bad\n" + end_line())
    here.run_on()
    assert look(here, 2 * KEPT).bad == 0
    monkeypatch.undo()
    assert look(here, 2 * KEPT).bad == 1
    assert here.daemon.finished.keys() == {"run-1"}
    here.whole()


def test_status_says_that_the_state_folder_is_full_or_read_only(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lease.state_lock(here.settings.state_dir)
    lock.acquire()
    disk, shown = os.statvfs(here.settings.state_dir), list[tuple[str, ...]]()
    room, flag = disk.f_flag & ~os.ST_RDONLY, disk.f_flag | os.ST_RDONLY
    told_nothing = {"f_blocks": 0, "f_bavail": 0}  # as some file systems of programs do
    for what in (
        {"f_bavail": 0}, {"f_files": 9, "f_favail": 0}, {"f_flag": flag}, {}, told_nothing,
        {"f_bavail": 200},
    ):  # fmt: skip
        seen = {
            "f_flag": room, "f_blocks": 9, "f_bavail": 256, "f_frsize": 4096, "f_files": 0,
            "f_favail": 0, **what,
        }  # fmt: skip
        monkeypatch.setattr(os, "statvfs", lambda folder, seen=seen: SimpleNamespace(**seen))
        shown.append(here.status().warnings)
    lock.release()
    assert [
        [told for told in ("full disk", "read-only", "nearly full") if told in str(words)]
        for words in shown
    ] == [["full disk"], ["full disk"], ["read-only"], [], [], ["nearly full"]]


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root's mount")
def test_a_full_disk_for_state_loses_and_doubles_nothing(here: World) -> None:
    """A file system of 64 KiB, filled to the last byte."""
    small = here.destination / "cursors"
    saved = {path.name: path.read_bytes() for path in small.iterdir()}
    here.daemon.drop()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs to be had: {mounted.stderr.decode()}")
    try:
        for name, data in saved.items():
            (small / name).write_bytes(data)
        fill_up(small / "fill")
        here.restart()
        here.train(3)
        here.run_on()
        assert here.server.count("run-1") == 9
        old = cursor.load(small, "run-1")
        assert old is not None
        assert old.confirmed.ordinal == 6  # the old one stands
        (small / "fill").unlink()
        here.tick(here.settings.rescan)
        now = cursor.load(small, "run-1")
        assert now is not None
        assert now.confirmed.ordinal == 9  # though nothing came that would be confirmed
        here.restart()
        here.train(1)
        here.run_on()
        here.whole()
        assert here.server.sent == 10
    finally:
        here.daemon.drop()
        subprocess.run(["umount", small], check=True)


def fill_up(file: Path) -> None:
    """Leave no byte free on the file's file system."""
    with suppress(OSError), file.open("wb", buffering=0) as fill:
        while True:
            fill.write(b"x" * 4096)


# --- the file ---


def test_a_truncated_file_waits_for_a_decision(here: World) -> None:
    before, whole = rows(here), here.path.read_bytes()
    tampered(here)
    here.path.write_bytes(whole[:200])
    found = look(here)
    assert (found.state, found.code) == ("blocked", "truncated")
    assert found.problem.startswith("the file has 200 bytes; 7")
    assert "What is uploaded stays as it is" in found.meaning
    assert "karaoke-syncd retry run-1" in found.remedy
    assert exit_code(here.status()) is Exit.DECISION
    assert rows(here) == before
    here.path.write_bytes(whole)  # put back as it was
    here.train(1)
    here.intact = True
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    here.run_on()
    here.whole()
    assert here.run_status().problem == ""


def test_a_truncated_file_goes_up_as_a_run_of_its_own(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered(here)
    here.path.write_bytes(here.path.read_bytes()[:400])
    before = rows(here)
    remedy = look(here).remedy
    assert f"karaoke-syncd sync --as_new {here.path}" in remedy
    here.daemon.drop()
    code, new = as_new(here, here.path, monkeypatch)
    assert code == Exit.OK
    assert here.server.count(new) == here.path.read_bytes().count(b"\n")
    assert rows(here) == before
    runs = here.status().runs
    assert [(run.run_id, run.state) for run in runs] == [(new, "uploaded")]


def test_a_rewritten_file_waits_for_a_decision(here: World) -> None:
    before, whole = rows(here), here.path.read_bytes()
    tampered(here)
    here.path.write_bytes(whole.replace(b'"step": 4', b'"step": 9'))
    here.train(1)
    found = look(here)
    assert (found.state, found.code) == ("blocked", "rewritten")
    assert rows(here) == before
    here.path.write_bytes(whole)
    here.train(1)
    here.intact = True
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    here.run_on()
    here.whole()


def test_a_file_replaced_by_another_run_is_not_sent_under_the_old_name(here: World) -> None:
    before = rows(here)
    tampered(here)
    other = here.elsewhere / "draft"
    other.write_bytes(config_line("run-2") + train_line(1) * 20)
    other.replace(here.path)
    look(here)
    here.whole("run-2")
    assert rows(here) == before
    found = here.run_status()
    assert (found.state, found.code) == ("missing", "missing")
    assert "the file is gone before its run ended" in found.problem
    assert command(here, "forget", "run-1") == Exit.OK
    assert [run.run_id for run in here.status().runs] == ["run-2"]


def test_a_file_written_over_in_place_by_another_run_is_not_sent_under_the_old_name(
    here: World,
) -> None:
    """The same inode: what was known of the file's first line is no longer so."""
    before = rows(here)
    tampered(here)
    here.path.write_bytes(config_line("run-2") + train_line(1) * 20)
    look(here)
    assert rows(here) == before
    here.restart()
    look_at = [run for run in here.status().runs if run.run_id == "run-2"]
    assert len(look_at) == 1
    for _ in range(20):
        here.tick(5)
        here.server.deliver()
    assert here.server.count("run-2") == 21
    assert rows(here) == before


def test_a_file_replaced_before_anything_of_it_was_sent_is_not_mixed_up(tmp_path: Path) -> None:
    here = World(tmp_path)
    here.server.down = Unreachable("not yet")
    here.begin()
    here.train(3)
    here.tick(5)
    tampered(here)
    here.path.write_bytes(config_line("run-2") + train_line(1) * 20)
    here.server.down = None
    for _ in range(40):
        here.tick(60)
        here.server.deliver()
    here.restart()
    for _ in range(40):
        here.tick(60)
        here.server.deliver()
    assert here.server.count("run-1") == 0
    here.whole("run-2")
    here.daemon.drop()


def test_a_retry_takes_a_file_that_was_replaced_before_anything_of_it_was_sent(
    tmp_path: Path,
) -> None:
    """As it is now: not by the first line that the first one had."""
    here = World(tmp_path)
    here.server.down = Unreachable("not yet")
    here.begin()
    here.tick(5)
    here.path.write_bytes(config_line(run_name="another") + train_line(1))
    here.server.down = None
    for _ in range(40):
        here.tick(60)
    assert (here.run_status().state, here.run_status().code) == ("blocked", "replaced")
    here.retry()
    here.run_on()
    here.whole()
    assert (here.run_status().state, here.run_status().problem) == ("uploaded", "")
    here.daemon.drop()


def test_what_is_wrong_with_one_file_is_not_said_of_the_next(here: World) -> None:
    """Put back under another name, the run's file is whole again."""
    data = here.path.read_bytes()
    tampered(here)
    here.path.write_bytes(data[:-20])
    assert look(here).code == "truncated"
    here.path.unlink()
    again = here.logs / "training_log_again.jsonl"
    again.write_bytes(data + train_line(9))
    found = look(here)
    assert (found.state, found.problem, found.path) == ("uploaded", "", str(again))


def test_a_later_part_does_not_wait_for_one_that_is_gone_before_anything_of_it_was_sent(
    tmp_path: Path,
) -> None:
    limits = Limits(count_stable_for=0.001, heartbeat_timeout=0.001)
    server = FakeServer()
    here = World(tmp_path, PromptServer(server), limits=limits)  # type: ignore[arg-type]
    server.down = Unreachable("not yet")
    first = here.begin("job42")
    tampered(here)
    here.tick(5)
    later = here.logs / "training_log_later.jsonl"
    later.write_bytes(config_line("job42", part="later") + train_line(1) + end_line())
    here.tick(5)
    first.unlink()
    server.down = None
    here.run_on()
    assert server.count("job42") == 3
    assert [run.state for run in here.status().runs] == ["uploaded"]
    here.daemon.drop()


def test_a_later_part_does_not_wait_for_one_whose_file_was_made_a_run_of_its_own(
    tmp_path: Path,
) -> None:
    limits = Limits(count_stable_for=0.001, heartbeat_timeout=0.001)
    server = FakeServer()
    here = World(tmp_path, PromptServer(server), limits=limits)  # type: ignore[arg-type]
    first = here.begin("job42")
    here.run_on()
    tampered(here)
    first.write_bytes(train_line(1))  # emptied under its writer, which goes on
    later = here.logs / "training_log_later.jsonl"
    config = config_line("job42", part="later", created="2024-01-16T14:30:22.000+00:00")
    later.write_bytes(config + train_line(1) + end_line())
    for _ in range(20):
        here.tick(5)
    waiting = next(run for run in here.status().runs if run.path == str(later))
    assert "which is not all uploaded yet" in waiting.problem
    decisions.assign_run_id(here.destination, alias_key(first, train_line(1)), "job42")
    for _ in range(40):
        here.tick(5)
    assert server.count("job42") == 4
    assert {(run.state, run.problem) for run in here.status().runs} == {("uploaded", "")}
    here.daemon.drop()


def test_a_torn_last_line_of_a_runs_first_file_keeps_no_later_one_waiting(tmp_path: Path) -> None:
    """It is looked at once after a restart, and not again and again."""
    limits = Limits(count_stable_for=0.001, heartbeat_timeout=0.001)
    server = FakeServer()
    here = World(tmp_path, PromptServer(server), limits=limits)  # type: ignore[arg-type]
    first = here.begin("job42")
    here.append(train_line(1) + b'{"type": "tr')  # killed in mid-line
    tampered(here, first)
    for _ in range(60):
        here.tick(5)
    days = {"second": "2024-01-16", "third": "2024-01-17"}
    for name, day in days.items():
        config = config_line("job42", part=name, created=f"{day}T14:30:22.000+00:00")
        (here.logs / f"training_log_{name}.jsonl").write_bytes(config + end_line())
        here.restart()
        for _ in range(60):
            here.tick(5)
    assert {run.state for run in here.status().runs} == {"uploaded"}
    assert server.count("job42") == 6
    asked = len(server.asked)
    here.tick(5)
    assert len(server.asked) == asked
    here.daemon.drop()


def end(here: World, later: float) -> None:
    """The run is uploaded to its end, and three times looked at after that."""
    here.append(end_line())
    here.run_on()
    for _ in range(3):
        here.tick(later)


@pytest.mark.parametrize("later", [1.0, 2 * KEPT])
def test_an_end_that_is_to_be_told_again_is_by_a_daemon_that_was_done_with_the_run(
    here: World, later: float
) -> None:
    """With it come pictures and sounds that the server lost; `verify --repair` asks for that."""
    end(here, later)
    known = cursor.load(here.destination / "cursors", "run-1")
    assert known
    assert known.ended
    cursor.save(here.destination / "cursors", known._replace(ended=False))
    decisions.try_at_once(here.destination, "run-1")
    assert here.run_status().state == "ending"
    here.server.runs["run-1"].outcome = None
    assert look(here).state == "uploaded"
    assert here.server.runs["run-1"].outcome


@pytest.mark.parametrize("later", [1.0, 2 * KEPT])
def test_a_cursor_that_is_lost_after_a_run_has_ended_is_made_anew(
    here: World, later: float
) -> None:
    """Else its records would be said to be being uploaded for as long as the daemon lives."""
    end(here, later)
    cursor.remove(here.destination / "cursors", "run-1")
    assert here.run_status().state == "waiting"
    sent = here.server.sent
    assert look(here).state == "uploaded"
    assert here.server.sent == sent
    assert here.daemon.finished.keys() == {"run-1"}


def test_a_retry_is_not_undone_by_what_the_state_folder_did_not_take_before_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cursor, "save", full)
        here.train(3)
        for _ in range(4):
            here.tick(5)
            here.server.deliver()
        assert here.daemon.runs["run-1"].records == 9
    tampered(here)
    here.server.lose("run-1", keep=2)
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    for _ in range(4):
        here.tick(5)
        here.server.deliver()
    assert here.daemon.runs["run-1"].error is None
    here.intact = True
    here.run_on()
    here.whole()


def test_a_state_folder_that_takes_no_cursors_costs_one_question_more(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.append(end_line())
    here.run_on()
    cursor.remove(here.destination / "cursors", "run-1")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cursor, "save", full)
    look(here, 1000)
    asked = len(here.server.asked)
    look(here, 3000)
    assert len(here.server.asked) == asked


def test_a_copy_is_named_and_not_sent_twice(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = here.logs / "training_log_copy.jsonl"
    shutil.copy(here.path, copy)
    here.train(1)
    here.run_on()
    found = {Path(run.path).name: run for run in here.status().runs}
    assert (found[NAME].state, found[copy.name].state) == ("uploaded", "copy")
    assert f"a copy of {NAME}" in found[copy.name].problem
    assert f"karaoke-syncd sync --as_new {copy}" in found[copy.name].remedy
    assert exit_code(here.status()) is Exit.DECISION
    here.daemon.drop()
    code, new = as_new(here, copy, monkeypatch)
    assert code == Exit.OK
    assert here.server.count(new) == 6
    assert {run.state for run in here.status().runs} == {"uploaded"}


def test_a_copy_that_is_removed_is_no_more_said_of(here: World) -> None:
    copy = here.logs / "training_log_copy.jsonl"
    shutil.copy(here.path, copy)
    copy.unlink()
    here.tick(5)
    assert exit_code(here.status()) is Exit.OK


def test_a_moved_file_is_the_same_run(here: World) -> None:
    here.path = here.path.rename(here.elsewhere / NAME)
    here.train(1)
    here.run_on()
    here.whole()
    assert here.server.sent == 7
    assert here.run_status().path == str(here.path)


def test_a_file_deleted_while_open_is_missing_until_it_is_put_back(here: World) -> None:
    whole = here.path.read_bytes()
    tampered(here)
    here.path.unlink()
    found = look(here)
    assert (found.state, found.code) == ("missing", "missing")
    assert found.problem == "the file is gone before its run ended"
    assert found.meaning.startswith("6 records are uploaded")
    here.path.write_bytes(whole)
    here.train(1)
    here.intact = True
    here.run_on()
    here.whole()
    assert here.run_status().state == "uploaded"


def test_a_deleted_file_can_be_forgotten(here: World) -> None:
    tampered(here)
    here.path.unlink()
    look(here)
    assert command(here, "forget", "run-1") == Exit.OK
    assert [run.problem for run in here.status().runs] == []
    here.tick(6)
    assert here.daemon.runs == {}


def test_a_folder_in_a_files_place_is_named_and_the_file_goes_on_by_itself(here: World) -> None:
    tampered(here)
    aside = here.path.rename(here.elsewhere / "aside")
    here.path.mkdir()
    look(here)
    found = [run for run in here.status().runs if run.code == "unsafe"]
    assert [run.path for run in found] == [str(here.path)]
    assert found[0].problem == "not opened: it is no regular file but a folder"
    assert "it can be uploaded" in found[0].remedy
    here.path.rmdir()
    aside.rename(here.path)
    here.train(1)
    here.intact = True
    here.run_on()
    here.whole()
    assert here.run_status().problem == ""


def test_a_log_that_is_put_away_while_its_end_is_looked_at_once_more_is_no_trouble(
    here: World,
) -> None:
    tampered(here)
    here.restart()
    here.append(end_line())
    for _ in range(4):
        here.tick(5)
        here.server.deliver()
    assert here.daemon.runs["run-1"].look_at < math.inf
    here.path.unlink()
    for _ in range(200):
        here.tick(60)
    assert here.daemon.runs == {}
    assert failures.load_all(here.destination) == {}
    assert [run.problem for run in here.status().runs] == []


# --- the server ---


def test_a_run_deleted_at_the_server_is_sent_again_when_that_is_asked_for(here: World) -> None:
    tampered(here)
    del here.server.runs["run-1"]  # and its id may come again
    here.server.sessions[0].abandon()
    here.restart()
    here.train(1)
    found = look(here, 4000)
    assert (found.state, found.code) == ("blocked", "lost_at_server")
    assert found.problem == "the server holds 0 records; it had confirmed 6"
    assert "karaoke-syncd retry run-1" in found.remedy
    assert "forget run-1" in found.remedy
    assert here.server.count("run-1") == 0
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    here.intact = True
    here.run_on()
    here.whole()
    assert exit_code(here.status()) is Exit.OK or here.status().left == 0


def test_a_deleted_run_whose_id_is_refused_goes_up_as_a_run_of_its_own(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered(here)
    here.server.delete("run-1")
    here.restart()
    here.train(1)
    look(here, 4000)
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    found = look(here)
    assert (found.state, found.code) == ("blocked", "deleted")
    here.daemon.drop()
    code, new = as_new(here, here.path, monkeypatch)
    assert (code, here.server.count(new)) == (Exit.OK, 7)
    assert [(run.run_id, run.state) for run in here.status().runs] == [(new, "uploaded")]


def test_a_server_that_lost_the_end_gets_it_again_when_that_is_asked_for(here: World) -> None:
    tampered(here)
    here.server.lose("run-1", 4)
    here.restart()
    here.train(1)
    found = look(here, 4000)
    assert (found.code, found.problem) == (
        "lost_at_server",
        "the server holds 4 records; it had confirmed 6",
    )
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    here.intact = True
    here.run_on()
    here.whole()
    assert here.server.sent == 6 + 3


def test_a_count_that_lags_for_a_while_needs_no_decision(here: World) -> None:
    here.restart()
    here.train(1)
    here.server.lag = 2
    here.server.faults += ["stale"] * 3
    here.run_on()
    here.whole()
    assert here.server.sent == 7


def test_more_at_the_server_than_in_the_file_is_written_over_by_nothing(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered(here)
    run = here.server.runs["run-1"]
    run.rows += [{"_step": 6, "foreign": 1}, {"_step": 7, "foreign": 2}]
    run.records += [None, None]
    here.restart()
    here.train(1)
    before = rows(here)
    found = look(here)
    assert (found.state, found.code) == ("blocked", "more_at_server")
    assert found.problem == "the server holds 8 records of this run, the file 7"
    assert "Somebody else wrote to the run" in found.meaning
    assert rows(here) == before
    here.daemon.drop()
    code, new = as_new(here, here.path, monkeypatch)
    assert (code, here.server.count(new)) == (Exit.OK, 7)
    assert rows(here) == before
    assert [(run.run_id, run.state) for run in here.status().runs] == [(new, "uploaded")]


def test_a_blocked_run_can_be_forgotten(here: World) -> None:
    tampered(here)
    here.path.write_bytes(here.path.read_bytes()[:200])
    look(here)
    assert command(here, "forget", "run-1") == Exit.OK
    assert here.run_status().state == "forgotten"
    assert exit_code(here.status()) is Exit.OK
    here.tick(6)
    assert here.daemon.runs == {}


def test_a_retried_run_that_was_done_is_asked_about_and_stays_done(here: World) -> None:
    here.append(end_line())
    here.run_on()
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    assert here.run_status().uploaded == 0
    here.tick(6)
    here.run_on()
    assert (here.run_status().state, here.run_status().uploaded) == ("uploaded", 7)
    assert here.server.sent == 7
    assert here.daemon.runs["run-1"].phase is Phase.IDLE


def test_a_retry_of_an_open_run_leaves_its_status_true(here: World) -> None:
    assert here.daemon.runs["run-1"].phase is Phase.OPEN
    assert command(here, "retry", "run-1") == Exit.NOT_RUNNING
    here.tick(6)
    here.run_on()
    assert (here.run_status().state, here.run_status().uploaded) == ("uploaded", 6)
    assert here.server.sent == 6


def test_an_unknown_run_is_said_to_be_none(here: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(here, "retry", "nobody") == Exit.USAGE
    assert "no run 'nobody' is known here" in capsys.readouterr().err


def test_lines_that_a_power_cut_took_from_the_file_are_not_taken_for_those_that_followed(
    tmp_path: Path,
) -> None:
    """They were uploaded before the disk had them, and neither file nor cursor knows of them."""
    here, run_id = World(tmp_path), "abcdefghijkl"  # made at random, so that no other file has it
    here.begin(run_id)
    here.train(5)
    here.run_on()
    file = here.destination / "cursors" / f"{run_id}.json"
    older = file.read_bytes()
    here.train(3)
    here.run_on()
    before = rows(here, run_id)
    here.daemon.drop()
    tampered(here)
    here.path.write_bytes(b"".join(here.path.read_bytes().splitlines(keepends=True)[:7]))
    file.write_bytes(older)
    here.steps = 100
    here.train(4)  # by the training that was resumed
    here.restart()
    run = look(here, run_id=run_id)
    assert (run.state, run.code) == ("blocked", ProblemCode.DIFFERENT)
    assert rows(here, run_id) == before
    here.daemon.drop()
