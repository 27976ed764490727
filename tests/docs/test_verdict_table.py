"""The page about uploading has what `status` says in each situation, as the tests play it."""

from __future__ import annotations

from dataclasses import replace

from tests.docs.verdict_table import PAGE, drawn, table
from tests.syncd.report.situations import SITUATIONS


def test_the_page_shows_the_situations_as_they_are() -> None:
    assert drawn(PAGE.read_text("utf-8")) == table(), (
        "redraw it: python -m tests.docs.verdict_table"
    )


def test_another_word_or_code_changes_the_page() -> None:
    first, *others = SITUATIONS
    for other in (replace(first, says="?"), replace(first, advice="?"), replace(first, code=1)):
        assert table([other, *others]) != table()
