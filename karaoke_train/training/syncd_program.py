"""`karaoke-syncd` as a process beside the training: found, asked, started, stopped.

In sessions of their own, so that Ctrl-C in this terminal doesn't reach them; the training decides
when they end.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAM: Final = "karaoke-syncd"
ASK_TIMEOUT: Final = 20.0  # s: a question to a local program
STOP_TIMEOUT: Final = 5.0  # s that it may take to stop before it is killed; killing loses nothing
POLL: Final = 0.5  # s between two looks at what it does
NEEDS_USER: Final = ("not_logged_in", "refused")  # what only the user can change


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


def find_program() -> str | None:
    """The daemon's program: the one installed beside this Python, else the one on the path."""
    here = Path(sys.executable).parent / PROGRAM
    return str(here) if here.exists() else shutil.which(PROGRAM)


def ask(program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run it with these arguments, and wait for its answer. Raises OSError, SubprocessError."""
    return subprocess.run(
        [program, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=ASK_TIMEOUT,
        check=False,
        start_new_session=True,
        env=_plain_environment(),
    )


def pending(program: str, log_path: Path, *flags: str) -> Pending:
    """What its `status` says of the run in this log; unknown when it says nothing we know."""
    try:
        words = ("status", "--json", "--log_dir", str(log_path.parent), *flags)
        answer = json.loads(ask(program, *words).stdout)
        [run] = [run for run in answer["runs"] if Path(run["path"]).name == log_path.name]
        records, url = int(run["left"]), str(run.get("url", ""))
        why = str(answer.get("reach_words", "")) if answer.get("reach") in NEEDS_USER else ""
    except (OSError, subprocess.SubprocessError):
        return Pending(None)
    except (ValueError, LookupError, TypeError, AttributeError):  # not an answer we know
        return Pending(None)
    return Pending(records, why, url)


def output_file(log_path: Path, ending: str) -> Path:
    """Where what it says beside this log's run belongs, in a folder that is there by now."""
    place = log_path.parent / ".sync"
    place.mkdir(exist_ok=True)
    return place / f"{log_path.stem}{ending}"


def start(
    program: str, *words: str, output: Path, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start it beside the training. output: takes what it says, at its end. Raises OSError."""
    with output.open("ab") as said:
        return subprocess.Popen(
            [program, *words],
            stdin=stdin,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=_plain_environment(),
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, by force where it takes long."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def command(log_dir: Path) -> str:
    """What uploads the logs in a folder, to be pasted into a shell."""
    return shlex.join((PROGRAM, "sync", "--log_dir", str(log_dir)))


def view_command(log_dir: Path) -> str:
    """What shows the logs in a folder, to be pasted into a shell."""
    return shlex.join((PROGRAM, "view", "--log_dir", str(log_dir)))


def view_hint(log_dir: Path) -> str:
    """How to look at runs that are not uploaded."""
    return f"view        in a browser, without an account: {view_command(log_dir)}"


def _plain_environment() -> dict[str, str]:
    """Without what torchrun and we ourselves set for the training process."""
    ours = ("HF_HUB_OFFLINE", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {key: value for key, value in os.environ.items() if key not in ours}
