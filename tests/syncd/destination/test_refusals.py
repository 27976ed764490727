"""Which of a server's refusals may pass by themselves."""

from __future__ import annotations

import pytest

from syncd.destination.base import RunRef
from syncd.destination.refusals import not_taken, says_deleted
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


DELETED = "was previously created and deleted; try a new run name"


@pytest.mark.parametrize(
    ("words", "is_deleted"),
    [
        (f"run team/deleted-runs/r1 {DELETED}", True),
        ("project deleted-runs not found", False),
        ("deleted-runs is archived", False),
        ("run team/deleted-runs/r1 was not found", False),
        ("Post https://h/files/team/deleted-runs/r1/file_stream: 404", False),
        ('{"message":"project Deleted-Runs is no project"}', False),
    ],
)
def test_a_project_called_deleted_something_is_not_a_deleted_run(
    words: str, is_deleted: bool
) -> None:
    assert says_deleted(words, RunRef("team", "deleted-runs", "r1")) is is_deleted


@pytest.mark.parametrize(
    ("words", "is_deleted"),
    [
        (f"run deleted {DELETED}", True),
        (f"run team/songs/deleted {DELETED}", True),
        (f"the run {DELETED}", True),
        ("run deleted was not found", False),
        ("run 'deleted' is no name", False),
        ("team/songs/deleted is archived", False),
    ],
)
def test_a_run_whose_name_is_a_word_of_the_servers_is_told_from_that_word(
    words: str, is_deleted: bool
) -> None:
    assert says_deleted(words, RunRef("team", "songs", "deleted")) is is_deleted


def test_a_name_as_an_address_spells_it_is_a_name_too() -> None:
    ref = RunRef("team", "last connection", "r1")
    words = "POST /files/team/last%20connection/r1: invalid name"
    assert isinstance(not_taken(words, ref, 400), RunRefused)
