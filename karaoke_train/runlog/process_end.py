"""How this process ends, as far as that can be seen while it does: for runs that it leaves open."""

from __future__ import annotations

import sys
import threading
from typing import Any, Final, NoReturn

from karaoke_train.runlog.interrupts import INTERRUPTED

# How a run ends, each with its exit code
STATUSES: Final = {"finished": 0, "failed": 1, "interrupted": INTERRUPTED}

_code: object = None  # what sys.exit was called with


def process_end() -> tuple[str, int]:
    """The status of an `end` record, and the exit code. To be asked by an atexit function."""
    # Python sets this for an error that ends the program, before atexit functions are called. At a
    # prompt it is the last error that was shown, which ended nothing
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if error is not None:
        return "failed", 1
    return status_of(exit_code_of(_code))


def exit_code_of(given: object) -> int:
    """The exit code of a process that calls `sys.exit` with this; all but a number is shown, and
    is a 1."""
    return 0 if given is None else int(given) if isinstance(given, int) else 1


def status_of(exit_code: int) -> tuple[str, int]:
    """The status that goes with an exit code, and the code."""
    known = {code: status for status, code in STATUSES.items()}
    return known.get(exit_code, "failed"), exit_code


def watch_exit() -> None:
    """See from now on which code sys.exit is called with; a call that was caught is forgotten."""
    # What SystemExit carried is gone when atexit functions are called. wandb's exit hooks stand in
    # the same place for the same reason; `raise SystemExit` passes by both
    global _code, _exit
    _code = None
    # Once: a hook that took our place meanwhile calls us, and would be called by us for ever
    if _exit is None:
        _exit, sys.exit = sys.exit, _watched_exit


_exit: Any = None  # what sys.exit was before


def _watched_exit(status: Any = None, /) -> NoReturn:
    global _code
    if threading.current_thread() is threading.main_thread():  # elsewhere it ends a thread alone
        _code = status
    _exit(status)
    raise AssertionError("sys.exit returned")
