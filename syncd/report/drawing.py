"""Where bars and screens are drawn: what others wrote is text there, never a command."""

from __future__ import annotations

from typing import Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from karaoke_train.runlog.plain_text import one_line
from syncd.logging_setup import lead_nowhere


class Drawing(Console):
    """rich's console, where a text is what it says: brackets are no markup and `:x:` is no emoji,
    unless a call asks for markup and escapes what it quotes; control characters are shown as
    escapes, and secrets are cut out."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """Theirs, of the cleaned text. rich makes a Text of every str here, those in tables, too,
        before it measures them."""
        return super().render_str(one_line(text), **how)

    def on_broken_pipe(self) -> None:
        """Whoever read it has left, as `| head` does. What the command does goes on, and ends with
        its own code: rich would end it in the middle, with code 1."""
        self.quiet = True
        lead_nowhere(cast("TextIO", self.file))
