"""A real `systemd --user` with its own bus and journal, for one test user, on this machine.

As root, without touching the machine: private mount and process namespaces, a /run of its own, a
passwd with the user `karaoke` in it. Everything in it ends with the context.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import patience, until

UID = 4711
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("sandbox.sh")
REQUIRE = "KARAOKE_REQUIRE_SYSTEMD"  # set: these tests may not be skipped


def missing() -> str:
    """Why there can be no sandbox here; empty when there can."""
    if sys.platform != "linux":
        return "systemd is Linux's"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed (apt-get install systemd)"
    if not shutil.which("dbus-daemon") or not Path("/usr/lib/systemd/user/dbus.socket").exists():
        return "no user bus (apt-get install dbus dbus-user-session)"
    if os.geteuid() != 0:
        return "a machine of its own for systemd takes root"
    probe = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "this root may not make mount namespaces"
    return ""


class Sandbox:
    """Commands of the test user, under the user's own systemd."""

    def __init__(self, home: Path, pid: int, words: Path) -> None:
        self.home = home
        self.pid = pid
        self.words = words

    def run(
        self, *command: object, cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, to its end."""
        variables = {
            "HOME": str(self.home),
            "USER": "karaoke",
            "LOGNAME": "karaoke",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "XDG_RUNTIME_DIR": f"/run/user/{UID}",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path=/run/user/{UID}/bus",
            **env,
        }
        words = [f"{key}={value}" for key, value in variables.items()]
        ids = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all"]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", f"--wd={cwd or self.home}"]
        line = [*enter, "setpriv", *ids, "env", "-i", *words, *map(str, command)]
        return subprocess.run(
            line, capture_output=True, text=True, timeout=patience(60), check=False
        )

    def ok(self, *command: object, **env: str) -> str:
        """The same for a command that may not fail; what it wrote."""
        done = self.run(*command, **env)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def syncd(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run karaoke-syncd as the user."""
        return self.run(Path(sys.prefix, "bin", "karaoke-syncd"), *arguments, **env)

    def systemctl(self, *arguments: object) -> str:
        """`systemctl --user`, to succeed."""
        return self.ok("systemctl", "--user", *arguments)

    def show(self, property_name: str, unit: str = "karaoke-syncd.service") -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", "-p", property_name, unit).strip()

    def journal(self, *arguments: str) -> str:
        """The user's journal of the unit."""
        return self.ok("journalctl", "--no-pager", "--user-unit=karaoke-syncd.service", *arguments)

    def as_root(self, *command: str) -> str:
        """Run a command on this machine as its root; what it wrote."""
        line = ["nsenter", f"--target={self.pid}", "--mount", "--pid", *command]
        return subprocess.run(
            line, capture_output=True, text=True, errors="replace", timeout=patience(60), check=True
        ).stdout

    def folder(self, name: str) -> Path:
        """A folder of the user's."""
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        for made in (path, *path.relative_to(self.home).parents):
            os.chown(self.home / made, UID, UID)
        return path

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file of the user's."""
        self.folder(str(Path(name).parent))
        path = self.home / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, UID, UID)
        return path

    def append(self, name: str, text: str) -> None:
        """More of a file of the user's, as a trainer writes it."""
        if not (self.home / name).exists():
            self.write(name, "")
        with (self.home / name).open("a") as file:
            file.write(text)


def walls(paths: Iterable[Path]) -> set[Path]:
    """The outermost folders above the paths that other users can't enter."""
    closed = (
        [above for above in reversed(path.parents) if not above.stat().st_mode & 0o001]
        for path in paths
    )
    return {folders[0] for folders in closed if folders}


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A machine of its own, with its user manager running."""
    home = Path(tempfile.mkdtemp(prefix="karaoke-test-", dir="/home"))
    words = Path(tempfile.mkdtemp(prefix="karaoke-words-"))
    os.chown(home, UID, UID)
    inode = home.stat().st_ino
    visible = sorted({ROOT, Path(sys.prefix), Path(sys.base_prefix).resolve()})
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private",
         "bash", SCRIPT, str(UID), home, words, *sorted(walls(visible)), "--", *visible],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    inner = 0
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        inner = int(until(children.read_text).split()[0])
        box = Sandbox(home, inner, words)
        until(lambda: box.run("systemctl", "--user", "is-system-running").stdout == "running\n")
        yield box
    finally:
        if inner:
            os.kill(inner, 9)  # the namespace's first process: all others go with it
        process.kill()
        process.wait()
        shutil.rmtree(home)
        shutil.rmtree(words)
        _remove_groups(f"karaoketest-{inode}.slice")


def _remove_groups(name: str) -> None:
    hierarchies = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")]
    for group in [group for hierarchy in hierarchies for group in hierarchy.glob(name)]:
        until(lambda group=group: _removed(group), "its processes are gone", 5)


def _removed(group: Path) -> bool:
    inside = [folder for folder in group.rglob("*") if folder.is_dir()]
    for folder in [*sorted(inside, reverse=True), group]:
        with contextlib.suppress(OSError):  # its last process is still on its way out
            folder.rmdir()
    return not group.exists()
