"""The situations as a table: `python -m tests.docs.verdict_table` redraws the one in
docs/uploading.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.syncd.report.situations import SITUATIONS, Situation

PAGE = Path(__file__).parents[2] / "docs" / "uploading.md"
BEGIN, END = "<!-- verdicts: begin -->\n", "<!-- verdicts: end -->"
_PLACES = {"logs": "logs", "state": "~/.local/state/karaoke-syncd"}


def table(situations: Sequence[Situation] = SITUATIONS) -> str:
    """A row per situation: what is so, the first line, the exit code, what to do."""
    rows = [
        f"| {one.truth} | {one.says.format(**_PLACES)} | {one.code:d} | {_advice(one)} |"
        for one in situations
    ]
    head = ["| what is so | `status` says | exit | `Next` |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def drawn(page: str) -> str:
    """The table that a page holds."""
    return page.partition(BEGIN)[2].partition(END)[0]


def redraw(page: str) -> str:
    """The page with today's table."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


def _advice(one: Situation) -> str:
    # as wide as it is on a terminal, where a command stands apart from what it is for
    return one.advice.format(**_PLACES).replace("   ", " ")


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text("utf-8")), "utf-8")
