"""What is odd in log folders and in their runs' files, in words for `status`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.layout import LOCKS
from karaoke_train.runlog.regular_file import UnsafeFile, check_regular
from syncd.source.safe_open import open_log
from syncd.source.scanner import FoundFile, LogFile
from syncd.state import quarantine
from syncd.state.cursor import Cursor

MOST: Final = 10  # of each kind; a stranger could make any number


class Shown(Protocol):
    """A run, as far as it is asked about here. bad: lines that are in quarantine."""

    @property
    def run_id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def bad(self) -> int: ...


def oddities(
    folders: Iterable[Path],
    state: Path,
    runs: Iterable[Shown],
    files: Iterable[FoundFile],
    known: Mapping[str, Cursor],
) -> Iterator[str]:
    """At most a few of each kind. Never raises for what is in the folders."""
    yield from islice(_left_out(state, runs), MOST)
    yield from islice(_endless(files, known), MOST)
    for folder in folders:
        yield from islice(_no_locks(folder), MOST)


def _left_out(state: Path, runs: Iterable[Shown]) -> Iterator[str]:
    for run in runs:
        if not run.bad:
            continue
        yield quarantine.words_of(run.label, quarantine.load(state / "quarantine", run.run_id))


def _endless(files: Iterable[FoundFile], known: Mapping[str, Cursor]) -> Iterator[str]:
    for file in files:
        if file.size <= MAX_LINE:  # nearly all
            continue
        mine = known.get(file.key) if isinstance(file, LogFile) else None
        offset = mine.confirmed.offset if mine else 0
        if file.size - offset <= MAX_LINE:
            continue
        try:
            torn = _torn(file.path, offset)
        except OSError:
            continue
        if torn:
            yield (
                f"the last line of {file.path} has no end so far, and is too long for a record: "
                "what is behind it is uploaded once it has one. If its writer is gone: "
                f"echo >> {shlex.quote(str(file.path))}"
            )


def _torn(path: Path, offset: int) -> bool:
    """Whether the file ends in an over-long line without an end, behind a line's start."""
    with open_log(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size - offset <= MAX_LINE:
            return False
        file.seek(size - MAX_LINE - 1)
        return b"\n" not in file.read(MAX_LINE + 1)


def _no_locks(folder: Path) -> Iterator[str]:
    place = folder / LOCKS
    try:
        if place.is_symlink():
            yield f"{place} is a symbolic link: no lock is taken there. Remove it"
            return
        with os.scandir(place) as entries:
            for entry in entries:
                try:
                    check_regular(entry.stat(follow_symlinks=False))
                except UnsafeFile as error:
                    yield f"{entry.path} is no lock: {error.strerror}. Remove it"
    except OSError:
        return
