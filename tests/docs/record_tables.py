"""The record types as tables: `python -m tests.docs.record_tables` redraws those in
docs/record-format.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from karaoke_train.runlog.record_fields import SPECS, RecordSpec
from karaoke_train.runlog.record_types import RecordType

PAGE = Path(__file__).parents[2] / "docs" / "record-format.md"
BEGIN, END = "<!-- record types: begin -->\n", "<!-- record types: end -->"


def tables(specs: Mapping[RecordType, RecordSpec] = SPECS) -> str:
    """A heading, a line and a table of fields per type."""
    return "\n".join(_section(record_type, spec) for record_type, spec in specs.items()) + "\n"


def drawn(page: str) -> str:
    """The tables that a page holds."""
    return page.partition(BEGIN)[2].partition(END)[0]


def redraw(page: str) -> str:
    """The page with today's tables."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + tables() + END + rest.partition(END)[2]


def _section(record_type: RecordType, spec: RecordSpec) -> str:
    rows = [f"| `{field.name}` | {field.holds} | {field.meaning} |" for field in spec.fields]
    head = ["| field | value | meaning |", "| --- | --- | --- |"]
    return "\n".join([f"\n### `{record_type}`\n", f"Written {spec.when}.\n", *head, *rows])


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text("utf-8")), "utf-8")
