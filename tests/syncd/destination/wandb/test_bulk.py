"""Rows in bulk are the rows that `rows.row` makes, byte by byte in meaning."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Position
from syncd.destination.rows import Media, attempt_at
from syncd.destination.wandb import bulk
from syncd.destination.wandb.bulk import HistoryLines, Summary, history_lines, line_text, text
from tests.karaoke_train.runlog.files import split_lines
from tests.syncd.world import CREATED, config_line, end_line, train_line

STARTED = 1705329022.0  # CREATED, in seconds
START = Position(3, 70)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(max_size=5),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "N", "I", "null", "{", "["]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
keys = st.one_of(
    st.sampled_from(["train/loss", "epoch", "", "_step", "_x", "trainer/step", "type", "step"]),
    st.sampled_from(["trainer/runtime", "attempt", "syncd/part"]),
    st.text(max_size=4),
)
times = st.one_of(
    st.just(CREATED),
    st.sampled_from(["2024-01-15T16:30:22+02:00", "2024-01-15", "", "rubbish", "0001-01-01"]),
    st.floats(),
    st.none(),
)
records = st.builds(
    lambda kind, time, step, more: {"type": kind, "timestamp": time, "step": step, **more},
    st.sampled_from(["train", "val", "new", "end", "media", "epoch_summary", "config", 7]),
    times,
    st.one_of(st.integers(0, 9), scalars),
    st.dictionaries(keys, st.one_of(st.floats(allow_nan=False), values), max_size=4),
)
lines = st.one_of(
    records.map(lambda record: json.dumps(record).encode()),
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")),
    st.sampled_from([b"", b"{bad", b'{"type":"train","a":1,"a":2}', b'\xef\xbb\xbf{"type":"val"}']),
)


def no_media(ordinal: int, key: str, media: Media) -> Any:
    return f"{key} at {ordinal}: {media.path}"


def in_bulk(data: bytes, start: Position = START, attempt: int = 4) -> tuple[HistoryLines, Any]:
    summary = Summary()
    made = history_lines(data, start, STARTED, summary, no_media, attempt)
    return made, json.loads(summary.text())


def one_by_one(data: bytes, attempt: int = 4) -> tuple[list[str], Any]:
    summary, texts = Summary(), []
    for line in split_lines(data, START)[0]:
        attempt = attempt_at(line, attempt)
        texts.append(line_text(line, STARTED, summary, no_media, attempt))
    return texts, json.loads(summary.text())


def same(one: Any, other: Any) -> bool:
    """Equal, NaN being itself, and 1 not being 1.0 or true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(st.lists(lines, max_size=8), st.sampled_from([b"", b'{"torn']))
def test_the_quick_way_and_the_slow_one_give_the_same_rows(raw: list[bytes], torn: bytes) -> None:
    data = b"".join(line + b"\n" for line in raw)
    made, summary = in_bulk(data + torn)
    expected, whole = one_by_one(data)
    assert len(made.texts) == len(expected) == len(raw)
    assert all(map(same, map(json.loads, made.texts), map(json.loads, expected)))
    assert same(summary, whole)
    assert made.end == split_lines(data, START)[1]


@given(st.lists(lines, min_size=1, max_size=8), st.data())
def test_where_a_chunk_ends_makes_no_difference(raw: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(line + b"\n" for line in raw)
    cut = draw.draw(st.integers(0, len(data)))
    first, _ = in_bulk(data[:cut])
    rest, _ = in_bulk(data[first.end.offset - START.offset :], first.end, first.attempt)
    whole, _ = in_bulk(data)
    assert rest.attempt == whole.attempt
    assert first.texts + rest.texts == whole.texts
    assert [*first.special, *rest.special] == list(whole.special)


def test_a_plain_record_is_a_plain_row() -> None:
    made, summary = in_bulk(train_line(4))
    assert json.loads(made.texts[0]) == {
        "train/loss": 0.2, "epoch": 0.5, "trainer/step": 4, "_timestamp": STARTED, "_step": 3,
        "_runtime": 0.0, "trainer/runtime": 0.0, "attempt": 4,
    }  # fmt: skip
    assert made.special == ()
    assert summary["train/loss"] == 0.2
    assert summary["_wandb"] == {"runtime": 0}


def test_the_runtime_counts_from_the_runs_start() -> None:
    later = b'{"type":"train","timestamp":"2024-01-15T16:30:22+00:00","x":1}\n'
    made, summary = in_bulk(later)
    row = json.loads(made.texts[0])
    assert (row["_runtime"], row["trainer/runtime"]) == (7200.0, 7200.0)
    assert summary["_wandb"] == {"runtime": 7200}
    early = b'{"type":"train","timestamp":"2023-01-01T00:00:00+00:00","x":1}\n'
    assert json.loads(in_bulk(early)[0].texts[0])["_runtime"] == 0.0


def test_a_config_record_raises_the_attempt_for_itself_and_what_follows() -> None:
    data = train_line(1) + config_line(resumed=True) + train_line(2) + b"{bad\n\n"
    made, _ = in_bulk(data, attempt=2)
    assert [json.loads(text)["attempt"] for text in made.texts] == [2, 3, 3, 3, 3]
    assert made.attempt == 3
    first, _ = in_bulk(config_line() + train_line(1), Position(), attempt=1)
    assert [json.loads(text)["attempt"] for text in first.texts] == [1, 1]


def test_all_but_plain_metrics_is_handed_back() -> None:
    data = config_line() + train_line(1) + b"{bad\n\n" + end_line()
    assert [line.at.ordinal for line in in_bulk(data)[0].special] == [3, 5, 6, 7]


def test_a_line_over_the_limit_is_one_placeholder() -> None:
    data = b'{"type":"train","x":"' + b"y" * MAX_LINE + b'"}\n' + train_line(1)
    made, _ = in_bulk(data)
    assert json.loads(made.texts[0])["syncd/bad_record"] == 1
    assert json.loads(made.texts[1])["_step"] == 4


def test_the_summary_keeps_the_last_value_leaf_by_leaf() -> None:
    summary = Summary({"a": {"x": 1, "y": 2}, "kept": 3})
    summary.update({"a": {"x": 5, "z": {"w": 6}}, "gone": None})
    assert json.loads(summary.text()) == {
        "a": {"x": 5, "y": 2, "z": {"w": 6}}, "kept": 3, "_wandb": {"runtime": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": math.nan, "b": [math.inf, -math.inf]}, '{"a":NaN,"b":[Infinity,-Infinity]}'),
        ({"a": "\ud800"}, '{"a": "\\ud800"}'),
        ({"a": 1.5, "ü": None}, '{"a":1.5,"ü":null}'),
        ({"a": math.nan, "b": [1e-7, "NaN", {"ü": 1}]}, '{"a":NaN,"b":[1e-7,"NaN",{"ü":1}]}'),
    ],
)
def test_json_is_written_as_the_sdk_writes_it(values: dict[str, Any], expected: str) -> None:
    assert text(values) == expected


def test_a_summary_of_too_much_keeps_the_first_metrics_and_wandbs_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "MAX_SUMMARY", 300)
    summary = Summary()
    summary.update({"first": 1, "long": "x" * 1000})
    for step in range(50):
        summary.update({f"other/{step}": step, "first": step, "_step": step})
        shown = json.loads(summary.text())
        assert len(summary.text()) < 400
        assert (shown["first"], shown["_step"]) == (step, step)
    assert summary.cut
    assert "long" not in shown
    assert "other/0" in shown
    assert "other/49" not in shown
