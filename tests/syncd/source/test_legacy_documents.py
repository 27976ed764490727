"""Older documents become record logs that only ever grow."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import SyncError
from syncd.source import legacy_documents
from tests.karaoke_train.runlog.files import records_of


def document(steps: int, **more: Any) -> dict[str, Any]:
    entries = [{"timestamp": f"2024-01-15T12:00:{step:02}", "step": step, "train/loss": 1.0}
               for step in range(steps)]  # fmt: skip
    return {"config": {"lr": 0.1}, "train_metrics": entries, "val_metrics": [],
            "epoch_summaries": []} | more  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "training_log_20240115_120000.json"


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def test_a_document_becomes_a_record_log_in_the_state_folder(path: Path, tmp_path: Path) -> None:
    write(path, document(3))
    log = legacy_documents.convert(path, tmp_path / "state")
    assert log.parent == tmp_path / "state" / "documents"
    config, *rest = records_of(log)
    assert (config["run_name"], config["config"]) == ("sync_20240115_120000", {"lr": 0.1})
    assert [record["step"] for record in rest] == [0, 1, 2]


def test_a_document_converted_again_is_the_same_file(path: Path, tmp_path: Path) -> None:
    write(path, document(3))
    first = legacy_documents.convert(path, tmp_path)
    before = first.read_bytes()
    assert legacy_documents.convert(path, tmp_path) == first
    assert first.read_bytes() == before


def test_a_grown_document_adds_to_its_log(path: Path, tmp_path: Path) -> None:
    write(path, document(3))
    log = legacy_documents.convert(path, tmp_path)
    before = log.read_bytes()
    write(path, document(5))
    assert legacy_documents.convert(path, tmp_path) == log
    assert log.read_bytes().startswith(before)
    assert len(records_of(log)) == 6


def test_a_document_that_a_crash_left_half_converted_is_completed(
    path: Path, tmp_path: Path
) -> None:
    write(path, document(3))
    log = legacy_documents.convert(path, tmp_path)
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    legacy_documents.convert(path, tmp_path)
    assert log.read_bytes() == whole


def test_a_document_changed_where_it_is_uploaded_is_refused(path: Path, tmp_path: Path) -> None:
    write(path, document(3))
    log = legacy_documents.convert(path, tmp_path)
    before = log.read_bytes()
    changed = document(3)
    changed["train_metrics"][1]["train/loss"] = 9.0
    write(path, changed)
    with pytest.raises(SyncError, match="was changed where it's uploaded already"):
        legacy_documents.convert(path, tmp_path)
    assert log.read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"{}", b"\xff", b'{"train_metrics": 5}', b'{"train_metrics": [1]}',
        b'{"train_metrics": []}', b'{"train_metrics": [{"x": "' + b"y" * (1 << 20) + b'"}]}',
        b'{"train_metrics": [{"x": ' + b"[" * 90 + b"]" * 90 + b"}]}",
    ],
)  # fmt: skip
def test_what_is_no_document_is_said_to_be_none(path: Path, tmp_path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(SyncError, match="is no training log") as error:
        legacy_documents.convert(path, tmp_path / "state")
    assert error.value.where == str(path)
    assert not (tmp_path / "state").exists()


def test_a_document_that_cannot_be_read_is_said_to_be_so(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    with pytest.raises(SyncError, match="can't be read: it is no regular file but a folder"):
        legacy_documents.convert(path, tmp_path)


def test_a_state_folder_that_takes_nothing_is_named(path: Path, tmp_path: Path) -> None:
    write(path, document(1))
    (tmp_path / "state").write_text("a file in its place")
    with pytest.raises(SyncError, match="can't be written") as error:
        legacy_documents.convert(path, tmp_path / "state")
    assert "state" in error.value.where


def test_documents_are_found_by_name(path: Path) -> None:
    write(path, document(1))
    path.with_name("other.json").touch()
    assert legacy_documents.documents_in(path.parent) == [path]
    assert legacy_documents.is_document(path)
    assert not legacy_documents.is_document(path.with_suffix(".jsonl"))


def test_a_document_without_a_project_is_in_the_one_its_folder_names_and_stays_there(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "songs" / "logs", tmp_path / "elsewhere"
    for folder, steps in ((first, 3), (second, 5)):
        folder.mkdir(parents=True)
        write(folder / "training_log_a.json", document(steps))
        log = legacy_documents.convert(folder / "training_log_a.json", tmp_path / "state")
        assert records_of(log)[0]["project"] == "songs"
    assert len(records_of(log)) == 6


def test_the_records_of_a_document_are_made_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [{"step": step, "timestamp": "2024-01-15T14:30:22"} for step in range(10_000)]
    path = tmp_path / "training_log_1.json"
    path.write_text(json.dumps({"config": {}, "train_metrics": entries}))
    del entries
    size = path.stat().st_size
    monkeypatch.setattr(legacy_documents, "MAX_DOCUMENT", size)  # room for which is asked for
    tracemalloc.start()
    try:
        legacy_documents.convert(path, tmp_path / "state")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * size
