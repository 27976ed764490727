"""A line -> its row of history."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.reader import Line, Position, parse_line
from karaoke_train.runlog.record_types import RecordType
from syncd.destination.rows import (
    AXES,
    AXIS_KEYS,
    MAX_COLUMNS,
    Media,
    attempt_at,
    epoch_table,
    key_of,
    row,
)

STARTED = 1_700_000_000.0
NOON = "2024-01-15T12:00:00+00:00"
AT_NOON = 1705320000.0


def line(record: dict[str, Any] | bytes, ordinal: int = 3) -> Line:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    return parse_line(raw + b"\n", Position(ordinal, 99 * ordinal))


def test_metrics_go_under_their_own_names_with_the_trainers_step() -> None:
    found = row(line({"type": "train", "timestamp": NOON, "step": 7, "epoch": 0.5,
                      "train/loss": 0.25}), STARTED)  # fmt: skip
    assert found == {"trainer/step": 7, "epoch": 0.5, "train/loss": 0.25, "_timestamp": AT_NOON,
                     "trainer/runtime": AT_NOON - STARTED, "attempt": 1}  # fmt: skip


def test_an_unknown_record_is_carried_along_with_its_type() -> None:
    found = row(line({"type": "lyrics", "step": 1, "text": "la"}), STARTED)
    assert found == {"syncd/record": "lyrics", "text": "la", "trainer/step": 1,
                     "_timestamp": STARTED, "attempt": 1}  # fmt: skip


def test_a_config_is_a_mark_in_the_history_and_no_copy_of_itself() -> None:
    found = row(line({"type": "config", "created": NOON, "config": {"secret": 1}}), STARTED)
    assert found == {"syncd/record": "config", "_timestamp": AT_NOON, "attempt": 1,
                     "trainer/runtime": AT_NOON - STARTED}  # fmt: skip


def test_an_end_says_how() -> None:
    found = row(line({"type": "end", "status": "failed", "exit_code": 3}), STARTED)
    assert (found["end/status"], found["end/exit_code"]) == ("failed", 3)


def test_an_epochs_metrics_are_laid_flat() -> None:
    found = row(line({"type": "epoch_summary", "epoch": 2, "train_loss": 0.5,
                      "train_metrics": {"train/loss": 0.5, "deep": {"er": 1}}}),
                STARTED)  # fmt: skip
    assert found == {"epoch": 2, "epoch_summary/train_loss": 0.5, "epoch_summary/train/loss": 0.5,
                     "epoch_summary/deep/er": 1, "_timestamp": STARTED,
                     "attempt": 1}  # fmt: skip


@pytest.mark.parametrize(("raw", "key"), [(b"{bad", "syncd/bad_record"), (b"", "syncd/blank_line")])
def test_every_line_has_a_row(raw: bytes, key: str) -> None:
    assert row(line(raw), STARTED, 3) == {key: 1, "_timestamp": STARTED, "attempt": 3}


def test_the_time_since_the_start_is_a_metric_of_what_has_a_time() -> None:
    def runtime(logged: object, started: float) -> object:
        return row(line({"type": "train", "timestamp": logged}), started).get("trainer/runtime")

    assert runtime(NOON, AT_NOON - 2.5) == 2.5
    assert runtime(NOON, AT_NOON + 60) == 0.0  # a clock that was set back
    assert runtime("never", AT_NOON) is None
    assert row(line({"type": "media", "key": "k", "timestamp": NOON}), AT_NOON - 7)[
        "trainer/runtime"
    ] == 7.0  # fmt: skip


@pytest.mark.parametrize("kind", ["train", "lyrics"])
def test_a_records_own_runtime_and_attempt_stay_as_they_are(kind: str) -> None:
    record = {"type": kind, "timestamp": NOON, "trainer/runtime": "own", "attempt": None}
    found = row(line(record), STARTED, 3)
    assert (found["trainer/runtime"], found["attempt"]) == ("own", None)


def test_an_attempt_begins_with_a_config_record_and_is_what_that_says() -> None:
    again = {"type": "config", "run_id": "r"}
    assert attempt_at(line(again, ordinal=0), 1) == 1
    assert attempt_at(line(again), 1) == 2
    assert attempt_at(line(again | {"attempt": 5}), 1) == 5
    for other in (b"", b"{bad", {"type": "train", "attempt": 9}):
        assert attempt_at(line(other), 4) == 4


def test_the_first_line_alone_marks_the_files_part() -> None:
    config = {"type": "config", "run_id": "r", "part": "k3x9"}
    assert row(line(config, ordinal=0), STARTED)["syncd/part"] == "k3x9"
    for unmarked in (
        line(config),
        line({"type": "config", "run_id": "r"}, ordinal=0),
        line(config | {"part": ["x"]}, ordinal=0),
        line(config | {"run_id": "no run id"}, ordinal=0),
        line({"type": "train", "part": "x"}, ordinal=0),
    ):
        assert "syncd/part" not in row(unmarked, STARTED)


def test_a_metric_that_is_called_as_a_files_first_row_is_begins_no_file() -> None:
    found = row(line({"type": "train", "timestamp": NOON, "syncd/part": 3}), STARTED)
    assert "syncd/part" not in found
    assert found["record/syncd/part"] == 3


@pytest.mark.parametrize("key", ["_step", "_timestamp", "_runtime", "_wandb", "__proto__", ""])
@pytest.mark.parametrize("kind", ["train", "val", "lyrics"])
def test_wandbs_own_keys_are_moved_aside_and_kept(kind: str, key: str) -> None:
    found = row(line({"type": kind, "timestamp": NOON, key: 41}), STARTED)
    assert found[f"record/{key}"] == 41
    assert found["_timestamp"] == AT_NOON
    assert [name for name in found if name.startswith("_")] == ["_timestamp"]


def test_a_media_record_names_its_file() -> None:
    found = row(line({"type": "media", "step": 1, "key": "val/roll", "path": "a.png",
                      "kind": "image", "caption": "c"}), STARTED)  # fmt: skip
    assert found["val/roll"] == Media("a.png", "image", "c")


@pytest.mark.parametrize("timestamp", ["never", None, True, math.nan, [], 10**400])
def test_an_unreadable_time_is_the_runs_start(timestamp: object) -> None:
    at = Line(Position(3, 0), Position(4, 9), {"type": "train", "timestamp": timestamp})
    assert row(at, STARTED)["_timestamp"] == STARTED


@pytest.mark.parametrize("record_type", RecordType)
def test_every_record_type_has_a_row_of_its_own_making(record_type: RecordType) -> None:
    """One that is carried along as unknown says so by `syncd/record`, which only marks may have."""
    found = row(line({"type": record_type, "step": 1, "epoch": 0, "key": "k"}), STARTED)
    marks = (RecordType.CONFIG, RecordType.END)
    assert found.get("syncd/record") == (record_type if record_type in marks else None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
kinds = st.sampled_from([*RecordType, "x", 3, None, ["train"]])


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), kinds, json_values)
def test_any_record_has_a_row_and_the_same_one_each_time(
    fields: dict[str, Any], kind: object, timestamp: object
) -> None:
    record = {**fields, "type": kind, "timestamp": timestamp}
    at = Line(Position(3, 0), Position(4, 9), record)
    found = row(at, STARTED)
    assert str(found) == str(row(at, STARTED))
    assert isinstance(found["_timestamp"], float)
    assert math.isfinite(found["_timestamp"])
    assert [key for key in found if key.startswith("_")] == ["_timestamp"]
    assert all(isinstance(key, str) and key for key in found)


@given(st.text(max_size=9))
def test_a_key_is_kept_unless_it_is_wandbs(key: str) -> None:
    assert key_of(key) == (key if key and not key.startswith("_") else f"record/{key}")


def test_an_epoch_done_again_shows_its_last_summary() -> None:
    columns, rows = epoch_table(
        [{"type": "epoch_summary", "epoch": 0, "train_loss": 2.0},
         {"type": "epoch_summary", "epoch": 1, "train_loss": 1.5, "val_metrics": {"val/loss": 3}},
         {"type": "epoch_summary", "epoch": 1, "train_loss": 1.0}]
    )  # fmt: skip
    assert columns == ["epoch", "train_loss"]
    assert rows == [[0, 2.0], [1, 1.0]]


def test_a_table_has_no_more_columns_than_wandbs_client_can_make_and_the_epochs_number() -> None:
    wide = {f"metric_{number}": number for number in range(MAX_COLUMNS + 5)}
    columns, rows = epoch_table([{**wide, "epoch": 7}, {**wide, "epoch": 8}])
    assert columns == ["epoch", *list(wide)[: MAX_COLUMNS - 1]]
    assert rows == [[number, *range(MAX_COLUMNS - 1)] for number in (7, 8)]


@pytest.mark.parametrize("epoch", [[1], {"at": 1}], ids=str)
def test_a_strangers_epoch_that_is_no_number_is_a_row_of_its_own(epoch: object) -> None:
    record = {"type": "epoch_summary", "epoch": epoch, "train_loss": 2.0}
    assert len(epoch_table([record, {**record, "epoch": 0}])[1]) == 2


def test_axes_name_keys_that_rows_have() -> None:
    assert set(AXES.values()) == {"trainer/step", "epoch", "trainer/runtime"}
    assert AXIS_KEYS == ("trainer/step", "epoch", "trainer/runtime")
