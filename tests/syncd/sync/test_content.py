"""Whether what the server has of a run is what its file has, record by record."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from karaoke_train.runlog.format import RunHeader, encode
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.base import Destination, RemoteRun, Row, RunRef
from syncd.destination.rows import PART, row
from syncd.errors import RunRefused, RunTrouble
from syncd.source import tailer
from syncd.source.media_folder import MediaFolder
from syncd.sync.content import Content
from tests.fakes.uploads import IDENTITY
from tests.syncd.world import CREATED, config_line, train_line


class Shown:
    """A destination that shows these rows."""

    identity = IDENTITY

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def remote_run(self, run: RunRef) -> RemoteRun | None:
        return RemoteRun(len(self._rows), len(self._rows) - 1)

    def history(self, run: RunRef) -> Iterator[Row]:
        return iter(self._rows)

    def rows(self, run: RunRef, first: int, end: int) -> list[Row]:
        return [row for row in self._rows if first <= row["_step"] < end]

    def steps(self, run: RunRef) -> int | None:
        return len(self._rows)

    def pause(self, seconds: float) -> None:
        pass


def content(folder: Path, *steps: int, lines: int = 6, other: int | None = None) -> Content:
    """A file of so many lines, and a server with the rows of these; one of them is not its own."""
    folder.mkdir(exist_ok=True)
    path = folder / "log.jsonl"
    path.write_bytes(config_line("run", part="ours") + b"".join(map(train_line, range(lines - 1))))
    started = parse_timestamp(CREATED, 0.0)
    made = [{**row(line, started), "_step": line.at.ordinal} for line in tailer.each_line(path)]
    rows: list[dict[str, Any]] = [made[step] for step in steps]
    if other is not None:
        rows[other] = {"_step": steps[other], "foreign": 1}
    shown = cast("Destination", Shown(rows))
    header = RunHeader("run", "run", "songs", created=CREATED, part="ours")
    ref = RunRef("team", "songs", "run")
    return Content(path, MediaFolder(folder / "media"), header, ref, shown, "run")


class Endless(Shown):
    """One that has a further row whenever there were none left."""

    def history(self, run: RunRef) -> Iterator[Row]:
        yield from self._rows
        yield from ({"_step": step} for step in itertools.count(len(self._rows)))


class Broken(Shown):
    """One whose rows come to an end that is none."""

    def remote_run(self, run: RunRef) -> RemoteRun | None:
        return RemoteRun(6, 5)

    def history(self, run: RunRef) -> Iterator[Row]:
        yield from self._rows
        raise RunTrouble("no more rows in time", where="run")


def test_a_history_without_an_end_is_read_no_further_than_makes_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.sync.content.MORE_ROWS", 10)
    whole = content(tmp_path, *range(6))
    shown = cast("Destination", Endless(whole.destination._rows))  # type: ignore[attr-defined]
    with pytest.raises(RunTrouble, match="more than 22 rows, of 6 counted ones"):
        replace(whole, destination=shown).compared()


@pytest.mark.parametrize(
    ("steps", "other", "words"),
    [
        ((), None, "None of its 6 records were compared"),
        ((0, 1, 2), None, "Of its 6 records 3 were compared before that, and none of these"),
        ((0, 2, 3), 1, "Of its 6 records 4 were compared before that, and 2 of these"),
    ],
)
def test_a_history_that_breaks_off_says_what_was_compared(
    tmp_path: Path, steps: tuple[int, ...], other: int | None, words: str
) -> None:
    """What comes behind is not known to be missing, and does not wait either."""
    part = content(tmp_path, *steps, other=other)
    shown = cast("Destination", Broken(part.destination._rows))  # type: ignore[attr-defined]
    with pytest.raises(RunTrouble, match="no more rows in time") as broken:
        replace(part, destination=shown).compared()
    assert broken.value.meaning.startswith(words)
    with pytest.raises(RunTrouble):
        replace(part, destination=shown).first_missing(6)


@pytest.mark.parametrize(
    ("steps", "end", "missing"),
    [
        ((0, 1, 2, 3, 4, 5), 6, None),
        ((0, 1, 4, 5), 6, 2),
        ((0, 1, 2, 3), 6, 4),
        ((0, 1, 2, 3), 4, None),
        ((0, 1, 2, 3, 5), 4, None),
        ((), 2, 0),
        ((0, 1, 2, 2, 4, 5), 6, 3),  # line 2 came again, over line 3
        ((0, 1, 4, 4, 5, 5), 6, 2),
    ],
)
def test_the_first_line_that_the_server_lacks(
    tmp_path: Path, steps: tuple[int, ...], end: int, missing: int | None
) -> None:
    assert content(tmp_path, *steps).first_missing(end) == missing


def test_rows_past_a_count_that_lags_are_the_files_own(tmp_path: Path) -> None:
    """Another daemon's last lines: the rows show them some seconds before the count does."""
    assert content(tmp_path, 0, 1, 2, 3, 4, 5).first_missing(3) is None


