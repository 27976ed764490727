"""`--local`: the dashboard on this machine beside a training, by `karaoke-syncd view`.

Nothing here can fail, delay or slow training: a process of its own uploads to the local store and
serves the page, and what goes wrong becomes one line of notice. It ends when its standard input
does, so it goes with a training that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from karaoke_train.runlog.plain_text import one_line
from karaoke_train.training import syncd_program
from karaoke_train.training.syncd_program import POLL, PROGRAM, find_program, view_command

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_WAIT: Final = 30.0  # s for the records that are left when training ends
_DESTINATION: Final = ("--destination", "trackio")
_ADDRESS: Final = re.compile(r"^Dashboard: (\S+)", re.MULTILINE)
_NICE: Final = 10  # by so much behind the training, which has the cores first


def problem(log_dir: Path) -> str:
    """Why there can be no local dashboard, with what to do; empty where nothing is known against
    it. Takes a second."""
    program = find_program()
    if program is None:
        return f"{PROGRAM} is not installed here: pip install 'karaoke-train[local]'"
    words = ("doctor", "--json", "--log_dir", str(log_dir), *_DESTINATION)
    try:
        findings = json.loads(syncd_program.ask(program, *words).stdout)["findings"]
        [store] = [finding for finding in findings if finding["check"] == "store"]
        bad = store["level"] == "error"
        return one_line(f"{store['what']}: {store['remedy']}") if bad else ""
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return ""  # no answer we know: what is wrong shows when it starts


class LocalDashboard:
    """Open while the training runs in this context."""

    def __init__(
        self, log_path: Path, *, open_browser: bool = True, say: Callable[[str], None] = print
    ) -> None:
        self._log_path = log_path
        self._browser = () if open_browser else ("--no_open",)
        self._say = say
        self._program = find_program()
        self._process: subprocess.Popen[bytes] | None = None
        self._output = Path(os.devnull)
        self._ending = False
        self._thread = threading.Thread(target=self._watch, name="local-dashboard", daemon=True)

    def __enter__(self) -> LocalDashboard:
        """Start it; returns at once, and its address is said when it is there."""
        assert self._program is not None, "see `problem`"
        words = ("view", "--until_eof", *self._browser, "--log_dir", str(self._log_path.parent))
        try:
            self._output = syncd_program.output_file(self._log_path, ".view.log")
            self._output.unlink(missing_ok=True)  # of an earlier attempt: its address is no more
            self._process = syncd_program.start(
                self._program, *words, output=self._output, stdin=subprocess.PIPE
            )
        except OSError as error:
            self._say(f"view        {PROGRAM} could not be started ({error}); training goes on")
            return self
        # A data worker is forked: with this end of the pipe it would keep the dashboard open
        os.register_at_fork(after_in_child=self._let_go)
        with contextlib.suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, own + _NICE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Have it take in what is left, and end; say how that went. Ctrl-C ends the wait."""
        if self._process is None:
            return
        self._ending = True
        self._let_go()
        with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            self._process.wait(LAST_WAIT)
        syncd_program.stop(self._process)
        assert self._program is not None
        pending = syncd_program.pending(self._program, self._log_path, *_DESTINATION)
        again = view_command(self._log_path.parent)
        if pending.records == 0:
            self._say(f"view        everything is in the local store; to look again: {again}")
        else:
            self._say(f"view        safe on disk, {pending}; to look again: {again}")

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # of a process that has ended
                self._process.stdin.close()

    def _watch(self) -> None:
        """Say where the page is, and that it ended before its time."""
        assert self._process is not None
        while not (found := _ADDRESS.search(self._said())) and self._process.poll() is None:
            time.sleep(POLL)
        if found:
            self._say(f"view        {found[1]}")
        self._process.wait()
        if not self._ending:
            last = (self._said().strip().splitlines() or ["it does not say why"])[-1]
            self._say(f"view        the dashboard has ended, training goes on: {one_line(last)}")

    def _said(self) -> str:
        try:
            return self._output.read_text("utf-8", "replace")
        except OSError:
            return ""
