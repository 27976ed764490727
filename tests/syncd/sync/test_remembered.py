"""A run's cursor as a session uses it: when a count below it is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Identity
from syncd.errors import RemoteLostRecords, RunTrouble
from syncd.state.cursor import Cursor, Fingerprint
from syncd.sync.remembered import LOST_TRIES, Remembered

THERE = Identity("fake", "https://wandb.example")
AT_9 = Cursor("r1", "songs", "team", "r1.jsonl", Fingerprint("a", "b"), Position(9, 90))


@pytest.fixture
def remembered(tmp_path: Path) -> Remembered:
    return Remembered(tmp_path, "r1", "songs", lambda: "team")


def fewer(remembered: Remembered) -> None:
    remembered.check_count(8, AT_9, Path("r1.jsonl"), THERE)


def test_a_person_is_asked_once_a_lower_count_stays(remembered: Remembered) -> None:
    for _ in range(LOST_TRIES):
        with pytest.raises(RunTrouble):
            fewer(remembered)
    with pytest.raises(RemoteLostRecords):
        fewer(remembered)


def test_a_count_that_came_back_is_a_late_one_and_the_next_lower_one_is_looked_at_anew(
    remembered: Remembered,
) -> None:
    for _ in range(LOST_TRIES):
        with pytest.raises(RunTrouble):
            fewer(remembered)
    remembered.check_count(9, AT_9, Path("r1.jsonl"), THERE)
    with pytest.raises(RunTrouble):
        fewer(remembered)


@pytest.mark.parametrize("other", [{"entity": "others"}, {"project": "other"}])
def test_what_another_account_or_project_has_is_not_this_runs(
    remembered: Remembered, other: dict[str, str]
) -> None:
    remembered.save(AT_9, sync=False)
    assert remembered.load() == AT_9
    remembered.save(AT_9._replace(**other), sync=False)
    assert remembered.load() is None


def test_an_account_that_is_not_known_yet_may_be_any(tmp_path: Path) -> None:
    unknown = Remembered(tmp_path, "r1", "songs", lambda: "")
    unknown.save(AT_9, sync=False)
    assert unknown.load() == AT_9
