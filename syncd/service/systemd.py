"""The daemon as a systemd user service: install it, remove it, ask how it is."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from karaoke_train.runlog.lock import Holder, this_host
from syncd import paths
from syncd.destination.registry import stores
from syncd.errors import SyncError, unwritable
from syncd.paths import make_private
from syncd.service import launch, unit_file
from syncd.settings import Settings
from syncd.state import atomic_json
from syncd.state.lease import daemon_of

TIMEOUT: Final = 120.0  # seconds that systemctl may take; a start waits for READY
BOOTED: Final = Path("/run/systemd/system")  # sd_booted(3)
LINGER: Final = Path("/var/lib/systemd/linger")

LINGER_HINT: Final = (
    "systemd stops your services when you log out, and starts them when you log in. For uploads "
    "that go on without you: loginctl enable-linger"
)


@dataclass(frozen=True, slots=True)
class State:
    """The service, as its manager sees it. active: active, activating, failed, inactive, …"""

    manager: str  # empty, or why there is none
    installed: bool = False
    enabled: bool = False
    active: str = "inactive"
    words: str = ""
    pid: int = 0
    restarts: int = 0
    linger: bool = False

    @property
    def runs(self) -> bool:
        """Whether its daemon runs, and is done with its start."""
        return self.active in ("active", "reloading")

    def is_process(self, daemon: Holder) -> bool:
        """Whether its process is this daemon; False where either's process id isn't known."""
        return self.pid != 0 and (self.pid, this_host()) == (daemon.pid, daemon.host)


def unavailable() -> str:
    """Why there is no user manager that could run the daemon; empty when there is one."""
    if not shutil.which("systemctl"):
        return "this machine has no systemd"
    if not BOOTED.is_dir():
        return "this machine was not started with systemd"
    if not os.environ.get("XDG_RUNTIME_DIR"):
        return "this session has no user manager (XDG_RUNTIME_DIR is not set, as in su and cron)"
    if _systemctl("show", "--property=Version").returncode:
        return "your user manager can't be reached (is this a login session?)"
    return ""


def require_manager(arguments: str) -> None:
    """Raises SyncError with what to do instead, where there is no user manager. arguments: of
    `start`, for that advice."""
    if reason := unavailable():
        given = f" {arguments}" if arguments else ""
        start = f"{shlex.join(launch.command())} start --detach{given}"
        at_boot = "@reboot " + start.replace("%", "\\%")  # cron's own word for a new line
        raise SyncError(
            reason,
            meaning="A service can't be installed here; the daemon itself runs all the same",
            remedy=f"Start it by hand: karaoke-syncd start --detach{given}. "
            f"At every boot, by cron: (crontab -l; echo {shlex.quote(at_boot)}) | crontab -. "
            f"In a container, as its command: karaoke-syncd start{given}",
        )


def state() -> State:
    """How the service is. Never raises for the lack of systemd."""
    if reason := unavailable():
        return State(reason, installed=unit_file.path().exists(), linger=lingers())
    names = "LoadState,UnitFileState,ActiveState,SubState,StatusText,MainPID,NRestarts"
    shown = dict(
        line.partition("=")[::2]
        for line in _systemctl("show", f"--property={names}", unit_file.NAME).stdout.splitlines()
    )
    return State(
        manager="",
        installed=shown.get("LoadState") == "loaded",
        enabled=shown.get("UnitFileState") == "enabled",
        active=shown.get("ActiveState", ""),
        words=shown.get("StatusText", ""),
        pid=int(shown.get("MainPID") or 0),
        restarts=int(shown.get("NRestarts") or 0),
        linger=lingers(),
    )


def install(settings: Settings, arguments: Sequence[str]) -> bool:
    """Write, enable and start the unit. Returns whether its file changed. Doing it again changes
    nothing; with other arguments it replaces the unit. arguments: of `start`. Raises SyncError."""
    before = state()
    _refuse_rival(settings, before)
    for folder in (settings.state_dir, *stores(settings), *_lock_dir(settings)):
        make_private(folder)
    text = unit_file.render(unit_file.template(), installation(settings, arguments))
    changed = _write(unit_file.path(), text)
    _must("daemon-reload")
    _must("enable", unit_file.NAME)
    _must("restart" if changed and before.runs else "start", unit_file.NAME)
    return changed


def _lock_dir(settings: Settings) -> tuple[Path, ...]:
    return (settings.lock_dir,) if settings.lock_dir else ()


def installation(settings: Settings, arguments: Sequence[str]) -> unit_file.Installation:
    """What the unit has to name of this machine and environment."""
    return unit_file.Installation(
        command=launch.command(),
        arguments=arguments,
        # the state folder's parent, so that a lost state folder can be made again
        writable=(
            settings.state_dir.parent,
            *settings.log_dir,
            *stores(settings),
            *_lock_dir(settings),
        ),
        program=unit_file.program(),
        env_file=paths.env_file(),
        environment=unit_file.kept_environment(),
        namespaces=namespaces(),
        systemd=version(),
    )


def program_problem() -> tuple[str, str]:
    """Why the installed unit's program can't be run, and what to do then; empty where it can. A
    virtual environment that was moved or removed, and a Python that was upgraded, leave a unit that
    can only fail."""
    words = unit_file.installed_command()
    if "start" not in words:
        return "", ""
    place = words.index("start")
    problem = launch.problem(words[:place])
    again = shlex.join([*launch.command(), "service", "install", *words[place + 1 :]])
    return (problem, f"Install it again, from where it is now: {again}") if problem else ("", "")


def uninstall() -> bool:
    """Stop, disable and remove the unit; False when there was none. State and logs stay."""
    path = unit_file.path()
    there = path.exists() or path.is_symlink()
    if there:
        _must("disable", "--now", unit_file.NAME)
        path.unlink(missing_ok=True)
        _must("daemon-reload")
        _systemctl("reset-failed", unit_file.NAME)
    return there


def ask(what: str) -> None:
    """`restart` or `reload` the installed service. Raises SyncError."""
    _must(what, unit_file.NAME)


def version() -> int:
    """systemd's version; 0 when it doesn't say."""
    words = _systemctl("--version").stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def namespaces() -> bool:
    """Whether the user manager can give a service a user namespace: some kernels deny them."""
    if not shutil.which("systemd-run"):
        return False
    probe = ["systemd-run", "--user", "--quiet", "--wait", "--collect"]
    probe += ["--property=PrivateUsers=yes", "--property=ProtectSystem=strict", "true"]
    return _run(probe).returncode == 0


def lingers() -> bool:
    """Whether the user's services outlive the login."""
    try:
        return (LINGER / getpass.getuser()).exists()
    except (KeyError, OSError):  # an account without a name, as in containers
        return False


