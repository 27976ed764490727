"""What others wrote is text on the terminal, whichever command prints it."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from syncd.report.drawing import Drawing
from syncd.report.page import Styled
from syncd.report.terminal import Terminal

NAME = "[/b]\x1b]0;owned\x07[red]\u202e:bomb:\nnext"
SHOWN = r"[/b]\x1b]0;owned\x07[red]\u202e:bomb:\nnext"


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    monkeypatch.setenv("COLUMNS", "120")
    made = Drawing()
    made.file = io.StringIO()
    return made


def drawn(drawing: Drawing) -> str:
    assert isinstance(drawing.file, io.StringIO)
    return drawing.file.getvalue()


@pytest.mark.parametrize("stderr", [False, True])
def test_a_text_is_neither_markup_nor_commands(
    stderr: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Terminal(stderr=stderr).print(f"{NAME} is uploaded", style="red")
    shown = capsys.readouterr()
    assert (shown.out, shown.err)[stderr] == f"{SHOWN} is uploaded\n"
    assert (shown.err, shown.out)[stderr] == ""


def test_a_sentence_is_folded_on_a_terminal_alone_and_not_where_it_is_to_be_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    Terminal().print("one two three four")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Terminal().print("one two three four")
    Terminal().print("karaoke-syncd sync --follow", soft_wrap=True)
    one, *folded, copied = capsys.readouterr().out.splitlines()
    assert one == "one two three four"
    assert folded == ["one two", "three four"]
    assert copied == "karaoke-syncd sync --follow"


def test_a_style_is_for_all_that_has_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    Terminal().print(Styled("ok", "green"), " so far", style="red")
    assert capsys.readouterr().out == "\x1b[32mok\x1b[0m\x1b[31m so far\x1b[0m\n"


@pytest.mark.process
def test_words_are_printed_without_rich_and_to_nobody_once_the_reader_has_left() -> None:
    code = (
        "import sys; from syncd.report.terminal import Terminal\n"
        "input(); Terminal().print('a'); Terminal().print('b')\n"
        "print('rich' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b"False\n"
    assert process.returncode == 0


def test_without_an_output_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    Terminal().print("a")


def test_a_text_that_is_drawn_is_neither_markup_nor_commands(drawing: Drawing) -> None:
    drawing.print(f"{NAME} is uploaded")
    assert drawn(drawing) == f"{SHOWN} is uploaded\n"


def test_a_table_is_as_wide_as_what_it_shows(drawing: Drawing) -> None:
    table = Table("Run", "Left", box=None, pad_edge=False)
    table.add_row(NAME, "7")
    table.add_row("b", "8")
    drawing.print(table)
    _, first, second = drawn(drawing).splitlines()
    assert first.split() == [SHOWN, "7"]
    assert first.index(" 7") == second.index(" 8")


def test_where_markup_is_asked_for_the_rest_is_text(drawing: Drawing) -> None:
    drawing.print("[bold]a[/]\x1b[2J", markup=True)
    assert drawn(drawing) == "a\\x1b[2J\n"
