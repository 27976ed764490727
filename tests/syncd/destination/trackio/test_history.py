"""What the store has is what the file has: odd records, pictures, lines sent twice, names."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.runlog.reader import Position
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.base import Target
from syncd.destination.comparison import Comparison, compare, media_hash
from syncd.destination.trackio.destination import ENTITY, TrackioDestination
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder
from syncd.source.scanner import header_of
from tests.syncd.destination.wandb import odd_logs

_numbers = count()
LOGS = {
    name: getattr(odd_logs, name)
    for name in ("NUMBERS", "NESTED", "KEYS", "LINES", "TIMES", "CONFIGS", "EPOCHS")
}


class Sent:
    """A log that was sent, in as many sessions as parts."""

    def __init__(self, store: Path, media: Path, lines: list[bytes], **config: object) -> None:
        self.destination = TrackioDestination(store)
        first = odd_logs.config(f"odd-{next(_numbers)}", **config)
        self.header = header_of(first, Path("x.jsonl"))
        self.media = MediaFolder(media)
        self.target = Target(self.header, ENTITY, self.header.project, self.media)
        self.lines = Lines.of(first + b"".join(lines) + odd_logs.end(), Position())

    def send(self, first: int = 0, last: int | None = None) -> Sent:
        """In a session of its own; from line `first` on, also where the store has it already."""
        uploader = self.destination.uploader(self.target)
        uploader.open()
        start = self.lines.start_of(first)
        part = Lines.of(self.lines.data[start.offset :], start)
        uploader.send(part.first((last or len(self.lines)) - first))
        uploader.close(None, ())
        return self

    def compared(self) -> Comparison:
        rows = self.destination.history(self.target.ref)
        started = parse_timestamp(self.header.created, 0.0)
        there = self.destination.files(self.target.ref)
        return compare(
            self.lines, rows, started, lambda media: media_hash(self.media, media),
            files=lambda: there,
        )  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_odd_records_are_kept_as_they_are(name: str, store_folder: Path, tmp_path: Path) -> None:
    found = Sent(store_folder, tmp_path, LOGS[name]).send().compared()
    assert found.differences == []
    assert found.equal


@settings(max_examples=20)
@given(st.lists(odd_logs.RECORDS, min_size=1, max_size=5))
def test_any_record_is_kept_as_it_is(store_folder: Path, records: list[bytes]) -> None:
    found = Sent(store_folder, Path("/none"), records).send().compared()
    assert found.differences == []
    assert found.equal


def test_pictures_and_sounds_are_there_or_named_as_missing(
    store_folder: Path, tmp_path: Path
) -> None:
    odd_logs.write_media(tmp_path)
    lines = [odd_logs.media("p", name, caption="c") for name in odd_logs.PICTURES]
    lines += [odd_logs.media("s", name, "audio") for name in odd_logs.SOUNDS]
    lines += [odd_logs.media(key, "a.png") for key in odd_logs.MEDIA_KEYS]
    sent = Sent(store_folder, tmp_path, lines).send()
    assert sent.compared().differences == []
    (kept,) = sent.destination._store.rows(sent.header.project, sent.header.run_id, 1, 2)
    file = store_folder / "media" / kept.metrics["p"]["file_path"]
    assert file.read_bytes() == (tmp_path / "a.png").read_bytes()


def test_a_picture_that_is_gone_is_missed_and_comes_again_with_the_runs_end(
    store_folder: Path, tmp_path: Path
) -> None:
    odd_logs.write_media(tmp_path)
    sent = Sent(store_folder, tmp_path, [odd_logs.media("p", "a.png"), odd_logs.train(x=1)]).send()
    for file in (store_folder / "media").rglob("*.png"):
        file.unlink()
    assert sent.compared().absent_at == [1]
    uploader = sent.destination.uploader(sent.target)
    uploader.open()
    uploader.close(None, (), list(sent.lines))
    assert sent.compared().equal


def test_lines_that_are_sent_again_change_nothing_and_leave_no_second_file(
    store_folder: Path, tmp_path: Path
) -> None:
    odd_logs.write_media(tmp_path)
    sent = Sent(store_folder, tmp_path, [odd_logs.media("p", "a.png"), odd_logs.train(x=1)])
    before = list(sent.send(0, 3).destination.history(sent.target.ref))
    sent.send(1)
    after = list(sent.destination.history(sent.target.ref))
    assert after[:3] == before
    assert sent.compared().equal
    folder = sent.destination._store.media_folder("p", sent.header.run_id)
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_rows_that_went_missing_in_the_middle_are_filled_in(
    store_folder: Path, tmp_path: Path
) -> None:
    sent = Sent(store_folder, tmp_path, [odd_logs.train(x=n) for n in range(5)])
    sent.send(0, 2).send(4)
    assert sent.compared().missing_at == [2, 3]
    sent.send(2)
    assert sent.compared().equal


@pytest.mark.parametrize("project", ["a/b", "ab", "registry-x", "model_artifacts", "ü" * 300, "."])
def test_projects_whose_names_trackio_would_make_one_stay_apart(
    project: str, store_folder: Path, tmp_path: Path
) -> None:
    sent = Sent(store_folder, tmp_path, [odd_logs.train(x=1)], project=project)
    assert sent.send().compared().equal


def test_a_step_is_what_rows_without_one_are_drawn_at(store_folder: Path, tmp_path: Path) -> None:
    import sqlite3

    lines = [odd_logs.train(x=1), odd_logs.epoch(epoch=1), b'{"type":"train","step":1e30}\n']
    sent = Sent(store_folder, tmp_path, lines).send(0, 2).send(2)
    with sqlite3.connect(store_folder / "p.db") as database:
        asked = "SELECT step FROM metrics WHERE run_id = ? ORDER BY id"
        steps = [step for (step,) in database.execute(asked, (sent.header.run_id,))]
    assert steps == [0, 7, 7, 7, 7]