def test_beside_a_writer_and_an_upload_that_never_rest_a_comparison_ends_and_finds_nothing_amiss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are of lines that were not there when it began; it goes on to where the file ends
    once all of them have come."""
    all_of_it, begun = content(tmp_path / "later", *range(8), lines=8), content(tmp_path, lines=3)
    lines = all_of_it.path.read_bytes().splitlines(keepends=True)
    grow, read = itertools.chain(lines[3:], [train_line(9)] * 30), tailer.read

    def busy(*how: Any) -> tailer.Chunk:
        chunk = read(*how)
        with begun.path.open("ab") as file:
            file.write(next(grow, b""))
        return chunk

    monkeypatch.setattr(tailer, "read", busy)
    found = replace(begun, destination=all_of_it.destination).compared()
    assert found.consistent
    assert (found.rows, found.records) == (8, 8 + found.waiting)
    assert found.waiting <= 2


def test_lines_that_are_twice_beside_all_others_are_for_a_person_to_decide(tmp_path: Path) -> None:
    with pytest.raises(RunRefused, match="1 records on the server are not the file's"):
        content(tmp_path, 0, 1, 2, 3, 4, 5, 5).first_missing(6)


@pytest.mark.parametrize(
    ("steps", "right"),
    [
        ((0, 1, 2, 3, 4, 5), True),
        ((0, 1, 2, 2, 4, 5), False),  # as many, and the last one is the last
        ((0, 1, 3, 4, 5), False),
    ],
)
def test_a_count_of_lines_some_of_which_are_there_twice_does_not_look_right(
    tmp_path: Path, steps: tuple[int, ...], right: bool
) -> None:
    run = content(tmp_path, *steps)
    *_, last = tailer.each_line(run.path)
    assert run.looks_right(last.end, 1, 6) is right


def test_a_row_that_is_not_the_files_is_for_a_person_to_decide(tmp_path: Path) -> None:
    with pytest.raises(RunRefused, match="1 records on the server are not the file's"):
        content(tmp_path, 0, 1, 2, other=1).first_missing(3)


def with_another_part(ours: Content, *steps: int) -> Content:
    """The same run, with rows of another part of it behind those of this file."""
    begin, *rest = steps
    rows = [*ours.destination.history(ours.ref), {"_step": begin, PART: "another"}]
    rows += [{"_step": step, "foreign": 1} for step in rest]
    return replace(ours, destination=cast("Destination", Shown(rows)))


def test_the_rows_of_a_later_part_are_none_of_this_file(tmp_path: Path) -> None:
    ours = with_another_part(content(tmp_path, 0, 1, 2, lines=3), 3, 4)
    assert ours.compared().consistent
    assert ours.first_missing(3) is None


def test_lines_in_the_places_of_a_later_part_are_for_a_person_to_decide(tmp_path: Path) -> None:
    ours = with_another_part(content(tmp_path, 0, 1, 2, lines=5), 3, 4)
    assert ours.compared().extra_at == [3]
    with pytest.raises(RunRefused, match="are not the file's"):
        ours.first_missing(5)


def test_it_looks_right_with_as_many_steps_and_its_first_and_last_row(tmp_path: Path) -> None:
    ours = content(tmp_path, *range(6))
    *_, last = tailer.each_line(ours.path)
    assert ours.looks_right(last.end, 1, 6)
    assert not ours.looks_right(last.end, 1, 5)
    assert not ours.looks_right(last.end, 1, 7)
    assert not content(tmp_path, *range(6), other=5).looks_right(last.end, 1, 6)
    assert not content(tmp_path, *range(6), other=0).looks_right(last.end, 1, 6)


def test_so_many_bytes_of_pictures_are_compared_and_no_more(tmp_path: Path) -> None:
    found = content(tmp_path, lines=1)
    (tmp_path / "media").mkdir()
    with found.path.open("ab") as log:
        for name in ("a.png", "b.png"):
            (tmp_path / "media" / name).write_bytes(b"x" * 1000)
            log.write(encode({"type": "media", "key": "k", "path": name}))
    other = {"_type": "image-file", "sha256": "of another picture"}
    started = parse_timestamp(CREATED, 0.0)
    rows = [
        {**row(line, started), "_step": line.at.ordinal} for line in tailer.each_line(found.path)
    ]
    rows[1:] = [{**one, "k": other} for one in rows[1:]]
    shown = replace(found, destination=cast("Destination", Shown(rows)))
    assert shown.compared().different == 2
    assert replace(shown, most_media=1500).compared().different == 1
