"""A machine of its own with systemd, for the tests in here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.service.sandbox import REQUIRE, Sandbox, missing, sandbox


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """Skipped, with the reason, where there can be none; fails then, if KARAOKE_REQUIRE_SYSTEMD."""
    if reason := missing():
        assert not os.environ.get(REQUIRE), f"{REQUIRE} is set, but {reason}"
        pytest.skip(reason)
    with sandbox() as made:
        yield made
