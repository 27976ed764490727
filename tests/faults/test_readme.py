"""The page about the faults names every file of tests in this folder, and fits on a screen."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text("utf-8")


def test_the_page_names_every_file_of_fault_tests_and_none_that_is_gone() -> None:
    there = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    assert set(re.findall(r"`(test_\w+\.py)`", README)) == there


def test_the_page_is_shorter_than_a_screen() -> None:
    assert README.count("\n") <= 24
