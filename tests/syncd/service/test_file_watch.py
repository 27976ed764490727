"""Which of the files that were read are other ones now, look by look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.service.file_watch import EVERY, FileWatch
from tests.fakes.clock import FakeClock


class Desk:
    """Some files, and a watch over them."""

    def __init__(self, folder: Path) -> None:
        self.files = [folder / "config.toml", folder / "netrc"]
        self.files[0].write_text("a = 1\n")
        self._clock = FakeClock()
        self._watch = FileWatch(lambda: self.files, self._clock)

    def look(self, times: int = 1) -> list[str]:
        """The names that so many looks have found."""
        found = []
        for _ in range(times):
            self._clock.advance(EVERY)
            found += [path.name for path in self._watch.changed()]
        return found

    def at_once(self) -> list[Path]:
        """What is found before the next look is due."""
        return self._watch.changed()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_files_that_stay_as_they_are_are_no_news(desk: Desk) -> None:
    assert desk.look(5) == []


def test_a_change_is_named_once_after_it_has_stood_still_for_a_look(desk: Desk) -> None:
    desk.files[0].write_text("a = 10\n")
    assert desk.at_once() == []
    assert desk.look() == []
    assert desk.look(5) == ["config.toml"]


def test_a_file_that_is_still_being_written_waits(desk: Desk) -> None:
    for size in range(2, 6):
        desk.files[1].write_text("x" * size)
        assert desk.look() == []
    assert desk.look(3) == ["netrc"]


def test_a_file_that_goes_and_comes_back_is_named_each_time(desk: Desk) -> None:
    desk.files[0].unlink()
    assert desk.look(3) == ["config.toml"]
    desk.files[0].write_text("a = 1\n")
    assert desk.look(3) == ["config.toml"]


def test_a_file_in_anothers_place_with_its_size_and_time_is_another_one(desk: Desk) -> None:
    path, was = desk.files[0], desk.files[0].stat()
    beside = path.with_suffix(".new")
    beside.write_text("a = 2\n")
    os.utime(beside, ns=(was.st_atime_ns, was.st_mtime_ns))
    beside.replace(path)
    assert desk.look(3) == ["config.toml"]


def test_a_file_that_another_one_names_by_now_is_looked_at_too(desk: Desk, tmp_path: Path) -> None:
    desk.files[1] = tmp_path / "elsewhere"
    desk.files[1].write_text("x")
    assert desk.look(3) == ["elsewhere"]
