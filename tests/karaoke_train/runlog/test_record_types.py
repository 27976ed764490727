"""The record types as they are told, beside what the writer writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from karaoke_train.runlog import RunLog
from karaoke_train.runlog.format import RUN_ID, RunHeader
from karaoke_train.runlog.layout import media_folder
from karaoke_train.runlog.lock import LockKind
from karaoke_train.runlog.process_end import STATUSES
from karaoke_train.runlog.record_fields import SPECS
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import timestamp_now
from tests.karaoke_train.runlog.files import records_of


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A run of which every method was called, resumed once."""
    folder = tmp_path_factory.mktemp("logs")
    picture = folder / "a.png"
    picture.write_bytes(b"png")
    labels: dict[str, Any] = {"tags": ["a"], "group": "g", "job_type": "j", "notes": "n"}
    labels["allow_config_keys"] = ["key"]
    with RunLog.create(folder, config={"lr": 1}, **labels) as log:
        log.train(1, 0.5, {"train/loss": 1.0, "train/note_accuracy": 0.5})
        log.val(1, 0.5, {"val/loss": 1.0})
        log.epoch_summary(1, train_loss=1.0)
        log.media(1, "val/notes", picture)
        log.append_if_open(
            {"type": "system", "timestamp": timestamp_now(), "system/cpu_percent": 1}
        )
    RunLog.resume(log.path, step=1).close()
    assert (media_folder(log.path, log.run_id) / "val%2Fnotes_1.png").exists()
    return records_of(log.path)


def told(record_type: RecordType) -> list[str]:
    """The fields' names as they are told."""
    return [field.name for field in SPECS[record_type].fields]


def matches(name: str, fields: list[str]) -> bool:
    """Whether a field is among those told, by its name or as one of `train/*`."""
    return any(name == f or (f.endswith("*") and name.startswith(f[:-1])) for f in fields)


def test_every_type_is_written_and_told() -> None:
    assert list(SPECS) == list(RecordType)


def test_a_type_is_its_text() -> None:
    assert RecordType.END == "end"
    assert {"end": 1}[RecordType.END] == 1
    assert json.dumps({"type": RecordType.END}) == '{"type": "end"}'


@pytest.mark.parametrize(
    ("record", "record_type"),
    [
        ({"type": "epoch_summary"}, RecordType.EPOCH_SUMMARY),
        ({"type": "lyrics"}, None),
        ({"type": "CONFIG"}, None),
        ({"type": ["config"]}, None),
        ({"type": 3}, None),
        ({}, None),
    ],
)
def test_a_record_that_is_of_no_listed_type_has_none(
    record: dict[str, Any], record_type: RecordType | None
) -> None:
    assert RecordType.of(record) is record_type


def test_the_writer_writes_every_type_and_no_other(written: list[dict[str, Any]]) -> None:
    assert {RecordType.of(record) for record in written} == set(RecordType)


def test_every_field_that_is_written_is_told(written: list[dict[str, Any]]) -> None:
    for record in written:
        fields = ["type", *told(RecordType(record["type"]))]
        assert [name for name in record if not matches(name, fields)] == []


@pytest.mark.parametrize("record_type", RecordType)
def test_every_field_that_is_told_is_written(
    record_type: RecordType, written: list[dict[str, Any]]
) -> None:
    names = {name for record in written if record["type"] == record_type for name in record}
    assert [f for f in told(record_type) if not any(matches(name, [f]) for name in names)] == []


def test_the_values_that_are_told_are_those_that_there_are() -> None:
    holds = {(kind, f.name): f.holds for kind, spec in SPECS.items() for f in spec.fields}
    for words, values in (
        (holds[RecordType.END, "status"], list(STATUSES)),
        (holds[RecordType.CONFIG, "lock"], list(LockKind)),
    ):
        assert words.replace("`", "").replace(" or ", ", ").split(", ") == values
    assert "1 to 64" in holds[RecordType.CONFIG, "run_id"]
    assert RUN_ID.fullmatch("a" * 64)
    assert not RUN_ID.fullmatch("a" * 65)


def test_a_header_reads_the_fields_that_are_told(written: list[dict[str, Any]]) -> None:
    header = RunHeader.of(written[0])
    assert {*header.trainer, "run_id", "run_name", "project", "created"} <= set(
        told(RecordType.CONFIG)
    )
