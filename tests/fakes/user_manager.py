"""A systemd user manager made of shell scripts, for what the commands ask of it and say of its
answers. What a real one makes of our unit is in tests/service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.service import systemd, unit_file

SYSTEMCTL = """#!/bin/sh
cd "{place}" || exit 9
shift 2  # --user --no-pager
echo "$*" >> calls
[ -e unreachable ] && {{ echo "Failed to connect to bus" >&2; exit 1; }}
[ "$1" = "$(cat refused 2>&-)" ] && {{ echo "Job failed. See the journal." >&2; exit 1; }}
case "$1" in
    --version) echo "systemd 252 (252.1)" ;;
    show)
        [ "$2" = --property=Version ] && {{ echo Version=252; exit; }}
        [ -e "{unit}" ] && echo LoadState=loaded || echo LoadState=not-found
        [ -e enabled ] && echo UnitFileState=enabled || echo UnitFileState=disabled
        echo "ActiveState=$(cat active)"
        case "$(cat active)" in
            active | reloading) echo "MainPID=$(cat pid)" ;;
            *) echo MainPID=0 ;;
        esac
        echo "StatusText=$(cat says)"
        echo "NRestarts=$(cat restarts)" ;;
    enable) touch enabled ;;
    start | restart) echo active > active ;;
    disable) rm -f enabled; echo inactive > active ;;
esac
"""
LOGINCTL = """#!/bin/sh
cd "{place}" || exit 9
echo "loginctl $*" >> calls
[ -e no-linger ] && {{ echo "Access denied" >&2; exit 1; }}
touch "linger/{user}"
"""
JOURNALCTL = """#!/bin/sh
for word in "$@"; do printf '%s|' "$word"; done
"""


class UserManager:
    """The manager, and what it was asked. `place` holds its state, a file each."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.bin = place / "bin"
        self.bin.mkdir(parents=True)
        (place / "linger").mkdir()
        (place / "run").mkdir()
        self.unit = unit_file.path()
        self.set(active="inactive", says="", restarts="0", pid="4321")
        how = {"place": place, "unit": self.unit, "user": "singer"}
        self.program("systemctl", SYSTEMCTL.format(**how))
        self.program("loginctl", LOGINCTL.format(**how))
        self.program("journalctl", JOURNALCTL)
        self.program("systemd-run", "#!/bin/sh\n")
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "run"))
        monkeypatch.setattr(systemd, "BOOTED", place / "run")
        monkeypatch.setattr(systemd, "LINGER", place / "linger")
        monkeypatch.setattr(systemd.getpass, "getuser", lambda: "singer")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def set(self, **state: str) -> None:
        """active, says, restarts, pid: what it shows of the service."""
        for name, value in state.items():
            (self.place / name).write_text(value)

    def refuse(self, verb: str) -> None:
        """From now on it fails when asked to do this."""
        (self.place / "refused").write_text(verb)

    def asked(self) -> list[str]:
        """What was to be done; questions are left out."""
        calls = self.place / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if not line.startswith(("show", "--version"))]
