"""What others wrote -> what a terminal, a log, a picture or `--json` may show: the one place where
text for people is cleaned.

Names come from record logs, paths from other people's folders, words from servers. A terminal
obeys control characters, and shows text in another order where bidirectional overrides say so.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TextIO

import orjson

from karaoke_train.runlog.secrets import cut

# C0 and C1 controls, bidirectional marks and overrides (https://trojansource.codes), line and
# paragraph separators, the invisible tags of U+E00xx, lone surrogates. The joiners that scripts and
# emoji need stay.
_UNSEEN: Final = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
_NOT_IN_TEXT: Final = f"[{_UNSEEN}]"
_NOT_IN_LINE: Final = f"[{_UNSEEN}\t\n]"
_INDENT: Final = 2


def one_line(text: str, most: int = 0) -> str:
    """The text without secrets, with an escape (`\\x1b`, `\\n`) for each character that would do
    anything but stand there. most: characters to cut it to, 0 for all of them."""
    shown = _escaped(_NOT_IN_LINE, cut(text))
    return f"{shown[:most]}…" if 0 < most < len(shown) else shown


def shown_name(*names: str) -> str:
    """The first of a thing's names that can be shown as it is; the last one where none can. A name
    in a secret's form is shown as `***`, which nobody could give to a command."""
    return next((name for name in names if name.strip() and cut(name) == name), names[-1])


def cells(text: str) -> int:
    """The columns of a terminal that a text takes: Unicode Standard Annex #11."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(one) in ("Mn", "Me", "Cf") else 1 + (east_asian_width(one) in "WF")
        for one in text
    )


def padded(text: str, width: int) -> str:
    """The text with room behind it up to so many columns; Python's formats count characters."""
    return text + " " * (width - cells(text))


def several_lines(text: str) -> str:
    """The same where newlines and tabs are ours: a traceback's, say."""
    return _escaped(_NOT_IN_TEXT, cut(text))


def as_it_can(stream: TextIO | None) -> None:
    """What the stream's encoding has no character for is an escape there, as of a name in a
    terminal that knows ASCII alone, and no error."""
    # In the C locale it is surrogateescape: that is for bytes, and no help for a character
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")


def keep_errors_apart() -> None:
    """Standard error leads nowhere where it is closed, as by `2>&-`: Python prints to standard
    output what is meant for it, and asks it in vain whether it is a terminal."""
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def json_text(value: Any, *, indent: int | None = _INDENT) -> str:
    """A value as strict JSON (RFC 8259) in ASCII, without secrets: NaN and the infinities are
    texts, as in a record log, and so are the bytes of a file name that is no UTF-8."""
    strict = _strict(value, _Cleaned())
    if indent == _INDENT:
        with suppress(TypeError):  # a number of more than 64 bits, say
            data = orjson.dumps(strict, option=orjson.OPT_INDENT_2)  # a sixth of json's time
            if data.isascii():
                return data.decode()
    return json.dumps(strict, indent=indent, allow_nan=False)


class _Cleaned(dict[str, str]):
    """Texts -> the same without secrets, each cut once: of 10,000 runs most have the same keys, and
    many the same values."""

    def __missing__(self, text: str) -> str:
        whole = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
        self[text] = cleaned = cut(whole)
        return cleaned


def _strict(value: Any, cleaned: _Cleaned) -> Any:
    if isinstance(value, str):
        return cleaned[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {cleaned[str(key)]: _strict(item, cleaned) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item, cleaned) for item in value]
    return value


def _escaped(characters: str, text: str) -> str:
    # Nearly all texts are printable, which none of these is: to compile both takes 2 ms of a start
    return text if text.isprintable() else re.sub(characters, _escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
