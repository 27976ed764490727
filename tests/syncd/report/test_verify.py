"""What `verify` calls equal and what different: files and histories as literal data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.format import MAX_DEPTH, encode
from karaoke_train.runlog.reader import Line, Position
from syncd.destination.comparison import SHOWN, compare, media_hash
from syncd.destination.rows import Media, attempt_at, row
from syncd.source.media_folder import MediaFolder
from tests.karaoke_train.runlog.files import split_lines

STARTED = 1_700_000_000.0


def lines(*records: dict[str, Any]) -> list[Line]:
    return split_lines(b"".join(map(encode, records)), Position())[0]


def train(step: int, **metrics: Any) -> dict[str, Any]:
    return {"type": "train", "step": step, "timestamp": STARTED + step, **metrics}


def served(file: list[Line]) -> list[dict[str, Any]]:
    """The history of a run that went well."""
    rows, attempt = [], 1
    for line in file:
        attempt, step = attempt_at(line, attempt), line.at.ordinal
        rows.append({**row(line, STARTED, attempt), "_step": step, "_runtime": 0.5 * step})
    return rows


FILE = lines(*(train(step, loss=step / 7) for step in range(6)))


def no_media(_: object) -> str:
    return ""


def test_what_went_well_is_equal() -> None:
    result = compare(FILE, served(FILE), STARTED, no_media)
    assert result.equal
    assert (result.records, result.rows) == (6, 6)


RESUMED = lines(
    {"type": "config", "run_id": "r", "part": "k3x9", "created": STARTED},
    train(1, loss=1),
    {"type": "config", "run_id": "r", "created": STARTED + 2},
    train(3, loss=2),
)


@pytest.mark.parametrize("key", ["trainer/runtime", "attempt", "syncd/part"])
def test_what_earlier_versions_had_no_value_for_may_be_missing_and_not_wrong(key: str) -> None:
    rows = served(RESUMED)
    assert all("trainer/runtime" in row and "attempt" in row for row in rows)
    assert [row["attempt"] for row in rows] == [1, 1, 2, 2]
    old = [{name: value for name, value in row.items() if name != key} for row in rows]
    assert compare(RESUMED, old, STARTED, no_media).equal
    rows[0][key] = "another"
    result = compare(RESUMED, rows, STARTED, no_media)
    assert [(one.ordinal, one.key) for one in result.differences] == [(0, key)]


def test_a_metric_of_such_a_name_has_to_be_there() -> None:
    file = lines(train(0, attempt=4))
    rows = served(file)
    del rows[0]["attempt"]
    assert compare(file, rows, STARTED, no_media).different == 1


def test_a_run_that_nobody_uploaded_waits_as_a_whole() -> None:
    result = compare(FILE, [], STARTED, no_media)
    assert (result.consistent, result.equal) == (True, False)
    assert (result.records, result.rows, result.waiting) == (6, 0, 6)


def test_records_behind_the_last_row_wait() -> None:
    result = compare(FILE, served(FILE)[:4], STARTED, no_media)
    assert (result.consistent, result.equal, result.waiting) == (True, False, 2)


def test_a_gap_is_missing_and_named() -> None:
    rows = served(FILE)
    result = compare(FILE, rows[:2] + rows[4:], STARTED, no_media)
    assert not result.consistent
    assert (result.records, result.missing, result.missing_at) == (6, 2, [2, 3])
    assert result.different == 0


def test_a_row_that_came_twice_is_repeated() -> None:
    rows = served(FILE)
    result = compare(FILE, rows[:3] + rows[2:], STARTED, no_media)
    assert not result.consistent
    assert (result.duplicate, result.duplicate_at, result.rows) == (1, [2], 7)


def test_a_row_of_somebody_else_is_foreign() -> None:
    result = compare(FILE, [*served(FILE), {"_step": 6, "loss": 1}], STARTED, no_media)
    assert not result.consistent
    assert (result.records, result.extra, result.extra_at) == (6, 1, [6])


def test_a_row_without_a_step_is_none_of_ours() -> None:
    result = compare(FILE, [{"loss": 1}, *served(FILE)], STARTED, no_media)
    assert (result.duplicate_at, result.equal) == ([-1], False)


def test_another_value_is_named_with_both() -> None:
    rows = served(FILE)
    rows[3]["loss"] = 0.5
    result = compare(FILE, rows, STARTED, no_media)
    (one,) = result.differences
    assert (one.ordinal, one.key, one.server) == (3, "loss", "0.5")
    assert (result.different, result.equal) == (1, False)


def test_a_key_too_many_or_too_few_is_a_difference() -> None:
    rows = served(FILE)
    rows[1]["more"] = 1
    del rows[2]["loss"]
    result = compare(FILE, rows, STARTED, no_media)
    assert [(one.ordinal, one.key) for one in result.differences] == [(1, "more"), (2, "loss")]


def test_all_differences_are_counted_and_the_first_kept() -> None:
    file = lines(*(train(step, loss=1) for step in range(SHOWN + 5)))
    rows = [{**item, "loss": 2} for item in served(file)]
    result = compare(file, rows, STARTED, no_media)
    assert (result.different, len(result.differences)) == (SHOWN + 5, SHOWN)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (math.nan, math.nan),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        ([math.nan, 1], [math.nan, 1]),
        (3.0, 3),
        (2**63, float(2**63)),
        ({"a": {}, "b": 1}, {"b": 1}),
        ([{}], [{}]),
        (None, None),
    ],
)
def test_what_wandb_makes_of_a_value_is_no_difference(here: Any, there: Any) -> None:
    file = lines(train(0, value=here))
    rows = [{**served(file)[0], "value": there}]
    assert compare(file, rows, STARTED, no_media).equal


def test_a_mapping_with_nothing_in_it_is_not_kept() -> None:
    file = lines(train(0, value={"a": {}}))
    rows = served(file)
    del rows[0]["value"]
    assert compare(file, rows, STARTED, no_media).equal


@pytest.mark.parametrize(("here", "there"), [(1, True), (None, 0), ("1", 1), (math.nan, None)])
def test_values_that_only_look_alike_differ(here: Any, there: Any) -> None:
    file = lines(train(0, value=here))
    rows = [{**served(file)[0], "value": there}]
    assert compare(file, rows, STARTED, no_media).different == 1


PICTURE = {"_type": "image-file", "sha256": "aa", "caption": "c", "path": "media/images/x.png"}
MEDIA = {
    "type": "media", "step": 1, "key": "pic", "path": "p.png", "kind": "image", "caption": "c",
    "timestamp": STARTED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("there", "local", "equal"),
    [
        (PICTURE, "aa", True),
        (PICTURE, "", True),  # the file is gone since: what refers to it has to do
        (PICTURE, "bb", False),
        (PICTURE | {"_type": "audio-file"}, "aa", False),
        (PICTURE | {"caption": "d"}, "aa", False),
        ("p.png is missing: No such file or directory", "", True),
        ("p.png is missing: No such file or directory", "aa", False),
        ("p.png is missing: it can't be read", "aa", True),  # a damaged one, in both lanes
        ("p.png is missing: it can't be read", "", True),
        (None, "aa", False),
    ],
)
def test_a_picture_is_compared_by_what_refers_to_it(there: Any, local: str, equal: bool) -> None:
    file = lines(MEDIA)
    rows = [{**served(file)[0], "pic": there}]
    assert compare(file, rows, STARTED, lambda media: local).equal is equal


@pytest.mark.parametrize(
    ("there", "count"),
    [
        (PICTURE, 0),
        ("p.png is missing: No such file or directory", 0),  # there was none to be lost
        ("p.png is missing: it is larger than media may be", 1),
    ],
)
def test_words_in_the_place_of_a_picture_that_there_was_are_a_placeholder(
    there: Any, count: int
) -> None:
    file = lines(MEDIA)
    result = compare(file, [{**served(file)[0], "pic": there}], STARTED, no_media)
    assert (result.placeholder, result.placeholder_at) == (count, [0] * count)
    assert result.equal


@pytest.mark.parametrize(
    ("there", "files", "absent"),
    [
        (PICTURE, {"media/images/x.png"}, 0),
        (PICTURE, {"media/images/y.png"}, 1),
        (PICTURE | {"size": 0}, set(), 0),  # as one that never came, for all that can be seen
        ("p.png is missing: it can't be read", set(), 0),
    ],
)
def test_a_picture_that_is_referred_to_has_to_be_there_where_that_is_asked(
    there: Any, files: set[str], absent: int
) -> None:
    file = lines(MEDIA)
    rows = [{**served(file)[0], "pic": there}]
    result = compare(file, rows, STARTED, no_media, files=lambda: files)
    assert (result.absent, result.absent_at, result.consistent) == (
        absent,
        [0] * absent,
        not absent,
    )
    assert compare(file, rows, STARTED, no_media).equal


def test_a_file_that_can_have_no_such_name_is_not_here(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    assert len(media_hash(MediaFolder(tmp_path), Media("a.png", "image", ""))) == 64
    for path in ("none.png", "a.png\0", ""):
        assert media_hash(MediaFolder(tmp_path), Media(path, "image", "")) == ""


def test_a_bad_line_is_equal_to_its_placeholder(tmp_path: Path) -> None:
    file = split_lines(b'{"type": "config"}\nno JSON\n\n', Position())[0]
    result = compare(file, served(file), STARTED, no_media)
    assert (result.equal, result.placeholder_at) == (True, [1])


@pytest.mark.parametrize("depth", [100, 900])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_a_row_that_is_nested_deeper_than_a_recursion_goes_is_another_one(
    depth: int, begin: str, end: str
) -> None:
    rows = served(FILE)
    rows[2]["loss"] = json.loads(begin * depth + "1" + end * depth)
    result = compare(FILE, rows, STARTED, no_media)
    assert [(one.ordinal, one.key) for one in result.differences] == [(2, "loss")]


def test_a_record_that_is_nested_as_deep_as_may_be_is_compared_whole() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    file, other = lines(train(0, deep=deep)), lines(train(0, deep={"b": deep["a"]}))
    assert file[0].record
    assert compare(file, served(file), STARTED, no_media).equal
    assert not compare(file, served(other), STARTED, no_media).consistent
    inner = json.loads(json.dumps(deep).replace("1", "2"))
    assert not compare(file, served(lines(train(0, deep=inner))), STARTED, no_media).consistent
