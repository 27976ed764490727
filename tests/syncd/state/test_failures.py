"""What keeps a run from being uploaded, remembered for `status`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncd.errors import RunRefused, RunTrouble
from syncd.state import atomic_json, failures

LOG = Path("/logs/a.jsonl")
REFUSED = RunRefused("truncated", "it's shorter", meaning="safe", remedy="retry")


def test_a_decision_is_told_from_trouble(tmp_path: Path) -> None:
    failures.save(tmp_path, "run-1", LOG, REFUSED)
    failures.save(tmp_path, "run-2", LOG, RunTrouble("the SDK died"))
    found = failures.load_all(tmp_path)
    assert (found["run-1"].code, found["run-1"].decision) == ("truncated", True)
    assert (found["run-2"].code, found["run-2"].decision) == ("trouble", False)
    assert (found["run-1"].what, found["run-1"].meaning, found["run-1"].remedy) == (
        "it's shorter", "safe", "retry",
    )  # fmt: skip


def test_the_same_problem_keeps_the_time_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures.save(tmp_path, "run-1", LOG, REFUSED)
    file = tmp_path / "problems" / "run-1.json"
    atomic_json.write(file, {**json.loads(file.read_bytes()), "since": "long ago"})
    failures.save(tmp_path, "run-1", LOG, REFUSED)
    failures.save(tmp_path, "run-1", LOG, RunRefused("truncated", "it's shorter still"))
    found = failures.load_all(tmp_path)["run-1"]
    assert (found.since, found.what) == ("long ago", "it's shorter still")
    failures.save(tmp_path, "run-1", LOG, RunTrouble("another"))
    assert failures.load_all(tmp_path)["run-1"].since != "long ago"


def test_a_cleared_problem_is_gone_and_clearing_it_twice_is_nothing(tmp_path: Path) -> None:
    failures.save(tmp_path, "run-1", LOG, REFUSED)
    failures.clear(tmp_path, "run-1")
    failures.clear(tmp_path, "run-1")
    assert failures.load_all(tmp_path) == {}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"run_id": 1}', b"\x00"])
def test_a_damaged_file_is_no_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "run-1.json").write_bytes(data)
    assert failures.load_all(tmp_path) == {}
    failures.save(tmp_path, "run-1", LOG, REFUSED)
    assert len(failures.load_all(tmp_path)) == 1


def test_what_failed_behind_a_phase_outlasts_it(tmp_path: Path) -> None:
    failures.save(tmp_path, "run-1", LOG, RunTrouble("no end"), "closing")
    failures.over(tmp_path, "run-1", "opening")
    assert failures.load_all(tmp_path)["run-1"].what == "no end"
    failures.save(tmp_path, "run-1", LOG, RunTrouble("no end"), "opening")
    failures.over(tmp_path, "run-1", "opening")
    failures.over(tmp_path, "run-1", "opening")
    assert failures.load_all(tmp_path) == {}


def test_of_an_earlier_version_a_problem_has_no_phase(tmp_path: Path) -> None:
    failures.save(tmp_path, "run-1", LOG, REFUSED)
    file = tmp_path / "problems" / "run-1.json"
    known = json.loads(file.read_bytes())
    del known["during"]
    atomic_json.write(file, known)
    assert failures.load_all(tmp_path)["run-1"].what == "it's shorter"
    failures.over(tmp_path, "run-1", "opening")
    assert failures.load_all(tmp_path) == {}
