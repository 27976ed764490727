"""How often a run was started before a position of its file."""

from __future__ import annotations

from pathlib import Path

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Position
from syncd.destination.rows import attempt_at
from syncd.source.attempts import attempt_before
from tests.karaoke_train.runlog.files import split_lines
from tests.syncd.world import config_line, train_line

AGAIN = config_line(resumed=True)
TOO_LONG = config_line(pad="x" * MAX_LINE)
ODD = (
    config_line()
    + train_line(0)
    + AGAIN
    + b'{"type":"train","note":"config"}\n{"config": \n\n'
    + config_line(attempt=7)
    + TOO_LONG
    + train_line(1)
    + config_line(attempt="nine")
    + train_line(2)
)


def test_nothing_before_is_the_first_attempt(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(ODD)
    assert attempt_before(tmp_path / "log", Position()) == 1


def test_it_is_what_counting_line_by_line_comes_to(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(ODD)
    attempt, seen = 1, []
    for line in split_lines(ODD, Position())[0]:
        attempt = attempt_at(line, attempt)
        seen.append(attempt)
        assert attempt_before(tmp_path / "log", line.end) == attempt
    assert seen == [1, 1, 2, 2, 2, 2, 7, 7, 7, 8, 8]
