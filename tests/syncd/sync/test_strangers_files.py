"""A log folder in which somebody else has put things: the user's runs go on, nothing else leaves
the machine, and each thing is named."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.report.status import RunState, to_json
from syncd.state import quarantine
from syncd.sync import at_end
from tests.syncd.world import World, config_line, end_line, train_line

SECRET = b"machine api.example.org login user password secret\n"
LINK = "a symbolic link, which is not followed"


@pytest.fixture
def here(tmp_path: Path) -> World:
    return World(tmp_path)


def named(here: World) -> dict[str, str]:
    """What `status` says is wrong, by file name."""
    return {Path(run.path).name: run.problem for run in here.status().runs if run.problem}


def test_things_named_like_logs_are_named_and_the_run_goes_on(here: World, tmp_path: Path) -> None:
    secret = tmp_path / "netrc"
    secret.write_bytes(SECRET)
    (here.logs / "training_log_link.jsonl").symlink_to(secret)
    (here.logs / "training_log_zero.jsonl").symlink_to("/dev/zero")
    (here.logs / "training_log_gone.jsonl").symlink_to("nowhere")
    os.mkfifo(here.logs / "training_log_fifo.jsonl")
    (here.logs / "training_log_folder.jsonl").mkdir()
    here.begin()
    here.train(3)
    here.append(end_line())
    here.run_on()
    here.whole()
    assert set(here.server.runs) == {"run-1"}
    assert {
        name.split("_")[2]: words.removeprefix("not opened: it is no regular file but ")
        for name, words in named(here).items()
    } == {
        "link.jsonl": LINK,
        "zero.jsonl": LINK,
        "gone.jsonl": LINK,
        "fifo.jsonl": "a FIFO",
        "folder.jsonl": "a folder",
    }


def test_a_log_that_becomes_a_link_while_it_is_uploaded_is_read_no_further(
    here: World, tmp_path: Path
) -> None:
    here.begin()
    here.train(3)
    here.run_on()
    here.intact = False
    moved = here.path.rename(tmp_path / "moved")
    with moved.open("ab") as file:
        file.write(train_line(3))
    here.path.symlink_to(moved)
    for _ in range(5):
        here.tick(6)
        here.server.deliver()
    assert here.server.count("run-1") == 4
    words = [run.problem for run in here.status().runs if run.path == str(here.path)]
    assert f"not opened: it is no regular file but {LINK}" in words


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_lock_stops_no_upload(here: World, make: object) -> None:
    (here.logs / ".locks").mkdir()
    assert callable(make)
    make(here.logs / ".locks" / f"run-1.{here.destination.name}.lease")
    make(here.logs / ".locks" / f"{here.path.name}.lock")
    here.begin()
    here.train(3)
    here.append(end_line())
    here.run_on()
    here.whole()


def test_a_link_in_place_of_the_locks_has_nothing_written_elsewhere(
    here: World, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (here.logs / ".locks").symlink_to(tmp_path / "theirs")
    here.begin()
    here.train(3)
    here.append(end_line())
    here.run_on()
    here.whole()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_log_folder_that_is_a_link_is_uploaded_from_where_it_led(
    here: World, tmp_path: Path
) -> None:
    real = here.logs.rename(tmp_path / "scratch")
    here.logs.symlink_to(real)
    here.begin()
    here.train(2)
    here.run_on()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "training_log_x.jsonl").write_bytes(config_line("theirs"))
    here.logs.unlink()
    here.logs.symlink_to(tmp_path / "other")
    with (real / here.path.name).open("ab") as file:
        file.write(train_line(2) + end_line())
    here.intact = False  # the test's own look goes by the name
    for _ in range(20):
        here.tick(6)
        here.server.deliver()
    assert here.server.count("run-1") == 5
    assert set(here.server.runs) == {"run-1"}


def test_a_file_whose_name_is_no_utf_8_is_uploaded(here: World) -> None:
    odd = here.logs / os.fsdecode(b"training_log_\xff\xfe.jsonl")
    odd.write_bytes(b"no config\n" + train_line(0))
    here.begin()
    here.train(3)
    here.run_on()
    here.whole()
    (run_id,) = set(here.server.runs) - {"run-1"}
    here.whole(run_id)
    assert here.run_status(run_id).name == "training_log_\ufffd\ufffd"
    json.dumps(to_json(here.status()))


@pytest.mark.parametrize("project", [".", ".."])
def test_a_project_that_would_be_a_way_up_in_an_address_is_none(here: World, project: str) -> None:
    here.begin(project=project)
    here.run_on()
    assert here.run_status().project == here.logs.parent.name


def test_a_picture_that_cannot_be_uploaded_is_counted_and_named(here: World) -> None:
    media = here.logs / "media" / "run-1"
    media.mkdir(parents=True)
    with (media / "big.png").open("wb") as file:
        file.truncate(5 << 30)
    (media / "link.png").symlink_to("/etc/hostname")
    (media / "good.png").write_bytes(b"PNG")
    here.begin()
    for name in ("big.png", "link.png", "good.png", "none.png"):
        here.append(media_line(name))
    here.run_on()
    here.whole()
    assert here.run_status().bad == 3
    kept = quarantine.load(here.destination / "quarantine", "run-1").lines
    assert [(line.ordinal, line.problem) for line in kept] == [
        (1, "big.png was left out: it has 5,368,709,120 bytes; media may have 104,857,600 "
            "(largest_media)"),
        (2, f"link.png was left out: it is no regular file but {LINK}"),
        (4, "none.png was left out: No such file or directory"),
    ]  # fmt: skip
    (words,) = [words for words in here.status().warnings if "big.png" in words]
    assert words.startswith("of name of run-1, 3 lines could not be uploaded as they are")


def media_line(name: str) -> bytes:
    record = {"type": "media", "step": 1, "key": "k", "path": name, "kind": "image"}
    return json.dumps(record).encode() + b"\n"


def test_a_last_line_that_never_ends_is_named_with_the_way_out(here: World) -> None:
    here.begin()
    here.append(b"x" * (3 << 20))
    here.run_on()
    (words,) = here.status().warnings
    assert f"the last line of {here.path} has no end so far" in words
    assert f"echo >> {here.path}" in words
    here.append(b"\n")
    here.train(1)
    here.run_on()
    here.whole()
    assert "has no end" not in " ".join(here.status().warnings)


def test_a_terabyte_of_nothing_is_uploaded_around(here: World) -> None:
    here.begin()
    here.append(b"")
    huge = here.logs / "training_log_huge.jsonl"
    huge.write_bytes(config_line("huge"))
    with huge.open("ab") as file:
        file.truncate(1 << 40)
    here.intact = False  # the test's own look would read it all
    for _ in range(20):
        here.tick(6)
        here.server.deliver()
    assert {run_id: here.server.count(run_id) for run_id in here.server.runs} == {
        "huge": 1,
        "run-1": 1,
    }
    assert any(str(huge) in words for words in here.status().warnings)


def test_a_lease_that_somebody_holds_is_named_and_a_lock_dir_is_the_way_out(here: World) -> None:
    path = here.begin()
    here.train(3)
    place = here.logs / ".locks" / f"run-1.{here.destination.name}.lease"
    place.parent.mkdir()
    place.write_text("nothing of ours")
    with place.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for _ in range(3):
            here.tick(6)
        run = here.run_status()
        assert (run.state, here.server.count("run-1")) == (RunState.ELSEWHERE, 0)
        assert re.fullmatch(r"process \(unknown\) on unknown host, since \d{4}-.*", run.holder)
        here.settings = replace(here.settings, lock_dir=path.parent.parent / "own")
        here.restart()
        here.run_on()
        here.whole()
        assert here.run_status().state is not RunState.ELSEWHERE
    assert place.read_text() == "nothing of ours"


def test_what_is_no_lock_is_named(here: World) -> None:
    (here.logs / ".locks").mkdir()
    os.mkfifo(here.logs / ".locks" / "run-1.lock")
    (here.elsewhere / ".locks").symlink_to("/tmp")
    assert list(here.status().warnings) == [
        f"{here.logs}/.locks/run-1.lock is no lock: it is no regular file but a FIFO. Remove it",
        f"{here.elsewhere}/.locks is a symbolic link: no lock is taken there. Remove it",
    ]


@pytest.mark.parametrize("has_table", [True, False])
def test_what_the_epoch_table_leaves_out_is_said_where_there_is_one(
    here: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_table: bool
) -> None:
    here.server.identity = replace(here.server.identity, has_table=has_table)
    monkeypatch.setattr(at_end, "MAX_EPOCHS", 2)
    here.begin()
    for epoch in range(4):
        here.append(b'{"type":"epoch_summary","epoch":%d}\n' % epoch)
    here.append(end_line())
    here.run_on()
    here.whole()
    assert [record["epoch"] for record in here.server.runs["run-1"].epochs] == [2, 3]
    words = here.daemon.sessions["run-1"].remark
    assert ("has the newest 2 epochs alone" in words) is has_table
    assert ("epoch table" in caplog.text) is has_table


def test_what_a_session_keeps_does_not_grow_with_its_config(here: World) -> None:
    """Of a run with a config of a megabyte, a second file of its id and a large record."""
    config = {f"name_{number}": "x" * 20 for number in range(20_000)}
    here.begin(config=config, part="a", notes="n" * 100_000)
    here.append(config_line(config=config, resumed=True))
    here.append(json.dumps({"type": "other", **config}).encode() + b"\n")
    here.run_on()
    kept = pickle.dumps(
        [
            [session.file, session.header, session._noted, session._unconfirmed, session._shown]
            for session in here.daemon.sessions.values()
        ]
    )
    assert len(kept) < 5_000
    assert here.server.runs["run-1"].target.header.config == config
