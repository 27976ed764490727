"""The scheduler's table as a diagram: `python -m tests.docs.scheduler_diagram` redraws the one in
docs/architecture.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syncd.sync.scheduler import TRANSITIONS, ActionKind, Event, Phase

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
BEGIN, END = "<!-- scheduler diagram: begin -->\n", "<!-- scheduler diagram: end -->"


def diagram(table: Mapping[tuple[Phase, ActionKind | type[Event]], Phase] = TRANSITIONS) -> str:
    """The table in Mermaid's words, one arrow per pair of phases. Actions are in small letters,
    events as they are called; what moves nothing is an arrow from a phase to itself."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (before, trigger), after in table.items():
        name = trigger.value if isinstance(trigger, ActionKind) else trigger.__name__
        arrows.setdefault((before, after), []).append(name)
    lines = [
        f"    {before} --> {after}: {', '.join(names)}"
        for (before, after), names in sorted(arrows.items(), key=_by_phases)
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> idle", *lines, "```", ""])


def drawn(page: str) -> str:
    """The diagram that a page holds."""
    return page.partition(BEGIN)[2].partition(END)[0]


def redraw(page: str) -> str:
    """The page with today's diagram."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + diagram() + END + rest.partition(END)[2]


def _by_phases(item: tuple[tuple[Phase, Phase], list[str]]) -> tuple[int, int]:
    order = list(Phase)
    return order.index(item[0][0]), order.index(item[0][1])


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text("utf-8")), "utf-8")
