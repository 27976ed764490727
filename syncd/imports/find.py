"""Paths that people name -> the runs of other programs in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from karaoke_train.runlog.layout import LOG_FILES
from karaoke_train.runlog.regular_file import check_not_waited_for
from syncd.errors import SyncError, unreadable
from syncd.imports import json_files, table, tensorboard
from syncd.imports.fields import has_an_axis
from syncd.imports.foreign_run import ForeignRun
from syncd.source.safe_open import is_strangers_link

TABLES: Final = (".csv", ".tsv")
LINES: Final = (".jsonl", ".ndjson")
_CHECKPOINT: Final = re.compile(r"checkpoint-\d+")  # a folder of transformers' Trainer


def find(paths: Sequence[Path]) -> Iterator[ForeignRun | SyncError]:
    """The runs in files and folders, and what is wrong with the others. A folder is gone through
    with all below it; of its tables and lines only those that name a step, an epoch or a time, and
    no links where others may write."""
    for path in (path.absolute() for path in paths):
        if path.is_dir():
            yield from _in_folder(path)
        elif path.exists():
            yield _read(path)
        else:
            yield SyncError("there is no such file or folder", where=str(path))


def _in_folder(top: Path) -> Iterator[ForeignRun | SyncError]:
    found = False
    for place, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(place)
        if any(folder.glob(tensorboard.PATTERN)):
            found = True
            yield _guarded(folder)
        for path in (folder / name for name in sorted(names) if not name.startswith(".")):
            # It may lead to any file of the user's, who would upload it
            if not is_strangers_link(path) and _is_a_log(path):
                found = True
                yield _guarded(path)
    if not found:
        yield SyncError(
            "holds no event files, and no table or lines with a step, an epoch or a time",
            where=str(top),
            meaning="Nothing of it was imported",
            remedy="Name the file itself, if it is a log all the same. Offline runs of wandb's own "
            "are uploaded by karaoke-syncd sync --sync_wandb_offline",
        )


def _is_a_log(path: Path) -> bool:
    """Whether a file that nobody named is taken for a log of a training."""
    if path.name == json_files.STATE:
        return True
    if path.match(LOG_FILES):  # a record log
        return False
    try:
        check_not_waited_for(path)
        if path.suffix in TABLES:
            return has_an_axis(table.header_of(path))
        return path.suffix in LINES and has_an_axis(json_files.first_fields(path))
    except (SyncError, OSError):
        return False


def _read(path: Path) -> ForeignRun | SyncError:
    """A file that was named. Event files of one folder are one run."""
    return _guarded(path.parent if path.match(tensorboard.PATTERN) else path)


def _guarded(path: Path) -> ForeignRun | SyncError:
    try:
        if path.is_dir():
            return tensorboard.read(path, f"{path.parent.name}/{path.name}".lstrip("/"))
        check_not_waited_for(path)
        if path.suffix in TABLES:
            return table.read(path, _name(path))
        if path.suffix in LINES:
            return json_files.read_lines(path, _name(path))
        if path.suffix == ".json":
            return json_files.read(path, _name(path))
        return _by_content(path)
    except SyncError as error:
        return error
    except OSError as error:
        return unreadable(error, path)


def _by_content(path: Path) -> ForeignRun:
    with path.open("rb") as file:
        begins = file.read(1 << 12).lstrip(b"\xef\xbb\xbf \t\r\n")
    reader = json_files.read if begins[:1] in (b"{", b"[") else table.read
    return reader(path, _name(path))


def _name(path: Path) -> str:
    """The folder's name and the file's: loggers call all their files alike."""
    folder = path.parent.parent if _CHECKPOINT.fullmatch(path.parent.name) else path.parent
    return folder.name if path.name == json_files.STATE else f"{folder.name}/{path.stem}"
