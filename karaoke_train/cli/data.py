"""`data check`: a folder of recordings in, what is usable and what isn't out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from karaoke_train.cli.common import (
    INTERRUPTED,
    USAGE,
    Command,
    Group,
    need_training,
    say,
    stdout_for_result,
)
from karaoke_train.cli.flags import PATH, Option, folders
from karaoke_train.runlog.interrupts import importing
from karaoke_train.runlog.plain_text import json_text

if TYPE_CHECKING:
    from karaoke_train.dataset.songs import Problem, Song

CORPORA: Final = "csd, gtsinger, mir-st500, vocadito, tonas"
EXAMPLES: Final = (
    ("karaoke-train data check songs", "recordings and notes in one folder"),
    ("karaoke-train data check voices --notes_dir notes --json", "in two, for a script"),
)


def dataset_flags() -> list[click.Parameter]:
    """Where a dataset's notes are and how it is laid out."""
    return [
        Option(["--notes_dir"], type=PATH, metavar="DIR", shell_complete=folders,
               help="the notes, if they are elsewhere"),
        Option(["--corpus"], metavar="NAME", help=f"DIR holds this public set: {CORPORA}"),
    ]  # fmt: skip


def read_songs(
    folder: str, notes_dir: str | None, corpus: str | None
) -> tuple[list[Song], list[Problem]]:
    """The songs of a folder or a public set, and what is not usable. Raises CorpusError."""
    with importing():
        from karaoke_train.dataset.corpora import read_corpus
        from karaoke_train.dataset.songs import read_folder

    if corpus is not None:
        return read_corpus(corpus, folder)
    return read_folder(folder, notes_dir or folder)


def _check(folder: str, notes_dir: str | None, corpus: str | None, as_json: bool) -> int:
    need_training()
    with stdout_for_result(alone=as_json):
        with importing():
            from karaoke_train.dataset.check import check_songs, render
        rows = check_songs(*read_songs(folder, notes_dir, corpus))
    say(json_text([asdict(row) for row in rows]) if as_json else render(rows))
    return 0 if rows and all(row.usable for row in rows) else 1


check: Final = Command(
    name="check",
    callback=_check,
    params=[
        click.Argument(["folder"], metavar="DIR", type=PATH, shell_complete=folders),
        *dataset_flags(),
        Option(["--json", "as_json"], is_flag=True, help="print JSON"),
    ],
    help="""List the recordings in DIR that are usable, and those that aren't and why.

    Every sample is read, so that damage in the middle of a file shows. DIR holds the notes, too,
    unless --notes_dir names another folder.
    """,
    examples=EXAMPLES,
    exits={0: "everything is usable", 1: "something isn't, or there is nothing"}
    | USAGE
    | INTERRUPTED,
)
data: Final = Group(
    name="data",
    commands=[check],
    help="Look at a dataset before training on it.",
    examples=EXAMPLES,
    exits=check.exits,
)
