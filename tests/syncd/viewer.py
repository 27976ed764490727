"""`karaoke-syncd view` as a process, in a home and with a store of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final

import pytest

from tests.measured import MEASURED
from tests.patience import patience, until

ROOT: Final = Path(__file__).parents[2]
# not by importing it, which would settle for this process where its store is
needs_trackio = pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")


def environment(home: Path) -> dict[str, str]:
    """What it is started with: this tree, and quick looks at the log folder."""
    return {
        **MEASURED, "HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
        "TRACKIO_DIR": str(home / "store"), "PYTHONUNBUFFERED": "1",
        "KARAOKE_SYNCD_RESCAN": "0.2", "KARAOKE_SYNCD_CONFIRM_FIRST": "0.05",
    }  # fmt: skip


class Viewer:
    """It shows the runs in `home/logs`. Killed at the end, if it isn't ended before."""

    def __init__(self, home: Path, *flags: str, **env: str) -> None:
        self._said = home / "said"
        with self._said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "view", "--no_open", *flags],
                env=environment(home) | env, cwd=home,
                stdin=subprocess.PIPE, stdout=out, stderr=out,
            )  # fmt: skip

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL, and nothing said before."""
        self.process.kill()
        self.process.communicate()

    def said(self) -> str:
        return self._said.read_text()

    def address(self) -> str:
        """The page's, once it is served."""
        until(lambda: "Dashboard: " in self.said(), self.said())
        return self.said().partition("Dashboard: ")[2].split()[0]

    def end(self) -> None:
        """Ctrl-C: it uploads what is left, and says so."""
        self.process.send_signal(signal.SIGINT)
        self.ends_well()

    def ends_well(self) -> None:
        code = self.process.wait(patience(60))
        assert code == 0, f"{code}: {self.said()}"
        assert "Traceback" not in self.said()
