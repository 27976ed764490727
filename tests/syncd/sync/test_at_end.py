"""What a run's end is told with, however many epochs the run had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from karaoke_train.runlog.format import encode
from karaoke_train.runlog.reader import Line, Position, parse_line
from syncd.destination.rows import MAX_COLUMNS, epoch_table
from syncd.source.media_folder import MediaFolder
from syncd.sync import at_end
from syncd.sync.at_end import MediaLines, gathered, left_out_of_table

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines(*records: dict[str, Any]) -> Iterator[Line]:
    at = Position()
    for record in records:
        line = parse_line(encode(record), at)
        at = line.end
        yield line


def epoch(number: object, **more: Any) -> dict[str, Any]:
    return {"type": "epoch_summary", "epoch": number, **more}


def kept(*records: dict[str, Any]) -> list[dict[str, Any]]:
    """The summaries that the table is made of."""
    places = {line.at: line.record or {} for line in lines(*records)}
    return [places[at] for at in gathered(lines(*records)).epochs]


def epochs(records: list[dict[str, Any]]) -> list[object]:
    return [record["epoch"] for record in kept(*records)]


def test_an_epochs_last_summary_stands_in_the_place_of_its_first() -> None:
    records = epoch(0), epoch(1, loss=2), epoch(2), epoch(1, loss=1)
    assert kept(*records) == [epoch(0), epoch(1, loss=1), epoch(2)]
    needs = gathered(lines(*records))
    assert (needs.seen, needs.left_out) == (4, False)


def test_the_lines_of_media_are_kept_and_others_are_not() -> None:
    records = [{"type": "train"}, {"type": "media", "key": "k"}, {"type": ["media"]}, {}]
    needs = gathered(lines(*records))
    assert [at.ordinal for at in needs.media] == [1]
    assert ([*needs.epochs], needs.seen) == ([], 1)


def test_of_too_many_epochs_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_end, "MAX_EPOCHS", 3)
    assert epochs([epoch(number) for number in (0, 1, 2, 3, 4, 1)]) == [3, 4, 1]


def test_of_too_large_epochs_the_newest_are_kept_and_the_last_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(at_end, "MAX_BYTES", 1000)
    large = [epoch(number, pad="x" * 300) for number in (0, 1, 1, 1, 2, 3)]
    assert epochs(large) == [1, 2, 3][-2:]
    assert epochs([epoch(0, pad="x" * 300), epoch(1, pad="x" * 2000)]) == [1]


@pytest.mark.parametrize("limit", ["MAX_VALUES", "MAX_CELLS"])
def test_of_epochs_with_many_values_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(at_end, limit, 60)
    records = [epoch(number, **{f"{number}_{n}": n for n in range(12)}) for number in range(9)]
    assert 0 < len(kept(*records)) < 9
    assert kept(*records)[-1]["epoch"] == 8
    assert gathered(lines(*records)).left_out


def test_epochs_of_more_names_than_the_table_has_columns_are_all_kept_and_it_is_said() -> None:
    wide = {f"metric_{number}": number for number in range(MAX_COLUMNS)}
    records = [epoch(0, **wide), epoch(1, **wide)]
    needs = gathered(lines(*records))
    assert (len(needs.epochs), needs.left_out, needs.too_wide) == (2, False, True)
    assert left_out_of_table("a.jsonl", needs) == (
        "a.jsonl: the epoch table on the run's page has at most 1,000 columns, and the epochs have "
        "more names; the history has all of them"
    )


def test_of_an_epoch_with_as_many_names_as_the_table_has_columns_nothing_is_said() -> None:
    wide = {f"metric_{number}": number for number in range(MAX_COLUMNS - 1)}
    assert left_out_of_table("a.jsonl", gathered(lines(epoch(0, **wide)))) == ""


def test_of_epochs_that_are_too_many_and_too_wide_both_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(at_end, "MAX_EPOCHS", 1)
    monkeypatch.setattr(at_end, "MAX_COLUMNS", 2)
    needs = gathered(lines(epoch(0, a=1, b=2), epoch(1)))
    assert left_out_of_table("a.jsonl", needs) == (
        "a.jsonl: the epoch table on the run's page has the newest epoch alone, as there are "
        "too many or too large ones; it has at most 2 columns, and the epochs have more names; "
        "the history has all of them"
    )


def test_of_too_many_pictures_the_newest_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_end, "MAX_MEDIA", 2)
    needs = gathered(lines(*({"type": "media", "path": str(n)} for n in range(4))))
    assert [at.ordinal for at in needs.media] == [2, 3]
    assert needs.seen == 4


def test_of_too_large_pictures_the_newest_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"type": "media", "path": str(n), "pad": "x"} for n in range(4)]
    log = tmp_path / "training_log_a.jsonl"
    log.write_bytes(b"".join(map(encode, records)))
    for number in range(3):  # the last one is not there
        (tmp_path / str(number)).write_bytes(b"x" * 1000)
    monkeypatch.setattr(at_end, "MAX_MEDIA_BYTES", 2500)
    found = MediaLines(log, gathered(lines(*records)).media).affordable(MediaFolder(tmp_path))
    for _ in range(2):
        assert [line.record for line in found] == [
            {"type": "media", "path": path} for path in ("1", "2", "3")
        ]


def test_the_table_is_the_one_of_all_summaries() -> None:
    records = [epoch(number, loss=place) for place, number in enumerate(
        (0, 1.0, [2], 1, "1", None, [2], {"a": 1}, True, float("nan")))]  # fmt: skip
    assert epoch_table(kept(*records)) == epoch_table(
        [line.record or {} for line in lines(*records)]
    )
