"""Which of a server's refusals may pass by themselves."""

from __future__ import annotations

import pytest

from syncd.destination.base import RunRef
from syncd.destination.refusals import not_taken
from syncd.errors import RunRefused, RunTrouble

REF = RunRef("busy-lab", "internal-tools", "connection1")


@pytest.mark.parametrize(
    "words",
    [
        'invalid project name "internal-tools"',
        "busy-lab/internal-tools is archived",
        "'connection1' can't be the name of a run",
    ],
)
def test_names_in_a_servers_words_do_not_make_a_refusal_one_that_passes(words: str) -> None:
    assert isinstance(not_taken(words, REF, 400), RunRefused)


@pytest.mark.parametrize("words", ["internal-tools: internal error", "the database timed out"])
def test_a_servers_own_trouble_passes_whatever_is_named(words: str) -> None:
    assert isinstance(not_taken(words, REF, 400), RunTrouble)
