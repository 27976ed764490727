"""What Python does without for a while: torch, or looking for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch() -> Iterator[None]:
    """What is imported meanwhile does without it: tensorboardX brings it along where it is
    installed, 200 MB and seconds, for what nobody asks of it here."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # to `import`, one that is not there
    try:
        yield
    finally:
        del sys.modules["torch"]


@contextmanager
def garbage_collection() -> Iterator[None]:
    """Python looks for no garbage: among 10,000 runs, all of which are kept, that was a fifth of
    what `status` took, and a tenth of a daemon's start."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
