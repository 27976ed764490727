"""What the tests of the record log share: reading a file back, and writers in other processes."""

from __future__ import annotations

import subprocess
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from karaoke_train.runlog.reader import Line, Position, each_line
from tests.patience import patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMPORTS = "import os, sys, time\nfrom karaoke_train.runlog import *\n"


def split_lines(data: bytes, start: Position) -> tuple[list[Line], Position]:
    """The complete lines of `data`, which begins at `start`, and where the next one begins."""
    lines = list(each_line(data, start))
    return lines, lines[-1].end if lines else start


def lines_of(path: Path) -> list[Line]:
    """All complete lines of a file."""
    return split_lines(path.read_bytes(), Position())[0]


def records_of(path: Path) -> list[dict[str, Any]]:
    """All records of a file that has no bad line and no torn tail."""
    data = path.read_bytes()
    lines, end = split_lines(data, Position())
    assert end == Position(len(lines), len(data))
    assert [line.problem for line in lines if line.record is None] == []
    return [line.record for line in lines if line.record is not None]


def steps_of(path: Path) -> list[int]:
    """The steps of its train records, in order."""
    return [record["step"] for record in records_of(path) if record.get("type") == "train"]


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process that runs `code`, its output to be read."""
    command = [sys.executable, "-c", IMPORTS + code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run_python(code: str, *arguments: object, **options: Any) -> tuple[int, str, str]:
    """Its exit code and what it wrote, once it has ended."""
    process = python(code, *arguments, **options)
    try:
        out, err = process.communicate(timeout=patience(30))
    finally:
        process.kill()
    return process.returncode, out, err


@contextmanager
def warned(*words: str) -> Iterator[None]:
    """What is told to the user meanwhile: as many warned, each with these words in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == len(words), texts
    for text, word in zip(texts, words, strict=True):
        assert word in text
