"""What the pages list is what there is: settings with their defaults, exit codes, versions, and
what `make` can do."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, fields
from typing import Final

from syncd.errors import Exit
from syncd.settings import Limits, Settings
from tests.docs.structure import ROOT

UPLOADING: Final = (ROOT / "docs/uploading.md").read_text("utf-8")


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next of its level."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_limit_stands_in_uploading_with_its_default() -> None:
    (block,) = re.findall(r"```toml\n(\[limits\].*?)```", UPLOADING, re.DOTALL)
    assert tomllib.loads(block)["limits"] == asdict(Limits())


def test_every_setting_stands_in_uploading() -> None:
    told = set(re.findall(r"`(\w+)`", "".join(_first_cells(section(UPLOADING, "Settings")))))
    assert told == {item.name for item in fields(Settings)} - {"limits", "origin"}


def test_every_exit_code_stands_in_uploading() -> None:
    told = [cell for cell in _first_cells(section(UPLOADING, "Exit codes")) if cell.isdecimal()]
    assert list(map(int, told)) == sorted(map(int, Exit))


def _first_cells(text: str) -> list[str]:
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]


def test_every_make_target_that_a_page_names_exists_and_the_other_way_round() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    named = set(
        re.findall(r"\bmake ([a-z]+)\b", "".join(page.read_text("utf-8") for page in pages))
    )
    makefile = (ROOT / "Makefile").read_text("utf-8")
    there = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert named <= there
    assert there - named <= {"clean"}


def test_the_newest_version_in_the_changelog_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert versions[0] == project["version"]
