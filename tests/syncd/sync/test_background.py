"""Work in other threads: its results are posted, and what never began is no error."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from syncd.sync.background import hand_over
from tests.patience import WAIT


def test_what_is_cancelled_before_it_began_posts_nothing_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    posted: list[str] = []
    let_go, began = Event(), Event()

    def first() -> str:
        began.set()
        let_go.wait(WAIT)
        return "first"

    threads = ThreadPoolExecutor(1)
    with caplog.at_level(logging.DEBUG):
        hand_over(threads, first, posted.append)
        hand_over(threads, lambda: "second", posted.append)
        assert began.wait(WAIT)
        threads.shutdown(wait=False, cancel_futures=True)
        let_go.set()
        threads.shutdown()
    assert (posted, caplog.records) == (["first"], [])
