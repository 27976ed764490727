"""What the server confirmed: believed when it's whole, forgotten at any doubt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from karaoke_train.runlog.reader import Position
from syncd.state import cursor
from syncd.state.cursor import Cursor, Fingerprint, Head

KNOWN = Cursor(
    run_id="run-1",
    project="songs",
    entity="team",
    path="/logs/training_log_ü.jsonl",
    fingerprint=Fingerprint("a" * 32, "b" * 32),
    confirmed=Position(7, 700),
    config_at=3,
    attempt=2,
    ended=True,
    updated="2024-01-15T14:30:22+00:00",
    head=Head(
        (1, 700, 2, 3), "a" * 32, "c" * 16, "run-1", "take ü", "", True, "2024-01-15", "part"
    ),
)


def test_a_saved_cursor_is_loaded_as_it_was(tmp_path: Path) -> None:
    cursor.save(tmp_path, KNOWN)
    assert cursor.load(tmp_path, "run-1") == KNOWN
    assert cursor.load_all(tmp_path) == {"run-1": KNOWN}


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    cursor.save(tmp_path, KNOWN)
    file = tmp_path / "run-1.json"
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 5):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            file.write_bytes(data)
            assert cursor.load(tmp_path, "run-1") in (None, KNOWN), (place, bit)


def test_any_truncation_is_noticed(tmp_path: Path) -> None:
    cursor.save(tmp_path, KNOWN)
    file = tmp_path / "run-1.json"
    whole = file.read_bytes()
    for length in range(len(whole) - 1):
        file.write_bytes(whole[:length])
        assert cursor.load(tmp_path, "run-1") is None


def test_a_cursor_from_the_future_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "VERSION", 2)
    cursor.save(tmp_path, KNOWN)
    monkeypatch.setattr(cursor, "VERSION", 1)
    assert cursor.load(tmp_path, "run-1") is None


def test_a_cursor_of_a_version_without_notes_is_known_and_has_none(tmp_path: Path) -> None:
    data = {
        "version": 1,
        **KNOWN._asdict(),
        "fingerprint": KNOWN.fingerprint._asdict(),
        "confirmed": KNOWN.confirmed._asdict(),
    }
    for newer in ("notes", "attempt", "uncounted", "stopped", "head"):
        del data[newer]
    data["check"] = cursor._check(data)
    (tmp_path / "run-1.json").write_text(json.dumps(data))
    assert cursor.load(tmp_path, "run-1") == KNOWN._replace(notes=-1, attempt=0, head=None)


def test_another_runs_cursor_is_none(tmp_path: Path) -> None:
    cursor.save(tmp_path, KNOWN._replace(run_id="run-2"))
    (tmp_path / "run-2.json").rename(tmp_path / "run-1.json")
    assert cursor.load(tmp_path, "run-1") is None
    assert cursor.load_all(tmp_path) == {}


@pytest.mark.parametrize("value", [None, [], "text", {}, {"check": 1}, {"check": None, "a": {}}])
def test_other_json_is_none(tmp_path: Path, value: object) -> None:
    (tmp_path / "run-1.json").write_text(json.dumps(value))
    assert cursor.load(tmp_path, "run-1") is None


def test_a_removed_cursor_is_gone_and_removing_it_twice_is_nothing(tmp_path: Path) -> None:
    cursor.save(tmp_path, KNOWN)
    cursor.remove(tmp_path, "run-1")
    cursor.remove(tmp_path, "run-1")
    assert cursor.load_all(tmp_path) == cursor.load_all(tmp_path / "none") == {}
