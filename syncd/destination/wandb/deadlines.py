"""A deadline for a whole answer: whoever waits for it is woken up once it is over.

A socket's timeout is none: it begins anew with each byte, and a server that sends one every few
seconds would hold a thread for ever. Looking a name up has no timeout at all. So the connection is
made in a thread that may be left behind, and its socket is shut down, in the middle of a TLS
handshake, too.
"""

from __future__ import annotations

import heapq
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from syncd.errors import Unreachable


class Watch:
    """One request: its connection, once it has one. answer_within: seconds, once it is sent; 0
    where its first deadline is for both."""

    def __init__(self, deadlines: Deadlines, answer_within: float) -> None:
        self._deadlines = deadlines
        self._answer_within = answer_within
        self._changed = threading.Condition()
        # a duplicate: wrapping a socket in TLS empties it
        self._socket: socket.socket | None = None
        self.connected = False
        self.was_cut = False
        self.ended = False

    def connect(self, make: Callable[[], socket.socket]) -> socket.socket:
        """The connection that `make` makes. Raises what it raises; Unreachable when the time is
        over before."""
        attempt = _Attempt(make, self._changed)
        threading.Thread(target=attempt.run, name="connect", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: attempt.done or self.was_cut)
            made = attempt.take()
        if made is None:
            raise Unreachable("no connection in time")
        self.on(made)
        return made

    def on(self, opened: socket.socket) -> None:
        """The request goes over this socket."""
        with self._changed:
            self._let_go()
            self.connected = True
            self._socket = socket.socket(fileno=os.dup(opened.fileno()))  # a TLS socket has no dup
            if self.was_cut:
                self._shut()

    def sent(self) -> None:
        """All of the request is sent."""
        if self._answer_within:
            self._deadlines.add(self, self._answer_within)

    def end(self) -> None:
        """The answer is there: the connection is somebody else's from now on."""
        with self._changed:
            self.ended = True
            self._let_go()

    def cut(self) -> None:
        """The time is over: whoever waits for the answer wakes up."""
        with self._changed:
            self.was_cut = True
            self._changed.notify_all()
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Attempt:
    """A connection that is made by another thread than the one that waits for it."""

    def __init__(self, make: Callable[[], socket.socket], changed: threading.Condition) -> None:
        self._make = make
        self._changed = changed
        self._made: socket.socket | None = None
        self._error: Exception | None = None
        self._left = False
        self.done = False

    def run(self) -> None:
        try:
            made, error = self._make(), None
        except Exception as problem:
            made, error = None, problem
        with self._changed:
            self._made, self._error, self.done = made, error, True
            self._changed.notify_all()
            if self._left and made:
                made.close()

    def take(self) -> socket.socket | None:
        """The connection; None where it isn't made: one that comes later is closed. Called with
        `changed` held. Raises what kept it from being made."""
        self._left = not self.done
        if self._error is not None:
            raise self._error
        return self._made


class Deadlines:
    """Cuts requests whose time is over: one thread for all of them."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Watch]] = []
        self._number = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.closed = threading.Event()

    @contextmanager
    def within(self, seconds: float, to_send: float = 0.0) -> Iterator[Watch]:
        """A request of this thread's, which has to be answered in so many seconds, once it is sent;
        that may take `to_send` seconds more."""
        watch = Watch(self, seconds if to_send else 0.0)
        self.add(watch, seconds + to_send)
        try:
            yield watch
        finally:
            watch.end()

    def add(self, watch: Watch, seconds: float) -> None:
        """This one is cut in so many seconds, unless it has ended, or was cut before."""
        with self._changed:
            if self.closed.is_set():
                raise Unreachable("the daemon is stopping")
            self._number += 1
            heapq.heappush(self._due, (time.monotonic() + seconds, self._number, watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            if self._due[0][2] is watch:
                self._changed.notify()

    def close(self) -> None:
        """Cut all of them, and let none begin."""
        with self._changed:
            self.closed.set()
            self._changed.notify()
            due, self._due = self._due, []
        for _, _, watch in due:
            watch.cut()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._due and self._due[0][2].ended:
                    heapq.heappop(self._due)
                if self.closed.is_set():
                    return
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                _, _, late = heapq.heappop(self._due)
            late.cut()
