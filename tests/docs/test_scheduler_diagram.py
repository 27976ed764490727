"""The scheduler's diagram is the scheduler's table."""

from __future__ import annotations

from syncd.sync.scheduler import TRANSITIONS, ActionKind, Phase
from tests.docs.scheduler_diagram import PAGE, diagram, drawn


def test_the_page_shows_the_table_as_it_is() -> None:
    assert drawn(PAGE.read_text("utf-8")) == diagram(), (
        "redraw it: python -m tests.docs.scheduler_diagram"
    )


def test_an_arrow_more_or_less_changes_the_diagram() -> None:
    some = dict(TRANSITIONS)
    del some[Phase.OPEN, ActionKind.CONFIRM]
    assert diagram(some) != diagram()
    assert diagram({**TRANSITIONS, (Phase.BLOCKED, ActionKind.OPEN): Phase.OPENING}) != diagram()
