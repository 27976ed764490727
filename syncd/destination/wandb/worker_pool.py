"""Worker processes: started when needed, lent to one session at a time, killed after any error."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from syncd.destination.wandb.worker import Failure, Request
from syncd.destination.wandb.worker_memory import taken
from syncd.errors import RunTrouble

# not `-m`: the requests' classes would be another module's there, and unlike ours when pickled
_MAIN: Final = "from syncd.destination.wandb.worker import main; main()"

MOST_SLACK: Final = 8.0  # times the usual time of an answer: see `WorkerPool`
# Bytes for a worker and its wandb-core: the largest records that were tried took 330 MiB, and what
# has no end would take the whole machine's
MOST_MEMORY: Final = 1 << 30
_LOOK: Final = 0.25  # seconds between looks at what it takes


class WorkerFailed(Exception):
    """The worker answered a request with words of failure."""


class NoAnswer(RunTrouble):
    """The worker did not answer in time."""


class TookTooMuch(RunTrouble):
    """The worker took more memory than it may."""


class Worker:
    """A process that runs the wandb SDK, and our end of the line to it. most_memory: bytes that it
    may take while it has something to do, where the system tells."""

    def __init__(self, most_memory: int = MOST_MEMORY) -> None:
        self._most_memory = most_memory
        self._answered = False
        ours, theirs = socket.socketpair()
        self._scratch = Path(tempfile.mkdtemp(prefix="karaoke-syncd-"))
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _MAIN, str(theirs.fileno()), self._scratch],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=self._scratch,  # a wandb/settings where the daemon runs is none of ours
                )
            except OSError:
                ours.close()
                shutil.rmtree(self._scratch, ignore_errors=True)
                raise
        self._line = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def call(self, request: Request, timeout: float) -> int:
        """Have a request done. Raises WorkerFailed with the SDK's words; NoAnswer when there is
        none in `timeout` seconds, RunTrouble when there can be none, or it takes too much memory:
        the worker is good for nothing but `kill` then."""
        try:
            self._line.send(request)
            if not self._answers_within(timeout):
                raise NoAnswer(f"wandb's SDK did not answer within {timeout:.0f} s")
            answer: object = self._line.recv()
        except (OSError, EOFError):
            raise RunTrouble(self._died()) from None
        except (pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError):
            answer = None
        self._answered = True
        if isinstance(answer, Failure):
            raise WorkerFailed(str(answer.words))
        if type(answer) is not int:
            raise RunTrouble("the process that runs wandb's SDK answered what is no answer")
        return answer

    def _answers_within(self, timeout: float) -> bool:
        """Whether there is an answer in `timeout` seconds. Raises TookTooMuch."""
        deadline = time.monotonic() + timeout
        while True:
            # Before the answer is taken, too: wandb-core goes on with what it was given before
            if taken(self.pid) > self._most_memory:
                raise TookTooMuch(
                    "wandb's SDK took more memory for it than the "
                    f"{self._most_memory >> 20:,} MiB that it may, and was stopped",
                    meaning="The records are safe on disk",
                    by_itself="It's tried again by itself",
                    remedy='The direct lane takes far less: leave out lane = "sdk" in the settings',
                )
            left = deadline - time.monotonic()
            if self._line.poll(max(0.0, min(left, _LOOK))):
                return True
            if left <= _LOOK:
                return False

    def _died(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(1.0)
            if not self._answered and code > 0:
                return (
                    "the process that runs wandb's SDK can't be started: it ended with exit code "
                    f"{code} at once; `{sys.executable} -c 'import wandb'` may say why"
                )
        return "the process that runs wandb's SDK has died"

    def signal_kill(self) -> None:
        """Kill the process, and wandb-core with it, from whichever thread; a call that waits for
        its answer then fails."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def kill(self) -> None:
        """End the process and everything of it here. Nothing may be called after."""
        self.signal_kill()
        self._process.wait()
        self._line.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _started(most_memory: int) -> Worker:
    try:
        return Worker(most_memory)
    except OSError as error:  # no room for its folder, too many processes or open files
        raise RunTrouble(
            f"the process that runs wandb's SDK can't be started: {error.strerror or error}",
            meaning="The records are safe on disk",
            remedy="See what this machine lacks (a full disk, limits of processes or open files)",
        ) from None


class WorkerPool:
    """Workers that wait for their next session. Thread-safe. most_memory: bytes that each may take.

    slack: how many times the usual time their answers may take. It grows with each that took too
    long: on a machine that is busy enough, sessions would be given up and begun anew for ever.
    """

    def __init__(self, most_memory: int = MOST_MEMORY) -> None:
        self.slack = 1.0
        self._most_memory = most_memory
        self._idle: list[Worker] = []
        self._lent: set[Worker] = set()
        self._closing = threading.Event()
        self._guard = threading.Lock()

    def acquire(self) -> Worker:
        """A worker with no run open. Raises RunTrouble once the pool is closed."""
        with self._guard:
            if self._closing.is_set():
                raise RunTrouble("the daemon is stopping")
            worker = self._idle.pop() if self._idle else _started(self._most_memory)
            self._lent.add(worker)
        return worker

    def release(self, worker: Worker) -> None:
        """A worker that has let go of its run in order."""
        with self._guard:
            self._lent.discard(worker)
            if not self._closing.is_set():
                self._idle.append(worker)
                return
        worker.kill()

    def kill(self, worker: Worker) -> None:
        """A worker whose session is over, one way or another."""
        with self._guard:
            self._lent.discard(worker)
        worker.kill()

    def was_slow(self) -> None:
        """A worker took too long, and not because of the server."""
        with self._guard:
            self.slack = min(MOST_SLACK, 2 * self.slack)

    def was_in_time(self) -> None:
        """A session was opened, and ended, in the time that it may take."""
        with self._guard:
            self.slack = max(1.0, self.slack / 2)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the pool is open."""
        self._closing.wait(seconds)

    def close(self) -> None:
        """Kill all workers; sessions that still have one see their next call fail."""
        with self._guard:
            self._closing.set()
            idle, self._idle = self._idle, []
            for worker in self._lent:
                worker.signal_kill()
        for worker in idle:
            worker.kill()
