"""How much large lines take at once: small work never waits, large work does, and all is done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from syncd.memory import SMALL, Memory, for_lines
from tests.patience import patience


def test_large_work_waits_until_there_is_room_and_small_work_does_not() -> None:
    memory, started = Memory(10 * SMALL), threading.Event()

    def large() -> None:
        with memory.of(6 * SMALL):
            started.set()

    with ThreadPoolExecutor(1) as threads:
        with memory.of(6 * SMALL):
            waiting = threads.submit(large)
            with memory.of(6 * SMALL):  # a thread that has room needs no more
                pass
            threads_own = ThreadPoolExecutor(1)
            with threads_own, memory.of(SMALL):
                assert threads_own.submit(lambda: _take(memory, SMALL)).result(patience(20.0))
            assert not started.is_set()
        waiting.result(patience(20.0))
    assert started.is_set()


def test_many_short_lines_are_large_work() -> None:
    took = threading.Event()

    def work() -> None:
        with for_lines(20_000, 20_000):
            took.set()

    with ThreadPoolExecutor(1) as threads:
        with for_lines(20_000, 20_000):
            waiting = threads.submit(work)
            assert not took.wait(patience(0.1))
        waiting.result(patience(20.0))


def test_what_is_larger_than_all_of_it_has_it_alone() -> None:
    memory = Memory(4 * SMALL)
    assert _take(memory, 100 * SMALL)
    assert _take(memory, 100 * SMALL)


def test_never_more_than_the_room_is_taken_and_everybody_comes_to_it() -> None:
    memory, guard, taken, most = Memory(8 * SMALL), threading.Lock(), 0, 0

    def work(size: int) -> None:
        nonlocal taken, most
        with memory.of(size * SMALL):
            with guard:
                taken += size
                most = max(most, taken)
            with guard:
                taken -= size

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, size) for size in (2, 3, 5, 8) * 20]:
            done.result(patience(20.0))
    assert (taken, most <= 8) == (0, True)


def _take(memory: Memory, size: int) -> bool:
    with memory.of(size):
        return True
