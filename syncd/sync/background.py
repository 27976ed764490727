"""Work in another thread, whose result is posted to the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

Result = TypeVar("Result")


def hand_over(threads: Executor, act: Callable[[], Result], post: Callable[[Result], None]) -> None:
    """Have a thread do it, and post its result: in that thread. Nothing is posted where it was
    cancelled before it began, as its executor was shut down."""

    def ended(done: Future[Result]) -> None:
        if not done.cancelled():
            post(done.result())

    threads.submit(act).add_done_callback(ended)
