"""The upload beside a training run: asks for `karaoke-syncd`, starts it, waits a bounded time.

Nothing here can fail, delay or slow training: everything is done by a thread and by processes of
their own, and what goes wrong becomes one line of notice. The records are on disk in any case.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from karaoke_train.training import syncd_program
from karaoke_train.training.syncd_program import (
    ASK_TIMEOUT,
    POLL,
    PROGRAM,
    Pending,
    command,
    find_program,
    view_hint,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class BackgroundUpload:
    """One run's upload by a separate program, from the run's start to its end. shown: the run is
    looked at otherwise, which is then not named as the way without an account."""

    def __init__(
        self, log_path: Path, say: Callable[[str], None] = print, *, shown: bool = False
    ) -> None:
        self.log_path = log_path
        self._shown = shown
        self.log_dir = log_path.parent
        self.say = say
        self.watched = False
        self._program = find_program()
        self._launching = threading.Lock()  # whether one may be started, and which was
        self._stopped = False
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
        try:
            self._end(timeout)
        finally:  # also where Ctrl-C comes once more
            self._stop()

    def _end(self, timeout: float) -> None:
        try:
            self._thread.join(ASK_TIMEOUT)
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
            if pending.why and not self._shown:
                self.say(view_hint(self.log_dir))

    def _begin(self) -> None:
        try:
            assert self._program is not None
            words = ("watching", "--log_dir", str(self.log_dir))
            if syncd_program.ask(self._program, *words).returncode == 0:
                self.watched = True
                self.say(
                    f"wandb       the running {PROGRAM} watches {self.log_dir} and uploads this run"
                )
                return
            with self._launching:
                if self._stopped:
                    return
                self._process = self._launch()
            self.say(f"wandb       uploading beside the training ({PROGRAM} sync --follow)")
        except (OSError, subprocess.SubprocessError) as error:
            self.say(
                f"wandb       {PROGRAM} could not be started ({error}); the log is safe on disk"
            )

    def _launch(self) -> subprocess.Popen[bytes]:
        assert self._program is not None
        return syncd_program.start(
            self._program,
            *("sync", "--follow", str(self.log_path)),
            output=syncd_program.output_file(self.log_path, ".log"),
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
        assert self._program is not None
        return syncd_program.pending(self._program, self.log_path)

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _ended_well(self) -> bool:
        return self._ended() and self._process is not None and self._process.returncode == 0

    def _stop(self) -> None:
        with self._launching:
            self._stopped = True
        if self._process is not None and not self._ended():
            syncd_program.stop(self._process)


def sync_logs(log_dir: str) -> int:
    """Upload what is pending in `log_dir`, in the foreground; the program's exit code."""
    program = find_program()
    if program is None:
        print(f"{PROGRAM} is not installed here: pip install karaoke-train", file=sys.stderr)
        return 1
    return subprocess.run([program, "sync", "--log_dir", log_dir], check=False).returncode
