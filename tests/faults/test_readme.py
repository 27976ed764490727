"""The table of faults names tests that exist, in the order that it promises."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.findall(
    r"^\| (?P<area>[^|]+) \| (?P<fault>[^|]+) \| `(?P<file>\w+\.py)::(?P<test>\w+)` \|$",
    (HERE / "README.md").read_text(),
    re.MULTILINE,
)


def test_every_row_names_a_test_that_exists() -> None:
    assert ROWS
    missing = [
        f"{file}::{test}"
        for _, _, file, test in ROWS
        if f"def {test}(" not in (HERE / file).read_text()
    ]
    assert missing == []


def test_rows_are_sorted_by_area_and_fault() -> None:
    order = [(area.casefold(), fault.casefold()) for area, fault, _, _ in ROWS]
    assert order == sorted(order)


def test_every_test_of_a_fault_on_the_training_side_has_its_row() -> None:
    tests = re.findall(r"^def (test_\w+)\(", (HERE / "test_training_side.py").read_text(), re.M)
    assert sorted(tests) == sorted(
        test for _, _, file, test in ROWS if file == "test_training_side.py"
    )
