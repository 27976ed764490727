"""The thread that has a sink's lines on the disk: training waits for no fsync."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from karaoke_train.runlog.ranks import NoSink
    from karaoke_train.runlog.sink import Sink

# Seconds between two fsyncs, and so what a power cut may take; Redis (appendfsync everysec) makes
# the same trade. One per record would bind training to the disk: milliseconds each.
SYNC_EVERY: Final = 1.0


class SyncThread:
    """Flushes a sink each second from now on, until it closes it."""

    def __init__(self, sink: Sink | NoSink) -> None:
        self._sink = sink
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runlog-sync", daemon=True)
        self._thread.start()

    def flush_soon(self) -> None:
        """Flush before the second is over; returns at once."""
        self._wake.set()

    def close(self) -> None:
        """Save what can be saved, close the sink, and end."""
        self._closing = True
        self._wake.set()
        self._sink.close()
        # With a limit: when a signal handler closes the run, the mutex that the thread waits for
        # may be held by the very call that the handler interrupted
        self._thread.join(timeout=SYNC_EVERY)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(SYNC_EVERY)
            self._wake.clear()
            self._sink.flush()
