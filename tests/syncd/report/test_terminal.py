"""What others wrote is text on the terminal, whichever command prints it."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from syncd.report.terminal import Terminal

NAME = "[/b]\x1b]0;owned\x07[red]\u202e:bomb:\nnext"
SHOWN = r"[/b]\x1b]0;owned\x07[red]\u202e:bomb:\nnext"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "120")
    made = Terminal()
    made.file = io.StringIO()
    return made


def printed(terminal: Terminal) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def test_a_text_is_neither_markup_nor_commands(terminal: Terminal) -> None:
    terminal.print(f"{NAME} is uploaded")
    assert printed(terminal) == f"{SHOWN} is uploaded\n"


def test_a_table_is_as_wide_as_what_it_shows(terminal: Terminal) -> None:
    table = Table("Run", "Left", box=None, pad_edge=False)
    table.add_row(NAME, "7")
    table.add_row("b", "8")
    terminal.print(table)
    _, first, second = printed(terminal).splitlines()
    assert first.split() == [SHOWN, "7"]
    assert first.index(" 7") == second.index(" 8")


def test_where_markup_is_asked_for_the_rest_is_text(terminal: Terminal) -> None:
    terminal.print("[bold]a[/]\x1b[2J", markup=True)
    assert printed(terminal) == "a\\x1b[2J\n"


def test_a_sentence_is_one_line_where_no_terminal_shows_it(terminal: Terminal) -> None:
    terminal.width = 40
    words = "Its log: /home/me/my songs/state/karaoke-syncd/daemon.log"
    terminal.print(words)
    assert printed(terminal) == f"{words}\n"
