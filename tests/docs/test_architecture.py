"""The pages about the code tell the truth: every module, every room, every path and link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.structure import PACKAGES, ROOT, files, modules, room

GLOBS: Final = ("*.md", "docs/*.md", "tests/**/*.md")
PAGES: Final = sorted(path.relative_to(ROOT) for glob in GLOBS for path in ROOT.glob(glob))
ARCHITECTURE: Final = (ROOT / "docs/architecture.md").read_text("utf-8")
README: Final = (ROOT / "README.md").read_text("utf-8")
FOLDERS: Final = {"docs", "tests", "benchmarks", "systemd"}
ROWS: Final = (ROOT / "syncd/destination/rows.py").read_text("utf-8")


def tree(page: str, heading: str) -> dict[str, str]:
    """Path -> phrase, of the first code block below a heading.

    Two spaces are one folder deeper, files may share a line, and a phrase may go on below itself.
    """
    block = page.partition(f"\n## {heading}\n")[2].partition("\n```\n")[2].partition("\n```")[0]
    found: dict[str, str] = {}
    above: list[str] = []
    for line in block.splitlines():
        names, _, phrase = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        if depth > len(above):
            continue
        del above[depth:]
        paths = ["".join([*above, name]) for name in names.split()]
        assert not found.keys() & set(paths), f"{paths} stand there twice"
        found |= dict.fromkeys(paths, phrase.strip())
        if names.endswith("/"):
            above.append(names)
    return found


def of_the_product(paths: dict[str, str]) -> set[str]:
    """Those below one of the two packages."""
    return {path for path in paths if path.startswith(tuple(f"{name}/" for name in PACKAGES))}


def test_every_module_stands_in_architecture_with_a_phrase_and_none_that_is_gone() -> None:
    told = tree(ARCHITECTURE, "The modules")
    there = {str(file) for file in files() if not file.name.startswith("__")}
    assert {path for path in told if not path.endswith("/")} == there
    assert [path for path, phrase in told.items() if not phrase] == []


def test_every_folder_of_the_packages_stands_in_the_readme_by_the_words_of_architecture() -> None:
    told, there = tree(README, "The tree"), tree(ARCHITECTURE, "The modules")
    folders = {
        f"{path.relative_to(ROOT)}/"
        for name in PACKAGES
        for path in (ROOT / name).iterdir()
        if holds(path)
    }
    assert of_the_product(told) - {f"{name}/" for name in PACKAGES} == folders
    assert {path: there[path] for path in folders} == {path: told[path] for path in folders}
    assert [path for path, phrase in told.items() if not phrase] == []


def holds(path: Path) -> bool:
    """Whether it is a folder with anything that is kept."""
    return path.is_dir() and any(
        file.suffix != ".pyc" for file in path.rglob("*") if file.is_file()
    )


def test_the_folders_in_the_readme_are_there() -> None:
    assert [path for path in tree(README, "The tree") if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)\s]+)\)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not leads_somewhere(ROOT / page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link of this page names a file that is there, and a heading in it."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """What GitHub calls the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """A path may leave out its package and `.py`: `sync/loop` is `syncd/sync/loop.py`. Names of
    metrics look alike: `syncd/bad_record`."""
    named = set(re.findall(r"`([\w.-]+/[\w./-]+)`", (ROOT / page).read_text("utf-8")))
    firsts = {*PACKAGES, *FOLDERS, *(room(name).partition(".")[2] for name in modules())}
    ours = {name for name in named if name.partition("/")[0] in firsts and f'"{name}"' not in ROWS}
    assert [path for path in sorted(ours) if not is_there(path)] == []


def is_there(path: str) -> bool:
    """Whether a path that a page names is a file or folder of ours."""
    tops = [ROOT, *(ROOT / name for name in PACKAGES)]
    return any((top / f"{path}{suffix}").exists() for top in tops for suffix in ("", ".py"))


def test_a_path_that_is_gone_and_a_link_that_leads_nowhere_are_seen() -> None:
    assert is_there("sync/scheduler")
    assert not is_there("sync/schedule")
    assert not leads_somewhere(ROOT / "README.md", "docs/none.md")
    assert not leads_somewhere(ROOT / "README.md", "#no-such-heading")
    assert leads_somewhere(ROOT / "README.md", "docs/architecture.md#glossary")
