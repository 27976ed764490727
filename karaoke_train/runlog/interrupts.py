"""Ctrl-C while a program is still being imported. Before this itself is, there is no help: so it
imports next to nothing."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130  # the exit code, as shells have it: 128 + SIGINT


class importing:  # noqa: N801  contextlib would take as long to import as all of this
    """Ctrl-C while libraries are imported ends the process, in which nothing has begun. As an
    exception it would end in whatever they make of it: numpy went on without a part of itself,
    and its next user failed with a traceback."""

    def __enter__(self) -> None:
        self._changed = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, _end_now)
            except ValueError:  # not the main thread, which alone is told of Ctrl-C
                return
            self._changed = True

    def __exit__(self, *_: object) -> None:
        if self._changed:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_now(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
