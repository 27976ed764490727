"""The page of `status`: styles, links, folds and a table, as rich would lay them out."""

from __future__ import annotations

import io
import os
import random
import sys

import pytest
from rich.console import Console
from rich.table import Table

from syncd.report.page import Column, Page, Styled, page_of_stdout

COLUMNS = (Column("Run", least=8), Column("Project", least=7), Column("Left", right=True))
WORDS = ("a", "voice-to-notes", "歌声を書き取る", "naïve", "e\u0301tude", "x" * 30, "🎤 song", "")


def table(width: int, *rows: tuple[str, str, str]) -> list[str]:
    page = Page(width)
    page.table(COLUMNS, [[[cell] for cell in row] for row in rows])
    return str(page).splitlines()


def by_rich(*rows: tuple[str, str, str]) -> list[str]:
    made = Table(box=None, pad_edge=False)
    made.add_column("Run", min_width=8)
    made.add_column("Project", min_width=7)
    made.add_column("Left", justify="right")
    for row in rows:
        made.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=500, color_system=None, markup=False, emoji=False).print(made)
    return out.getvalue().splitlines()


def test_a_table_with_room_is_as_rich_has_it() -> None:
    dice = random.Random(7)
    for _ in range(100):
        rows = [
            (dice.choice(WORDS), dice.choice(WORDS), f"{dice.randrange(10**6):,}")
            for _ in range(dice.randrange(1, 5))
        ]
        assert table(500, *rows) == by_rich(*rows)


def test_where_there_is_no_room_the_widest_names_are_cut_and_no_number_is() -> None:
    heading, one, two = table(34, ("n" * 30, "songs", "1,234,567"), ("short", "p" * 20, "5"))
    assert heading == "Run         Project           Left"
    assert one == "nnnnnnnnn…  songs        1,234,567"
    assert two == "short       pppppppppp…          5"


def test_a_table_that_fits_by_no_means_keeps_its_numbers() -> None:
    _, row = table(10, ("n" * 30, "p" * 30, "1,234,567"))
    assert row == "nnnnnnn…  pppppp…  1,234,567"


def test_a_wide_character_is_cut_whole() -> None:
    _, row = table(26, ("歌" * 9, "p", "1"))
    assert row == f"{'歌' * 5}…  p           1"


def test_styles_and_links_are_for_a_terminal_that_has_them() -> None:
    line = ("to ", Styled("go", "bold red"), Styled("there", url="http://x/"))
    plain, styled = Page(80), Page(80, styles={"bold red": "1;31"}, links=True)
    for page in (plain, styled):
        page.line(*line)
    assert str(plain) == "to gothere"
    assert str(styled) == "to \x1b[1;31mgo\x1b[0m\x1b]8;;http://x/\x1b\\there\x1b]8;;\x1b\\"


def test_what_others_wrote_is_text_without_secrets() -> None:
    page = Page(80, links=True)
    page.line("a\x1b[31m\n", Styled("hf_abcdefghijklmnop"), Styled("b", url="http://u:pw@x/\x1b\\"))
    page.table([Column("Run")], [[["c\x07"]]])
    first, _, row = str(page).splitlines()
    assert first == "a\\x1b[31m\\n***\x1b]8;;http://***@x/\\x1b\\\x1b\\b\x1b]8;;\x1b\\"
    assert row == "c\\x07"


def test_folds_are_between_words_and_keep_the_style_of_each() -> None:
    page = Page(10, styles={"bold": "1"})
    page.folded(Styled("one two three", "bold"), "; four a-very-long-word")
    assert str(page).splitlines() == [
        "\x1b[1mone two\x1b[0m", "\x1b[1mthree\x1b[0m;", "four", "a-very-long-word",
    ]  # fmt: skip


def test_folds_go_by_the_cells_that_letters_take() -> None:
    page = Page(10)
    accented = "e\u0301"  # one for two characters
    page.folded("歌声 書取 録音")  # two each
    page.folded(f"{accented * 3} {accented * 3} {accented * 2}")
    page.folded("🎤🎤🎤 🎤🎤 song")
    assert str(page).splitlines() == [
        "歌声 書取", "録音", f"{accented * 3} {accented * 3} {accented * 2}", "🎤🎤🎤", "🎤🎤 song",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("env", "terminal", "styles", "links"),
    [
        ({}, True, True, True),
        ({"TERM": "dumb"}, True, False, False),
        ({"FORCE_COLOR": "1"}, False, True, True),
        ({}, False, False, False),
    ],
)
def test_a_terminal_is_asked_for_what_it_shows(
    env: dict[str, str],
    terminal: bool,
    styles: bool,
    links: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    page = page_of_stdout({"TERM": "xterm", "COLUMNS": "77", "LINES": "12", **env})
    assert (page.width, page.height, page.links) == (77, 12, links)
    page.line(Styled("x", "green"))
    assert ("\x1b[32m" in str(page)) is styles


def test_without_colours_what_is_bold_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    page = page_of_stdout({"NO_COLOR": "1", "FORCE_COLOR": "1"})
    page.line(Styled("x", "green"), Styled("y", "bold red"))
    assert str(page) == "x\x1b[1my\x1b[0m"


@pytest.mark.parametrize("said", ["0", "", "wide", "-3", "9" * 5000])
def test_a_width_that_is_none_is_the_usual_one(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.get_terminal_size", lambda descriptor: os.terminal_size((0, 0)))
    page = page_of_stdout({"COLUMNS": said, "LINES": said})
    assert (page.width, page.height) == (80, 25)


def test_without_an_output_there_is_a_page_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not page_of_stdout({}).is_terminal
