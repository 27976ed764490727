"""A log folder in which somebody else has put things: the user's runs go on, nothing else leaves
the machine, and each thing is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
