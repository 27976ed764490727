"""A record log -> the older document, or a table."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.format import encode
from syncd.errors import SyncError
from syncd.report import export as report
from syncd.report import parquet
from tests.syncd.world import config_line, end_line, train_line

EPOCH = b'{"type":"epoch_summary","epoch":0,"train_loss":0.5,"train_metrics":{"a":1}}\n'


def export(path: Path, form: str, **how: Any) -> tuple[bytes, int]:
    pieces, bad = report.export(path, form, **how)
    return b"".join(pieces), bad


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "training_log_a.jsonl"
    data = config_line() + train_line(0) + b"bad\n\n" + train_line(1) + EPOCH + end_line()
    path.write_bytes(data + b'{"torn')
    return path


def test_the_older_document_has_config_metrics_and_epochs(log: Path) -> None:
    text, bad = export(log, "json")
    found = json.loads(text)
    assert list(found) == ["config", "train_metrics", "val_metrics", "epoch_summaries"]
    assert found["config"] == {"lr": 0.1}
    assert [entry["step"] for entry in found["train_metrics"]] == [0, 1]
    assert found["epoch_summaries"][0]["train_metrics"] == {"a": 1}
    assert bad == 1


def test_a_config_has_its_secrets_only_where_they_are_allowed(tmp_path: Path) -> None:
    log = tmp_path / "training_log_a.jsonl"
    config = {"api_key": "a", "hf_token": "b", "lr": 1, "song_key": "C", "db": {"password": "p"}}
    log.write_bytes(
        config_line(config=config, allow_config_keys=["hf_token"])
        + config_line(config={"password": "later"})
        + train_line(0)
    )
    found = json.loads(export(log, "json", allowed=("song_*",))[0])["config"]
    assert found == {
        "api_key": "***", "hf_token": "b", "lr": 1, "song_key": "C", "db": {"password": "***"},
        "password": "***",
    }  # fmt: skip


def test_the_table_has_a_row_for_each_record(log: Path) -> None:
    text, bad = export(log, "csv")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert [row["step"] for row in rows] == ["0", "1", ""]
    assert rows[2]["train_metrics/a"] == "1"
    assert bad == 1


def test_parquet_has_the_same_table_with_types(log: Path) -> None:
    arro3_io = pytest.importorskip("arro3.io", reason="arro3 is not installed")
    with log.open("ab") as file:
        file.write(
            b'\n{"type":"train","step":2,"ok":true,"train/loss":"NaN","many":[1,2],"odd":1}\n'
        )
        file.write(
            b'{"type":"val","step":3,"ok":false,"words":"u","wide":18446744073709551615,"odd":"x","deep":{"a":null}}\n'
        )
    data, bad = export(log, "parquet")
    table = arro3_io.read_parquet(io.BytesIO(data)).read_all()
    rows = list(csv.reader(io.StringIO(export(log, "csv")[0].decode())))
    assert (table.column_names, table.num_rows, bad) == (rows[0], len(rows) - 1, 2)
    found = {name: [value.as_py() for value in table.column(name)] for name in rows[0]}
    assert found["step"] == [0, 1, None, 2, 3]
    assert found["train/loss"][:2] == [1.0, 0.5]
    assert math.isnan(found["train/loss"][3])
    assert found["ok"] == [None, None, None, True, False]
    assert found["many"][3] == "[1, 2]"
    assert found["odd"] == [None, None, None, "1", "x"]
    assert found["words"][4] == "u"
    assert found["wide"][4] == 2.0**64
    assert found["deep/a"] == [None] * 5
    kinds = {name: type(next(filter(None, values), None)) for name, values in found.items()}
    assert [kinds[name] for name in ("step", "epoch", "ok", "odd")] == [int, float, bool, str]


def test_a_text_that_a_spreadsheet_would_compute_is_none_in_the_table(log: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@a", "\tb", "\rc", "d=e", "'f"]
    record = {"type": "val", "step": -1, "loss": -0.5, **{f"{text}k": text for text in texts}}
    log.write_bytes(config_line() + encode(record))
    head, row = csv.reader(io.StringIO(export(log, "csv")[0].decode(), newline=""))
    shown = ["'=1+1", "'+1", "'-1", "'@a", "'\tb", "'\rc", "d=e", "'f"]
    assert head == ["type", "step", "loss", *(f"{text}k" for text in shown)]
    assert row == ["val", "-1", "-0.5", *shown]


def test_parquet_takes_names_that_no_text_of_cs_can_be(log: Path) -> None:
    arro3_io = pytest.importorskip("arro3.io", reason="arro3 is not installed")
    log.write_bytes(config_line() + encode({"type": "val", "a\0b": "c\0d", "a\\0b": 2}))
    data = export(log, "parquet")[0]
    table = arro3_io.read_parquet(io.BytesIO(data)).read_all()
    assert table.column_names == ["type", "a\\0b", "a\\0b_"]
    assert [table.column(n)[0].as_py() for n in range(3)] == ["val", "c\0d", 2]


def test_parquet_of_more_columns_than_it_holds_well_is_refused(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("arro3.io")
    monkeypatch.setattr(parquet, "MOST", 2)
    with pytest.raises(SyncError, match="metrics, of which Parquet takes 2"):
        export(log, "parquet")


def test_where_nothing_writes_parquet_it_is_said_what_to_install(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "arro3.core", None)
    with pytest.raises(SyncError) as error:
        export(log, "parquet")
    assert error.value.remedy == "pip install 'karaoke-train[parquet]'"


def test_a_log_longer_than_a_read_is_exported_whole(log: Path) -> None:
    log.write_bytes(config_line() + b"".join(train_line(step) for step in range(20_000)))
    assert len(json.loads(export(log, "json")[0])["train_metrics"]) == 20_000


@pytest.mark.parametrize(
    "data", [b"", b"# A heading\n\nWords.\n", b'{"a": 1}\n{"b": 2}\n', b"\x00\xff\n"]
)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes, form: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(data)
    with pytest.raises(SyncError, match="this is no record log: none of its lines is a record"):
        export(path, form)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="can't be read: No such file") as error:
        export(tmp_path / "none.jsonl", "json")
    assert error.value.where.endswith("none.jsonl")


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_log_is_never_in_memory_as_a_whole(tmp_path: Path, form: str) -> None:
    log = tmp_path / "training_log_a.jsonl"
    # long lines: each of the objects is traced, and it is bytes that count
    long = {"type": "train", "epoch": 0.5} | {f"train/{name}": name * 1000 for name in "abcd"}
    log.write_bytes(
        config_line() + b"".join(encode(long | {"step": step}) for step in range(2_000))
    )
    tracemalloc.start()
    try:
        for _ in report.export(log, form).pieces:
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < log.stat().st_size  # of Python objects, which are ten times their text


def test_what_is_written_while_a_log_is_exported_is_for_the_next_time(log: Path) -> None:
    found = report.export(log, "csv").pieces
    with log.open("ab") as file:
        file.write(b"\n" + train_line(7))
    assert len(b"".join(found).splitlines()) == 4
