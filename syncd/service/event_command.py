"""Events, a JSON object each, -> a command's standard input; one after the other, beside the loop.

Nothing that the command does holds up the daemon: it has its time, and then it is killed; events
that come faster than it takes them are counted and left out.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from karaoke_train.runlog.plain_text import json_text
from syncd import events

TIMEOUT: Final = 60.0  # seconds that the command may take for one event
MOST_WAITING: Final = 100  # events; a webhook that hangs must not fill the memory
STOP_WAIT: Final = 2.0  # seconds that the daemon's end waits for the one under way
_SAID: Final = 500  # bytes of what the command says on stderr, for the log


class EventCommand:
    """A shell command, and the thread that runs it."""

    def __init__(self, command: str, timeout: float = TIMEOUT) -> None:
        self._command = command
        self._timeout = timeout
        self._waiting: queue.Queue[Mapping[str, Any]] = queue.Queue(MOST_WAITING)
        self._stopping = threading.Event()
        self._beginning = threading.Lock()  # what begins, and whether anything may
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="on_event", daemon=True)
        self._thread.start()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Have the command told. Never waits, never raises."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            events.event_left_out(str(event.get("event", "")))

    def close(self) -> None:
        """Tell what waits, as far as there is time for it, and then nothing more."""
        self._stopping.set()
        self._thread.join(STOP_WAIT)
        with self._beginning:
            self._closed = True
            process = self._process
        if process is not None:
            _kill(process)

    def _work(self) -> None:
        while not (self._closed or (self._stopping.is_set() and self._waiting.empty())):
            try:
                event = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            problem = self._run(json_text(event, indent=None).encode() + b"\n")
            if problem:
                events.event_command_failed(self._command, problem)

    def _run(self, data: bytes) -> str:
        """What went wrong; empty where nothing did."""
        with tempfile.TemporaryFile() as said:  # a file: it may say more than the memory holds
            try:
                with self._beginning:
                    if self._closed:
                        return ""
                    self._process = process = subprocess.Popen(
                        ["/bin/sh", "-c", self._command],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=said,
                        start_new_session=True,  # so that what it started is killed with it
                    )
            except OSError as error:
                return error.strerror or str(error)
            try:
                process.communicate(data, timeout=self._timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                return f"it took longer than {self._timeout:g} s, and was killed"
            finally:
                self._process = None
            if process.returncode == 0:
                return ""
            said.seek(0)
            text = said.read(_SAID).decode("utf-8", "backslashreplace").strip()
            return f"exit status {process.returncode}{': ' if text else ''}{text}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
