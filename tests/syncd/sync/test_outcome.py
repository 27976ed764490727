"""How a run ended, as its file tells."""

from __future__ import annotations

import pytest

from syncd.destination.base import Outcome
from syncd.sync.outcome import outcome_in


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        ("finished", 0, Outcome("finished", 0)),
        ("failed", 130, Outcome("failed", 130)),
        ("failed", -(1 << 31), Outcome("failed", -(1 << 31))),
        ("failed", 1 << 31, Outcome("failed", 1)),
        ("failed", True, Outcome("failed", 1)),
        ("finished", True, Outcome("finished", 0)),
        ("failed", "3", Outcome("failed", 1)),
        (None, None, Outcome("finished", 0)),
    ],
)
def test_a_code_that_no_server_takes_is_wandbs_own_0_or_1(
    status: object, code: object, outcome: Outcome
) -> None:
    assert outcome_in({"type": "end", "status": status, "exit_code": code}) == outcome


def test_nothing_but_an_end_tells_of_one() -> None:
    assert outcome_in({"type": "train", "status": "failed"}) is None
    assert outcome_in(None) is None
