"""Older documents in and out: the same run each time, whatever they grow into."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.format import BadRecord, RunHeader, decode, encode
from karaoke_train.runlog.legacy import (
    columns_of,
    csv_pieces,
    document_pieces,
    document_records,
    merged_config,
    parse_document,
)

KINDS = {"train_metrics": "train", "val_metrics": "val", "epoch_summaries": "epoch_summary"}


def pieces_of(records: list[dict[str, Any]]) -> str:
    return "".join(document_pieces(merged_config(records), lambda: records))


def to_document(records: Iterable[dict[str, Any]]) -> Any:
    return json.loads(pieces_of(list(records)))


def to_csv(records: list[dict[str, Any]]) -> str:
    return "".join(csv_pieces(columns_of(records), lambda: records))


def at(second: int, **more: Any) -> dict[str, Any]:
    return {"timestamp": f"2024-01-15T14:{second // 60:02}:{second % 60:02}"} | more


DOCUMENT: dict[str, Any] = {
    "config": {"lr": 1e-4, "run_name": "take-1", "wandb_project": "songs"},
    "train_metrics": [at(1, step=1, epoch=0, **{"train/loss": 2.0}), at(3, step=2, epoch=0)],
    "val_metrics": [at(4, step=2, epoch=0, **{"val/loss": 1.5})],
    "epoch_summaries": [at(5, epoch=0, train_loss=2.0, val_metrics={"loss": 1.5})],
}


def document_of(events: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The document as its writer has it after these events."""
    document: dict[str, Any] = {"config": {"lr": 1}, **{key: [] for key in KINDS}}
    for key, entry in events:
        document[key].append(entry)
    return document


def test_a_document_gives_a_config_record_and_all_else_by_time() -> None:
    head, *rest = document_records(DOCUMENT)
    header = RunHeader.of(head)
    assert (header.run_name, header.project) == ("take-1", "songs")
    assert header.config == DOCUMENT["config"]
    assert [record["type"] for record in rest] == ["train", "train", "val", "epoch_summary"]
    assert rest[0] == {"type": "train"} | DOCUMENT["train_metrics"][0]


def test_an_unnamed_document_is_named_by_its_time_or_its_caller() -> None:
    document = DOCUMENT | {"config": None}
    (head, *_) = document_records(document)
    assert head["run_name"] == "sync_2024-01-15T14:00:01"
    (head, *_) = document_records(document, name="given")
    assert head["run_name"] == "given"
    assert RunHeader.of(head).config == {}


def test_records_and_documents_are_the_same_both_ways() -> None:
    assert to_document(document_records(DOCUMENT)) == DOCUMENT
    lines = [encode(record) for record in document_records(DOCUMENT)]
    assert to_document(map(decode, lines)) == DOCUMENT


