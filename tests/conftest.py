"""What all tests share: random examples that are the same ones in every run, logging as it was
before a command set it up for itself, and the W&B stand-in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.wandb_server import WandbServer

settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,  # other things run on the machine
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    """A W&B stand-in in this process."""
    with WandbServer(tmp_path / "wandb") as running:
        yield running
