"""How much of a read one send takes, where pictures and sounds come with the lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from karaoke_train.runlog.format import encode
from karaoke_train.runlog.reader import Position
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder
from syncd.sync import portions
from syncd.sync.portions import portion

T, M, L, X = "train", "small.png", "large.png", "largest.png"
# Not more than 5 lines beside the first file, 3 files, 1,000 bytes; large.png has 600, largest.png
# all of them
CASES = {
    "none comes with files": ([T] * 9, 9),
    "a word is no type": (["media"] * 9, 9),
    "the lines before the first file": ([T, T, T, T, T, T, M], 6),
    "some lines with a file": ([T, M, T, T, T, T], 5),
    "a file long after another": ([M, T, T, T, T, T, T, M], 5),
    "so many files": ([M, M, M, M], 3),
    "so many bytes": ([L, L, M], 2),
    "one file that is over it": ([X, M, M], 1),
    "a file that is not there": (["gone.png", "gone.png", "gone.png", T], 3),
}


@pytest.fixture
def media(tmp_path: Path) -> MediaFolder:
    (tmp_path / M).write_bytes(b"x")
    (tmp_path / L).write_bytes(b"x" * 600)
    (tmp_path / X).write_bytes(b"x" * 1000)
    return MediaFolder(tmp_path)


def line(what: str) -> bytes:
    if what.endswith(".png"):
        return encode({"type": "media", "key": "k", "path": what})
    return encode({"type": "train", "word": what})


@pytest.mark.parametrize(("what", "taken"), CASES.values(), ids=CASES)
def test_a_send_has_few_files(
    media: MediaFolder, monkeypatch: pytest.MonkeyPatch, what: list[str], taken: int
) -> None:
    for name, value in {"MOST_BESIDE": 5, "MOST_MEDIA": 3, "MOST_BYTES": 1000}.items():
        monkeypatch.setattr(portions, name, value)
    lines = Lines.of(b"".join(map(line, what)), Position(7, 70))
    assert len(portion(lines, 100, media)) == taken
    assert len(portion(lines, 1, media)) == 1


def test_an_overlong_line_goes_alone(media: MediaFolder) -> None:
    line = next(iter(Lines.of(b"x\n", Position())))
    assert len(portion(Lines.too_long(line), 100, media)) == 1
