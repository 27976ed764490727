"""An executor without threads: work is done at once, or when the test says so."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class InlineExecutor(Executor):
    """Performs in the caller's thread what it's given; while `held`, at `release`."""

    def __init__(self) -> None:
        self.held = False
        self._waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def perform() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        if self.held:
            self._waiting.append(perform)
        else:
            perform()
        return future

    def release(self) -> None:
        """Do what waits, and from now on everything at once."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        for perform in waiting:
            perform()
