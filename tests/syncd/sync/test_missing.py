"""Whether a server's count and its rows agree, before anything is sent behind the count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from karaoke_train.runlog.format import RunHeader
from syncd.destination.base import Destination, RemoteRun, Row, RunRef, Uploader
from syncd.source import tailer
from syncd.source.media_folder import MediaFolder
from syncd.sync.content import Content
from syncd.sync.missing import agreeing, send_again
from tests.fakes.uploads import IDENTITY
from tests.syncd.world import config_line, train_line

REF = RunRef("team", "songs", "run")


@dataclass
class Shown:
    """A destination that counts these many lines, one after the other, and has these steps."""

    counted: list[int]
    steps: range
    last_step: int
    counts: bool = True
    waited: list[float] = field(default_factory=list)

    def remote_run(self, run: RunRef) -> RemoteRun:
        return RemoteRun(self.counted.pop(0), self.last_step)

    def rows(self, run: RunRef, start: int, stop: int) -> Sequence[Row]:
        return [{"_step": step} for step in self.steps if start <= step < stop]

    def pause(self, seconds: float) -> None:
        self.waited.append(seconds)


def test_what_is_missing_is_sent_again_up_to_the_end_and_its_files_are_brought(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(config_line() + b"".join(map(train_line, range(9))))
    sent: list[Any] = []
    uploader = SimpleNamespace(
        rewinds=True,
        rewind=lambda ordinal, attempt: sent.append((ordinal, attempt)),
        send=lambda lines: sent.extend(line.at.ordinal for line in lines),
        bring=lambda: sent.append("files"),
    )
    there = SimpleNamespace(identity=IDENTITY)
    media = MediaFolder(tmp_path / "media")
    content = Content(path, media, RunHeader("r", "r", "p"), REF, cast("Destination", there), "r")
    *_, last = [line for line in tailer.each_line(path) if line.at.ordinal < 6]
    send_again(content, cast("Uploader", uploader), 3, last.end)
    assert sent == [(3, 1), 3, 4, 5, "files"]


@pytest.mark.parametrize(
    ("counted", "steps", "last_step", "displaced", "waits"),
    [
        ([41], range(41), 40, False, 0),
        ([38, 41], range(41), 40, False, 1),  # a count that lags
        ([38, 41], range(41), 30, False, 1),  # and an older last step
        ([41] * 4, range(44), 43, True, 3),  # three lines are in the places of earlier ones
        ([41] * 4, range(44), 30, True, 3),  # which a last step from a cache does not show
        ([41] * 4, range(44), 40, True, 3),  # nor that of the last line
        ([0], range(0), -1, False, 0),
    ],
)
def test_a_step_beyond_a_count_that_stands_is_in_the_place_of_another(
    counted: list[int], steps: range, last_step: int, displaced: bool, waits: int
) -> None:
    shown = Shown(counted, steps, last_step)
    there = cast("Destination", shown)
    remote, found = agreeing(there, REF, there.remote_run(REF))
    assert remote is not None
    assert (found, len(shown.waited), shown.counted) == (displaced, waits, [])
