"""Which lines of a run are a file's, where several files have its id."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from karaoke_train.runlog import RunLog
from karaoke_train.runlog.format import RunHeader
from syncd.destination.base import RemoteRun
from syncd.errors import RunTrouble
from syncd.source.scanner import LogFile
from syncd.sync.content import Content
from syncd.sync.parts import (
    Stillness,
    await_claimed,
    earlier_parts,
    may_have_parts,
    written_elsewhere,
)

STILL, ALIVE = 5.0, 75.0


def test_an_id_that_was_made_at_random_has_one_file(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        assert not may_have_parts(RunHeader(log.run_id, "r", "p"))
    for chosen in ("4711", "job42", "my-run", "a2b3c4d5e6f7g"):
        assert may_have_parts(RunHeader(chosen, "r", "p"))


@pytest.mark.parametrize(
    ("state", "waits"),
    [("finished", STILL), ("failed", STILL), ("killed", STILL), ("crashed", STILL),
     ("running", ALIVE), ("", ALIVE), ("pending", ALIVE)],
)  # fmt: skip
def test_a_run_is_taken_over_once_it_stands_still(state: str, waits: float) -> None:
    quiet, remote = Stillness(STILL, ALIVE), RemoteRun(7, 6, state)
    assert quiet.left(remote, "12:00", 100.0) == waits
    assert quiet.left(remote, "12:00", 101.0) == waits - 1
    assert quiet.left(remote, "12:00", 100.0 + waits) == 0.0


def test_a_count_or_a_sign_of_life_that_moves_begins_the_wait_anew() -> None:
    quiet = Stillness(STILL, ALIVE)
    assert quiet.left(RemoteRun(7, 6, "running"), "12:00", 0.0) == ALIVE
    assert quiet.left(RemoteRun(8, 7, "running"), "12:00", 70.0) == ALIVE
    assert quiet.left(RemoteRun(8, 7, "running"), "12:01", 140.0) == ALIVE
    # as a server whose clock is years off: what it says is compared with itself alone
    assert quiet.left(RemoteRun(8, 7, "running"), "12:01", 140.0 + ALIVE) == 0.0


def test_a_place_that_somebody_else_takes_while_it_is_being_claimed_is_not_ours() -> None:
    shown, waited = [None, True, False], []
    there = SimpleNamespace(pause=waited.append)
    content = SimpleNamespace(destination=there, begins_at=lambda base: shown.pop(0))
    with pytest.raises(RunTrouble, match="another part of the run has come to line 7"):
        await_claimed(cast("Content", content), 7, settle=5.0)
    assert waited[-1] == 5.0


def test_a_part_that_waits_says_for_how_long_and_how_to_part() -> None:
    trouble = written_elsewhere(RemoteRun(7, 6), "/logs/b.jsonl", 12.5, "in the store")
    assert trouble.retry_after == 12.5
    assert "karaoke-syncd sync --as_new /logs/b.jsonl" in str(trouble)
    assert "7 records of another file in the store" in str(trouble)
    assert "safe on disk" in str(trouble)


def file(name: str, created: str, *, project: str = "songs", part: str = "") -> LogFile:
    header = RunHeader("job42", "job42", project, created=created)
    return LogFile(name, 1, header, name, "job42", part)


def test_parts_have_their_turns_by_their_beginnings_whatever_their_names() -> None:
    first = file("z", "2024-01-01T10:00:00+00:00", part="zzz")
    second = file("a", "2024-01-01T11:30:00+02:00")  # half an hour before
    third = file("m", "2024-01-01T12:00:00+00:00", part="mmm")
    found = earlier_parts([third, first, second])
    assert {key: [one.path.name for one in before] for key, before in found.items()} == {
        first.key: ["a"],
        third.key: ["a", "z"],
    }


def test_one_id_in_two_projects_is_two_runs() -> None:
    both = [file("a", "2024-01-01"), file("b", "2024-01-02", project="other", part="b")]
    assert earlier_parts(both) == {}
