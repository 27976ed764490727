"""Named points at which a test can have the process die, as a power cut would have it.

Dying has to be tried at places that no signal from outside can be timed to hit: between a file's
write and its rename, say. Python has no build without them, so "compiled in only under test" is
decided once, at import: without the variable, `failpoint` is a function that does nothing, and
costs a call where the next thing is a request or an fsync. Nothing in a settings file can turn
them on, and no product code asks whether a test is running.

The variable names a file with the order `POINT` or `POINT:n`: die at the n-th pass. A file, since
the order has to be carried out once: the worker that follows a killed one would die at the same
point again. It also lets a test give a running daemon its next order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "KARAOKE_SYNCD_FAILPOINT"


def _nothing(point: str) -> None:
    """Pass."""


def _dying(order: Path) -> Callable[[str], None]:
    def die_if_ordered(point: str) -> None:
        try:
            wanted, _, passes = order.read_text().partition(":")
            if wanted != point:
                return
            if (left := int(passes or 1) - 1) > 0:
                order.write_text(f"{point}:{left}")
                return
            order.unlink()  # carried out once, by whoever removes it
        except FileNotFoundError:
            return
        import signal  # each command would wait for it

        os.kill(os.getpid(), signal.SIGKILL)

    return die_if_ordered


def bound(environment: Mapping[str, str]) -> Callable[[str], None]:
    """What `failpoint` is in this environment."""
    order = environment.get(VARIABLE)
    return _dying(Path(order)) if order else _nothing


failpoint: Final = bound(os.environ)
