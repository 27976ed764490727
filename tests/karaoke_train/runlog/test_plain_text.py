"""What a terminal would obey stands there as text."""

from __future__ import annotations

import io
import json
import math

import pytest

from karaoke_train.runlog.plain_text import as_it_can, json_text, one_line, several_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("gnp.\u202ecod", r"gnp.\u202ecod"),
        ("a\u2066b\u2069\u200f", r"a\u2066b\u2069\u200f"),
        ("a\u2028b", r"a\u2028b"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0041", r"\U000e0041"),
        ("Käse 声 👩‍🎤 שיר", "Käse 声 👩‍🎤 שיר"),
    ],
)
def test_a_line_shows_what_would_not_be_seen_as_its_escape(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_several_lines_keep_their_ends_and_tabs() -> None:
    assert several_lines("a\n\tb\x1b[0m\r\n") == "a\n\tb\\x1b[0m\\r\n"


def test_secrets_are_cut_before_a_line_is_cut_short() -> None:
    words = "x" * 20 + " https://user:password@host"
    assert one_line(words, 30) == "x" * 20 + " https://*…"
    assert one_line("short", 30) == "short"


def test_json_is_strict_ascii_and_without_secrets() -> None:
    value = {
        "a\udce9": [math.nan, -math.inf, 1.5, None, True],
        "words": "\x1b[0m\u202e https://me:pw@host",
        "t": ("x",),
    }
    text = json_text(value)
    assert text.isascii()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a\\udce9": ["NaN", "-Infinity", 1.5, None, True],
        "words": "\x1b[0m\u202e https://***@host",
        "t": ["x"],
    }


def test_json_has_numbers_that_most_others_do_not_take() -> None:
    assert json.loads(json_text([1 << 70, 1e300])) == [1 << 70, 1e300]


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the second is the C locale's
def test_a_stream_without_a_character_has_its_escape(errors: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, "ascii", errors)
    as_it_can(stream)
    stream.write("Stra\u00dfe \udcc3")
    stream.flush()
    assert written.getvalue() == b"Stra\\xdfe \\udcc3"
