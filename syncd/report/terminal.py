"""Where commands say what they do: what others wrote is text there, never a command.

Words are printed without rich: to import it took a tenth of what `sync` takes with a few records.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from syncd.logging_setup import lead_nowhere
from syncd.report.page import Piece, Styled, page_of

if TYPE_CHECKING:
    from rich.console import Console


class Terminal:
    """Standard output, or standard error, whether somebody looks at it or it is a file."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at it now."""
        return page_of(self._stream).is_terminal

    @cached_property
    def drawing(self) -> Console:
        """The same, for bars and screens."""
        from syncd.report.drawing import Drawing

        return Drawing(stderr=self._stderr)

    def print(self, *words: Piece, style: str = "", soft_wrap: bool = False) -> None:
        """A sentence, which a terminal shows folded between words. Elsewhere it is one line: who
        searches it, or copies a command or path out of it, would find it broken. style: of all of
        it; soft_wrap: the terminal folds it, so that it can be copied there, too."""
        page = page_of(self._stream)
        pieces = [one if isinstance(one, Styled) else Styled(one, style) for one in words]
        (page.folded if page.is_terminal and not soft_wrap else page.line)(*pieces)
        try:
            print(page, file=self._stream, flush=True)
        except BrokenPipeError:  # whoever read it has left; what the command does goes on
            lead_nowhere(self._stream)

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._stderr else sys.stdout
