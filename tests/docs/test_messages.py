"""What holds for every message in the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs import structure

# A command that somebody may paste into a shell, up to where a value is put into the text
COMMAND = re.compile(r"(karaoke-(syncd|train) [a-z-]|chmod |sudo |rm |mv )[^.;:,)`]*$")
# What values are called that may have spaces in them
PLACE = re.compile(r"(path|folder|file|place|there|checkpoint|log_dir|log|target)s?$")


def unquoted(source: str) -> Iterator[str]:
    """Values in texts that are put into a command as they are."""
    for text in ast.walk(ast.parse(source)):
        if not isinstance(text, ast.JoinedStr):
            continue
        before = ""
        for part in text.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if COMMAND.search(before) and PLACE.search(value):
                    yield before + "{" + value + "}"
                before += "…"


@pytest.mark.process
def test_paths_in_commands_are_quoted_for_the_shell() -> None:
    found = {
        file: [*unquoted((structure.ROOT / file).read_text("utf-8"))] for file in structure.files()
    }
    assert {str(file): words for file, words in found.items() if words} == {}


def test_a_path_that_is_not_quoted_is_found() -> None:
    bad = 'f"{path} is odd: chmod u+r {path}", f"karaoke-syncd sync --log_dir {one.folder} and"'
    good = 'f"{path} is odd: chmod u+r {quote(path)}", f"karaoke-syncd stop. See {path}"'
    assert len([*unquoted(bad)]) == 2
    assert [*unquoted(good)] == []
