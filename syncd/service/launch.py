"""How karaoke-syncd starts itself: the command of this very installation, the flags handed on, and
a daemon in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from syncd import paths
from syncd.errors import SyncError
from syncd.settings import BY_DAEMON, BY_FLAG, Settings
from syncd.state.lease import daemon_of, make_state_folder, unwritable

VERSION_WAIT: Final = 60.0  # seconds that a program may take to say its version
START_WAIT: Final = 15.0  # seconds until a daemon in the background holds its state folder
# Settings that `start` takes as flags. Each goes on to the daemon that a unit or --detach starts.
HANDED_ON: Final = (
    *("log_dir", "recursive", "project", "entity", "log_level", "destinations"),
    *("on_event", "silent_after"),
)
_DEFAULTS: Final = Settings(state_dir=Path())
_FLAGS: Final = {"destinations": "destination"}  # of settings that hold several


def command() -> list[str]:
    """How to run karaoke-syncd of this very environment, by absolute path.

    Never the `syncd` of another place: `python -m syncd` alone would take a folder of that name
    where it happens to be called, since Python looks there first.
    """
    script = Path(sys.executable).parent / "karaoke-syncd"
    if os.access(script, os.X_OK):
        return [str(script)]
    return [sys.executable, "-P", "-m", "syncd"]


def problem(command: Sequence[str]) -> str:
    """Why this command can't be run, in words; empty where it can."""
    program = command[0]
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace",
            timeout=VERSION_WAIT, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        if Path(program).is_symlink():
            return f"{program} leads nowhere"
        return f"what runs {program} is gone" if Path(program).exists() else f"{program} is gone"
    except subprocess.TimeoutExpired:
        return ""  # it is there, and the machine is busy
    except OSError as error:
        return f"{program} can't be run: {error.strerror}"
    said = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
    return f"{program} fails: {said}" if done.returncode else ""


def start_arguments(settings: Settings) -> list[str]:
    """Flags for `start` that repeat what this command line said.

    What config.toml says is left to the new process, which reads it itself, so that a reload sees
    its changes; so is the environment, which a unit has as well. The log folders alone are handed
    on from there, too, and by default, with their whole paths: the new process may run elsewhere.
    """
    return _as_flags(settings, [name for name in HANDED_ON if _is_handed_on(name, settings)])


def named_by_flags(settings: Settings) -> list[str]:
    """The flags of this command line alone, as `start` takes them."""
    named = [name for name in HANDED_ON if settings.origin.get(name) == BY_FLAG]
    return _as_flags(settings, named)


def start_in_background(settings: Settings) -> int:
    """Start a daemon that outlives this terminal, and wait until it holds its state folder.
    Returns its process id. Raises SyncError when it ends before that, or takes too long."""
    log = paths.daemon_log(settings.state_dir)
    make_state_folder(settings.state_dir)
    try:
        file = os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    except OSError as error:
        raise unwritable(settings.state_dir, error) from None
    with file:
        process = subprocess.Popen(
            [*command(), "start", *start_arguments(settings)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # or the terminal's SIGHUP would end it
        )
    deadline = time.monotonic() + START_WAIT
    while time.monotonic() < deadline and process.poll() is None:
        holder = daemon_of(settings.state_dir)
        # 0 where a full disk did not take its name. Were the holder another one, it would end soon
        if holder and holder.pid in (process.pid, 0):
            return process.pid
        time.sleep(0.05)
    raise SyncError(
        "the daemon did not start"
        if process.poll() is not None
        else f"the daemon is not ready after {START_WAIT:.0f} s",
        meaning="Nothing is uploaded yet; the records are safe on disk",
        remedy=f"See the end of {log}, and `karaoke-syncd doctor`",
    )


def _is_handed_on(name: str, settings: Settings) -> bool:
    origin = settings.origin.get(name)
    if name == "log_dir":
        return origin != str(paths.config_file())
    of_its_start = origin == BY_DAEMON and getattr(settings, name) != getattr(_DEFAULTS, name)
    return origin == BY_FLAG or of_its_start


def _as_flags(settings: Settings, names: Sequence[str]) -> list[str]:
    return [
        word for name in names for word in _words(_FLAGS.get(name, name), getattr(settings, name))
    ]


def _words(flag: str, value: object) -> Sequence[str]:
    if isinstance(value, bool):
        return (f"--{flag}" if value else f"--no_{flag}",)
    return [f"--{flag}={one}" for one in (value if isinstance(value, tuple) else (value,))]