def enable_linger() -> str:
    """Ask for it. Returns why not; empty when it is so."""
    return _run(["loginctl", "enable-linger"]).stderr.strip()


def _refuse_rival(settings: Settings, before: State) -> None:
    """Another daemon on the state folder would make ours end at once."""
    holder = daemon_of(settings.state_dir)
    if holder and not (before.runs and before.is_process(holder)):
        raise SyncError(
            f"a daemon is running already: {holder}",
            meaning="The service would find its state folder taken",
            remedy="Stop it, then install again: karaoke-syncd stop",
        )


def _write(path: Path, text: str) -> bool:
    if path.is_symlink():
        raise SyncError(
            "the unit is masked or a link of yours",
            where=str(path),
            meaning="It stays as it is",
            remedy=f"systemctl --user unmask {unit_file.NAME}, or remove the link",
        )
    try:
        if path.exists() and path.read_text("utf-8") == text:
            return False
        atomic_json.write_bytes(path, text.encode(), mode=0o644)
    except OSError as error:
        raise unwritable(error, path) from None
    return True


def _must(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it does not say why"]
        raise SyncError(
            f"systemctl --user {' '.join(arguments)}: {words[0]}",
            meaning="No data is touched",
            remedy="See karaoke-syncd service logs, and karaoke-syncd doctor",
        )


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(["systemctl", "--user", "--no-pager", *arguments])


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
