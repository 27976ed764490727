"""How much memory large lines may take at once, in all threads together.

A line of a megabyte takes ten times that once it is parsed, and each of the threads that upload may
have one at hand: sixteen such runs would take more than the daemon and all others. So who works on
large lines waits until there is room; small ones, which nearly all are, never do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

MOST: Final = 24 << 20  # bytes, for all that are large
SMALL: Final = 1 << 20  # bytes that nobody waits for
KEPT: Final = 256 << 10  # bytes of a buffer that malloc may keep
_MMAP_THRESHOLD: Final = -3  # glibc's M_MMAP_THRESHOLD, mallopt(3)
PARSED: Final = 24  # bytes of memory per byte of a line of many names, with what is made of it
EACH: Final = 1000  # bytes of memory that a line takes, however short it is


class Memory:
    """size: in bytes; what takes more has it alone."""

    def __init__(self, size: int = MOST) -> None:
        self._size = size
        self._taken = 0
        self._left = threading.Condition()
        self._door = threading.Lock()  # who came first goes first, or a large one never would
        self._mine = threading.local()

    @contextmanager
    def of(self, need: int) -> Iterator[None]:
        """Have so many bytes, once they are free. A thread that has some needs no further ones."""
        if need <= SMALL or self._has_some():
            yield
            return
        need = min(need, self._size)
        with self._door, self._left:
            self._left.wait_for(lambda: self._taken + need <= self._size)
            self._taken += need
        self._mine.taken = need
        try:
            yield
        finally:
            self._mine.taken = 0
            with self._left:
                self._taken -= need
                self._left.notify_all()

    def _has_some(self) -> bool:
        return bool(getattr(self._mine, "taken", 0))


_shared = Memory()


@contextmanager
def for_table() -> Iterator[None]:
    """Room for a run's table of epochs, as large as it may become."""
    with _shared.of(MOST):
        yield


def give_back() -> None:
    """Have the C library give large buffers back when they are let go. glibc keeps them for each
    thread by itself, up to 32 MiB: sixteen threads that had a large line each kept 60 MiB."""
    import ctypes

    with suppress(OSError, AttributeError, TypeError):  # another C library has no such thing
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, KEPT)


def is_small(size: int, count: int) -> bool:
    """Whether nobody waits for room for so many lines of so many bytes."""
    return size * PARSED + count * EACH <= SMALL


@contextmanager
def for_lines(size: int, count: int = 1) -> Iterator[None]:
    """Room to parse `count` lines of so many bytes together, and for what is made of them."""
    with _shared.of(size * PARSED + count * EACH):
        yield
