"""What `status` prints, made without rich: lines, and one table, as text or for a terminal.

To import rich, and to have it lay out a page, took a third of what `status` takes with a few runs.
What others wrote is cleaned as `terminal` has it: it is text here, never a command.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TextIO

from karaoke_train.runlog.plain_text import cells, one_line

_STYLES: Final = {  # Select Graphic Rendition: ECMA-48, 8.3.117
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33",
    "bold red": "1;31", "bold green": "1;32", "bold yellow": "1;33",
}  # fmt: skip
_COLOURLESS: Final = {
    name: code.partition(";")[0] for name, code in _STYLES.items() if code[0] in "12"
}
_BETWEEN: Final = "  "  # two columns
_CUT: Final = "…"
_WORD: Final = re.compile("[^ ]+")
_USUAL: Final = (80, 25)  # columns and lines where there is no terminal


class Styled(NamedTuple):
    """A text that looks otherwise than what is around it, or leads to an address."""

    text: str
    style: str = ""
    url: str = ""


Piece = str | Styled
Line = Sequence[Piece]


class Column(NamedTuple):
    """A column of a table. right: where its texts stand; least: cells that it has where there is
    no room for all; None for one that gives way to no other."""

    heading: str
    right: bool = False
    least: int | None = None


class Page:
    """Lines one below the other. is_terminal: somebody looks at it now; styles: by name, as it
    shows them; links: whether it shows them."""

    def __init__(
        self,
        width: int,
        height: int = _USUAL[1],
        *,
        is_terminal: bool = False,
        styles: Mapping[str, str] | None = None,
        links: bool = False,
    ) -> None:
        self.width = width
        self.height = height
        self.is_terminal = is_terminal
        self.links = links
        self._styles = styles or {}
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def line(self, *pieces: Piece) -> None:
        """A line that a terminal may fold, and that is pasted whole: commands, paths and links."""
        self._lines.append("".join(map(self._shown, map(_cleaned, pieces))))

    def folded(self, *pieces: Piece) -> None:
        """The same in lines that end between words, however long a word is."""
        for line in _folded([_cleaned(piece) for piece in pieces], self.width):
            self._lines.append("".join(map(self._shown, line)))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Line]]) -> None:
        """Rows of cells, each a line. Columns that give way have their texts cut."""
        cleaned = [[[_cleaned(piece) for piece in cell] for cell in row] for row in rows]
        headings = [[Styled(column.heading, "bold")] for column in columns]
        widths = _widths(columns, [headings, *cleaned], self.width)
        for row in (headings, *cleaned):
            shown = [
                self._placed(cell, width, column)
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            self._lines.append(_BETWEEN.join(shown))

    def _placed(self, cell: Sequence[Styled], width: int, column: Column) -> str:
        cell = _cut(cell, width)
        room = " " * (width - _cells_of(cell))
        text = "".join(map(self._shown, cell))
        return f"{room}{text}" if column.right else f"{text}{room}"

    def _shown(self, piece: Styled) -> str:
        text, style, url = piece
        if code := self._styles.get(style):
            text = f"\x1b[{code}m{text}\x1b[0m"
        return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\" if url and self.links else text


def page_of_stdout(env: Mapping[str, str] = os.environ) -> Page:
    """A page for where standard output leads."""
    return page_of(sys.stdout, env)


def page_of(stream: TextIO | None, env: Mapping[str, str] = os.environ) -> Page:
    """A page for where a stream leads, by what terminals and people set: TERM, COLUMNS, NO_COLOR
    (https://no-color.org), FORCE_COLOR."""
    width, height = _size(env)
    is_seen = stream is not None and stream.isatty()  # `>&-` has it closed
    is_terminal = bool(env.get("FORCE_COLOR")) or is_seen
    if not is_terminal or env.get("TERM", "").lower() in ("dumb", "unknown"):
        return Page(width, height, is_terminal=is_terminal)
    styles = _COLOURLESS if env.get("NO_COLOR") else _STYLES
    return Page(width, height, is_terminal=True, styles=styles, links=True)


def _size(env: Mapping[str, str]) -> tuple[int, int]:
    size = _USUAL
    for descriptor in (0, 1, 2):  # of `status | less` standard input is the terminal still
        try:
            found = os.get_terminal_size(descriptor)
        except OSError:
            continue
        if found.columns and found.lines:
            size = found
            break
    return _number(env.get("COLUMNS", "")) or size[0], _number(env.get("LINES", "")) or size[1]


def _number(text: str) -> int:
    """0 for none, and that is how some runners say that they do not know."""
    return int(text) if text.isdecimal() and len(text) < 6 else 0


def _cleaned(piece: Piece) -> Styled:
    if isinstance(piece, str):
        return Styled(one_line(piece))
    return Styled(one_line(piece.text), piece.style, one_line(piece.url))


def _folded(pieces: Sequence[Styled], width: int) -> Iterator[Sequence[Styled]]:
    """The pieces in lines of whole words."""
    for begin, end in _lines("".join(piece.text for piece in pieces), width):
        yield [*_between(pieces, begin, end)]


def _lines(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where lines of whole words begin and end that take so many cells; textwrap counts letters,
    of which one may take two, or none."""
    begin = end = 0
    for word in _WORD.finditer(text):
        if end > begin and cells(text[begin : word.end()]) > width:
            yield begin, end
            begin = word.start()
        end = word.end()
    if end > begin:
        yield begin, end


def _between(pieces: Sequence[Styled], begin: int, end: int) -> Iterator[Styled]:
    """What of the pieces' text stands between two places of it."""
    at = 0
    for piece in pieces:
        text = piece.text[max(0, begin - at) : max(0, end - at)]
        if text:
            yield piece._replace(text=text)
        at += len(piece.text)


def _widths(columns: Sequence[Column], rows: Iterable[Sequence[Line]], width: int) -> list[int]:
    """Of each column in cells: what its texts take, as far as there is room for all. The widest
    that may gives way first."""
    taken = [column.least or 0 for column in columns]
    for row in rows:
        taken = [max(most, _cells_of(cell)) for most, cell in zip(taken, row, strict=True)]
    left = width - len(_BETWEEN) * (len(columns) - 1) - sum(taken)
    while left < 0:
        give = [
            (taken[place], -place)
            for place, column in enumerate(columns)
            if column.least is not None and taken[place] > column.least
        ]
        if not give:
            break
        taken[-max(give)[1]] -= 1
        left += 1
    return taken


def _cut(cell: Sequence[Styled], width: int) -> Sequence[Styled]:
    if _cells_of(cell) <= width:
        return cell
    kept: list[Styled] = []
    room = width - len(_CUT)
    for piece in cell:
        text = piece.text
        while cells(text) > room:
            text = text[:-1]
        kept.append(piece._replace(text=text if text == piece.text else text + _CUT))
        room -= cells(text)
        if text != piece.text:
            break
    return kept


def _cells_of(cell: Line) -> int:
    return sum(cells(piece if isinstance(piece, str) else piece.text) for piece in cell)
