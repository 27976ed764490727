"""`karaoke-syncd`, which `python -m syncd` is, too: the quick start and end of its commands."""

from __future__ import annotations

import gc
import sys

from karaoke_train.runlog.interrupts import importing


def main() -> int:
    """Run a command. Returns its exit code.

    Python looks for no garbage while it imports, and commands that run for longer have it looked
    for (`common.command`). At its end Python would go through all objects once more, to free what
    the kernel frees anyway. Both together were a sixth of what `status` took.
    """
    gc.disable()
    try:
        with importing():
            from syncd.cli import main as run
        return run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
