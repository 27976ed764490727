"""The two measurements upload what they say they upload, and the page takes their tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import figures, live, upload
from benchmarks.measure import table
from benchmarks.server import Server


@pytest.mark.slow
def test_a_whole_upload_and_a_grown_one_are_on_the_server_when_they_are_counted(
    tmp_path: Path,
) -> None:
    case = upload.Case(records=5, grown=3, rounds=2)
    logs = [upload.write_log(tmp_path / "logs", case.records)]
    whole = upload.fresh(tmp_path, [*upload.SYNC, str(logs[0])], runs=1, lines=case.records)
    grown = upload.grown(case, tmp_path, logs)
    assert min(whole.cpu_s, grown.cpu_s) > 0
    with pytest.raises(ValueError, match="not 1 of 99"):
        upload.fresh(tmp_path, [*upload.SYNC, str(logs[0])], runs=1, lines=99)


@pytest.mark.slow
def test_records_of_live_runs_arrive_while_they_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_S", 0.5)
    seen = live.measure(live.Case(runs=2, seconds=2))
    assert seen.written == len(seen.first) + len(seen.waits) == 4
    assert len(seen.first) == 2
    assert all(wait >= 0 for wait in (*seen.first, *seen.waits))
    assert seen.mib > 0
    assert seen.refusals == 0


def test_a_line_that_is_missing_on_the_server_is_no_measurement(tmp_path: Path) -> None:
    journal = tmp_path / "runs" / "e" / "p" / "run-1" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    entry = '{"op":"lines","file":"wandb-history.jsonl","offset":%d,"content":["{}"],"at":%d}\n'
    journal.write_text(entry % (0, 5) + entry % (1, 6) + entry % (1, 9))
    assert Server(tmp_path).arrivals() == {"run-1": [5, 6]}
    journal.write_text(entry % (0, 5) + entry % (2, 6))
    with pytest.raises(ValueError, match="lines are missing"):
        Server(tmp_path).arrivals()


def test_a_table_comes_back_from_the_page_that_it_was_put_on() -> None:
    page = "# P\n<!-- x: begin -->\nold\n<!-- x: end -->\nrest <!-- y: begin -->\n"
    put = figures.put(page, "x", table(["a", "b"], [["1", "2"], ["3", "4"]]))
    assert figures.rows(put, "x") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert put.startswith("# P\n")
    assert put.endswith("\nrest <!-- y: begin -->\n")
    with pytest.raises(ValueError, match="no place for y"):
        figures.put(page, "y", "")


def test_small_sizes_keep_the_kind_of_case() -> None:
    small = figures.smaller(upload.Case(records=1_000_000, grown=100))
    assert small == upload.Case(records=50_000, grown=100, rounds=1)
    assert figures.smaller(upload.Case()) == replace(upload.Case())
