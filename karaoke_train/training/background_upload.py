"""The upload beside a training run: asks for `karaoke-syncd`, starts it, waits a bounded time.

Nothing here can fail, delay or slow training: everything is done by a thread and by processes of
their own, and what goes wrong becomes one line of notice. The records are on disk in any case.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "karaoke-syncd"
ASK_TIMEOUT = 20.0  # s: a question to a local program
NEEDS_USER = ("not_logged_in", "refused")  # what only the user can change
POLL = 0.5  # s between two looks at how much is pending
STOP_TIMEOUT = 5.0  # s that a stopped upload may take before it is killed; killing loses nothing


def find_program() -> str | None:
    """The daemon's program: the one installed beside this Python, else the one on the path."""
    here = Path(sys.executable).parent / PROGRAM
    return str(here) if here.exists() else shutil.which(PROGRAM)


@dataclass(frozen=True)
class Pending:
    """Records of a run that aren't uploaded yet.

    records: how many; None when nobody can say. why: why waiting does not help, "" when it may.
    url: the run's page, "" where there is none yet.
    """

    records: int | None
    why: str = ""
    url: str = ""

    @property
    def worth_waiting(self) -> bool:
        """Whether some may still be uploaded by itself."""
        return self.records != 0 and not self.why

    def __str__(self) -> str:
        count = "some" if self.records is None else str(self.records)
        noun = "record" if self.records == 1 else "records"
        return f"{count} {noun} left" + (f" ({self.why})" if self.why else "")


class BackgroundUpload:
    """One run's upload by a separate program, from the run's start to its end."""

    def __init__(self, log_path: Path, say: Callable[[str], None] = print) -> None:
        self.log_path = log_path
        self.log_dir = log_path.parent
        self.say = say
        self.watched = False
        self._program = find_program()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._begin, name="background-upload", daemon=True)

    def start(self) -> None:
        """Find out who uploads this run, and see to it; returns at once."""
        if self._program is None:
            self.say(f"wandb       {PROGRAM} is not installed here; the log can be uploaded later")
            return
        self._thread.start()

    def finish(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until all records are uploaded; say how it ended.

        Ctrl-C ends the wait. A process started here is stopped in any case, which loses nothing.
        """
        if self._program is None:
            return
        self._thread.join(ASK_TIMEOUT)
        try:
            pending = self._wait(timeout) if self._process or self.watched else self._pending()
        except KeyboardInterrupt:
            pending = self._pending()
        page = f": {pending.url}" if pending.url else ""
        if self._ended_well() or pending.records == 0:
            self.say(f"wandb       everything is uploaded{page}")
        elif self.watched:
            self.say(f"wandb       safe on disk, {pending}; the running {PROGRAM} goes on{page}")
        else:
            self.say(
                f"wandb       safe on disk, {pending}; upload later with: {command(self.log_dir)}"
            )
            if pending.why:
                self.say(view_hint(self.log_dir))
        self._stop()

    def _begin(self) -> None:
        try:
            if self._ask("watching", "--log_dir", str(self.log_dir)).returncode == 0:
                self.watched = True
                self.say(
                    f"wandb       the running {PROGRAM} watches {self.log_dir} and uploads this run"
                )
                return
            self._process = self._launch()
            self.say(f"wandb       uploading beside the training ({PROGRAM} sync --follow)")
        except (OSError, subprocess.SubprocessError) as error:
            self.say(
                f"wandb       {PROGRAM} could not be started ({error}); the log is safe on disk"
            )

    def _launch(self) -> subprocess.Popen[bytes]:
        """In a session of its own, so that Ctrl-C in this terminal doesn't reach it."""
        place = self.log_dir / ".sync"
        place.mkdir(exist_ok=True)
        assert self._program is not None
        with (place / f"{self.log_path.stem}.log").open("ab") as output:
            return subprocess.Popen(
                [self._program, "sync", "--follow", str(self.log_path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_plain_environment(),
            )

    def _wait(self, timeout: float) -> Pending:
        """Show the pending records until none is, waiting does not help, or time is up."""
        deadline = time.monotonic() + timeout
        pending = self._pending()
        on_terminal = sys.stderr.isatty()
        from tqdm import tqdm  # of the extra `train`, which --sync_logs works without

        with tqdm(total=pending.records, desc="uploading", unit="record", leave=False,
                  disable=not on_terminal) as bar:  # fmt: skip
            while time.monotonic() < deadline and pending.worth_waiting and not self._ended():
                time.sleep(min(POLL, max(0.0, deadline - time.monotonic())))
                before, pending = pending, self._pending()
                bar.update(max(0, (before.records or 0) - (pending.records or 0)))
        if self._ended() and not (self._ended_well() and pending.url):  # asked before the end
            return self._pending()
        return pending

    def _pending(self) -> Pending:
        """What the program's status says of this run; unknown when it says nothing we know."""
        try:
            answer = json.loads(
                self._ask("status", "--json", "--log_dir", str(self.log_dir)).stdout
            )
            name = self.log_path.name
            [run] = [run for run in answer["runs"] if Path(run["path"]).name == name]
            records, url = int(run["left"]), str(run.get("url", ""))
            why = str(answer.get("reach_words", "")) if answer.get("reach") in NEEDS_USER else ""
        except (OSError, subprocess.SubprocessError):
            return Pending(None)
        except (ValueError, LookupError, TypeError, AttributeError):  # not an answer we know
            return Pending(None)
        return Pending(records, why, url)

    def _ask(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        assert self._program is not None
        return subprocess.run(
            [self._program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_TIMEOUT,
            check=False,
            start_new_session=True,
            env=_plain_environment(),
        )

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _ended_well(self) -> bool:
        return self._ended() and self._process is not None and self._process.returncode == 0

    def _stop(self) -> None:
        if self._process is None or self._ended():
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def view_hint(log_dir: Path) -> str:
    """How to look at runs that are not uploaded."""
    words = shlex.join((PROGRAM, "view", "--log_dir", str(log_dir)))
    return f"view        in a browser, without an account: {words}"


def command(log_dir: Path) -> str:
    """What uploads the logs in a folder, to be pasted into a shell."""
    return shlex.join((PROGRAM, "sync", "--log_dir", str(log_dir)))


def sync_logs(log_dir: str) -> int:
    """Upload what is pending in `log_dir`, in the foreground; the program's exit code."""
    program = find_program()
    if program is None:
        print(f"{PROGRAM} is not installed here: pip install karaoke-train", file=sys.stderr)
        return 1
    return subprocess.run([program, "sync", "--log_dir", log_dir], check=False).returncode


def _plain_environment() -> dict[str, str]:
    """Without what torchrun and we ourselves set for the training process."""
    ours = ("HF_HUB_OFFLINE", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {key: value for key, value in os.environ.items() if key not in ours}