def test_later_config_records_add_to_the_first_and_odd_records_are_left_out() -> None:
    document = to_document(
        [
            {"type": "config", "config": {"a": 1, "b": 1}},
            {"type": "config", "config": {"b": 2}},
            {"type": "config", "config": "text"},
            {"type": "media"},
            {"type": ["odd"]},
            {},
        ]
    )
    assert document == {"config": {"a": 1, "b": 2}, **{key: [] for key in KINDS}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.builds(
    lambda kind, fields: fields | {"type": kind},
    st.sampled_from(["config", "train", "val", "epoch_summary", "end"]),
    st.dictionaries(st.text(max_size=3) | st.just("config"), VALUES, max_size=4),
)


@given(st.lists(RECORDS, max_size=6))
def test_the_pieces_of_a_document_are_what_it_is_written_at_once(
    records: list[dict[str, Any]],
) -> None:
    whole: dict[str, Any] = {"config": merged_config(records)}
    for key, kind in KINDS.items():
        its = (record for record in records if record["type"] == kind)
        whole[key] = [{k: v for k, v in record.items() if k != "type"} for record in its]
    assert pieces_of(records) == json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


@given(
    st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(1, 100)), min_size=1, max_size=25),
    st.data(),
)
def test_a_grown_document_is_the_same_run_and_begins_with_the_same_records(
    steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Whatever the kinds of its events and the time between them."""
    events, second = [], 0
    for step, (key, wait) in enumerate(steps):
        second += wait
        events.append((key, at(second, step=step)))
    cut = data.draw(st.integers(1, len(events)))
    before = list(document_records(document_of(events[:cut])))
    after = list(document_records(document_of(events)))
    assert after[: len(before)] == before
    assert [record["step"] for record in after[1:]] == list(range(len(events)))


def test_the_first_training_entry_does_not_make_another_run_of_a_validated_one() -> None:
    early = document_of([("val_metrics", at(1, step=0))])
    late = document_of([("val_metrics", at(1, step=0)), ("train_metrics", at(2, step=1))])
    assert next(document_records(early)) == next(document_records(late))


def test_within_a_list_its_order_holds_even_where_the_clock_went_back() -> None:
    times = [at(50, step=1), at(10, step=2), {"step": 3}, at(60, step=4), {"timestamp": "?"}]
    records = list(document_records({"train_metrics": times, "val_metrics": [at(55, step=9)]}))[1:]
    assert [record.get("step") for record in records] == [1, 2, 3, 9, 4, None]


def test_at_one_time_it_goes_by_step_and_training_before_validation() -> None:
    document = {
        "train_metrics": [at(1, step=1), at(1, step=2)],
        "val_metrics": [at(1, step=1), at(1, step=2)],
        "epoch_summaries": [at(1, epoch=0)],
    }
    records = list(document_records(document))[1:]
    assert [(record["type"], record.get("step")) for record in records] == [
        ("train", 1),
        ("val", 1),
        ("train", 2),
        ("val", 2),
        ("epoch_summary", None),
    ]


def test_times_are_compared_as_times() -> None:
    document = {
        "train_metrics": [{"timestamp": "2024-01-15T12:00:00+02:00"}],
        "val_metrics": [{"timestamp": "2024-01-15T10:30:00Z"}],
        "epoch_summaries": [{"timestamp": 10**400}, {"timestamp": True}],
    }
    kinds = [record["type"] for record in document_records(document)][1:]
    assert kinds == ["epoch_summary", "epoch_summary", "train", "val"]


def test_an_entrys_own_type_does_not_hide_its_list() -> None:
    _, record = document_records({"val_metrics": [at(1, type="odd")]})
    assert record["type"] == "val"


def test_two_documents_are_two_runs() -> None:
    other = DOCUMENT | {"train_metrics": [at(2, step=1)]}
    assert next(document_records(DOCUMENT))["run_id"] != next(document_records(other))["run_id"]


def test_bare_nan_and_a_byte_order_mark_are_read() -> None:
    data = b'\xef\xbb\xbf{"train_metrics": [{"train/loss": NaN}], "val_metrics": null}'
    (_, record) = document_records(parse_document(data))
    assert math.isnan(record["train/loss"])
    assert json.loads(encode(record))["train/loss"] == "NaN"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a JSON document"),
        (b'{"train_metrics": [', "not a JSON document"),
        (b"\xff", "not a JSON document"),
        (b"[" * 100_000, "not a JSON document"),
        (b'{"train_metrics": [' + b"1" * 5000 + b"]}", "not a JSON document"),
        (b"[]", "none of train_metrics"),
        (b'{"config": {}}', "none of train_metrics"),
        (b'{"train_metrics": {}}', "no metrics are in it yet"),
        (b'{"train_metrics": {"a": 1}}', "train_metrics is not a list"),
        (b'{"val_metrics": [1]}', "val_metrics is not a list"),
        (b'{"train_metrics": [], "val_metrics": null}', "no metrics are in it yet"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_what_is_no_document_says_why(data: bytes, words: str) -> None:
    with pytest.raises(BadRecord, match=words):
        parse_document(data)


def test_a_table_has_a_row_a_record_and_a_column_a_key() -> None:
    records = [
        {"type": "config", "config": {}},
        {"type": "train", "step": 1, "train/loss": 0.5},
        {"type": "epoch_summary", "epoch": 0, "val_metrics": {"loss": math.nan}, "per": [1, 2]},
        {"type": "end"},
    ]
    table = to_csv(records)
    assert table.splitlines()[0] == "type,step,train/loss,epoch,val_metrics/loss,per"
    first, second = csv.DictReader(table.splitlines())
    assert first["train/loss"] == "0.5"
    assert (second["val_metrics/loss"], second["per"], second["step"]) == ("nan", "[1, 2]", "")


def test_a_table_of_nothing_is_empty() -> None:
    assert to_csv([{"type": "config"}]).strip() == ""
