"""What people decided: files that a daemon finds, whenever it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from syncd.errors import RunTrouble
from syncd.state import atomic_json, decisions, failures


def test_a_retry_is_answered_once(tmp_path: Path) -> None:
    decisions.retry(tmp_path, "run-1")
    assert decisions.pop_retries(tmp_path) == ["run-1"]
    assert decisions.pop_retries(tmp_path) == []


def test_a_retry_takes_the_cursor_and_a_forgetting_back(tmp_path: Path) -> None:
    cursor = tmp_path / "cursors" / "run-1.json"
    atomic_json.write(cursor, {})
    decisions.forget(tmp_path, "run-1")
    assert decisions.forgotten(tmp_path) == {"run-1"}
    decisions.retry(tmp_path, "run-1")
    assert decisions.forgotten(tmp_path) == set()
    assert not cursor.exists()


def test_a_retry_that_cannot_be_taken_away_is_not_answered_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions.retry(tmp_path, "run-1")
    monkeypatch.setattr(Path, "unlink", _read_only)
    assert decisions.pop_retries(tmp_path) == []


@pytest.mark.parametrize("decide", [decisions.retry, decisions.forget])
def test_a_decision_that_cannot_be_kept_changes_nothing(
    tmp_path: Path, decide: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "cursors" / "run-1.json"
    atomic_json.write(known, {})
    failures.save(tmp_path, "run-1", tmp_path, RunTrouble("something is wrong"))
    monkeypatch.setattr(atomic_json, "write_bytes", _read_only)
    with pytest.raises(OSError, match="Read-only"):
        decide(tmp_path, "run-1")
    assert known.exists()
    assert failures.load(tmp_path, "run-1")
    assert decisions.pop_retries(tmp_path) == []


def test_a_file_made_new_has_one_id_for_good(tmp_path: Path) -> None:
    new = decisions.assign_run_id(tmp_path, "key12345678", "run-1")
    assert new == "run-1-key12345"
    assert decisions.assign_run_id(tmp_path, "key12345678", "run-1") == new
    assert decisions.aliases(tmp_path) == {"key12345678": new}


def test_a_new_id_stays_within_what_wandb_takes(tmp_path: Path) -> None:
    assert len(decisions.assign_run_id(tmp_path, "0123456789abcdef", "r" * 64)) <= 64


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"run_id": ""}', b"\x00"])
def test_a_damaged_alias_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "aliases").mkdir()
    (tmp_path / "aliases" / "key.json").write_bytes(data)
    assert decisions.aliases(tmp_path) == {}


def _read_only(*_: object, **__: object) -> None:
    raise OSError(30, "Read-only file system")
