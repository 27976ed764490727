"""The unit file of `service install`: the shipped template, filled in for this installation."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from syncd import paths
from syncd.errors import SyncError

NAME: Final = "karaoke-syncd.service"
GROWING_DELAYS: Final = 254  # the systemd that knows RestartSteps
# What a user manager can do in a user namespace alone; without one it either leaves it out in
# silence or does not start the service (measured with systemd 252: exit statuses 217, 218, 226)
NEEDS_NAMESPACE: Final = frozenset(
    {
        *("PrivateUsers", "PrivateMounts", "ProtectSystem", "ProtectHome", "ReadWritePaths"),
        *("TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths"),
        *("InaccessiblePaths", "PrivateTmp", "PrivateDevices", "DevicePolicy", "ProtectHostname"),
        *("ProtectClock", "ProtectControlGroups", "ProtectKernelLogs", "ProtectKernelModules"),
        *("ProtectKernelTunables", "CapabilityBoundingSet"),
    }
)
# Not secret, and the service has to see them as the commands of this shell do
KEPT: Final = (
    *("XDG_CONFIG_HOME", "XDG_STATE_HOME"),
    *("TRACKIO_DIR", "HF_HOME", "XDG_CACHE_HOME"),  # where the local dashboard's store is
    *("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_CONFIG_DIR", "NETRC"),
)
_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')  # of a command line, as `quoted` writes it
TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))


@dataclass(frozen=True, slots=True)
class Installation:
    """What a unit is made for. arguments: after `start`; writable: folders for state and logs;
    program: folders that the program runs from; env_file: of variables for the service;
    namespaces: whether users may have user namespaces; systemd: its version."""

    command: Sequence[str]
    arguments: Sequence[str] = ()
    writable: Sequence[Path] = ()
    program: Sequence[Path] = ()
    env_file: Path = Path("~/.config/karaoke-syncd/env")
    environment: Mapping[str, str] = field(default_factory=dict)
    namespaces: bool = True
    systemd: int = 0


def render(template: str, installation: Installation) -> str:
    """The unit file's text."""
    out: list[str] = []
    for line in template.splitlines():
        key = line.partition("=")[0]
        if key in NEEDS_NAMESPACE and not installation.namespaces:
            continue
        out += _lines(key, line, installation)
    return "\n".join(out) + "\n"


def _lines(key: str, line: str, installation: Installation) -> list[str]:
    match key:
        case "ExecStart":
            words = [*installation.command, "start", *installation.arguments]
            environment = [
                f"Environment={quoted(f'{name}={value}', dollars=False)}"
                for name, value in installation.environment.items()
            ]
            return [f"ExecStart={' '.join(map(quoted, words))}", *environment]
        case "EnvironmentFile":
            # the one line that takes a path as it is, without quotes
            return ["EnvironmentFile=-" + str(installation.env_file).replace("%", "%%")]
        case "ReadWritePaths":
            writable = [quoted(f"-{path}", dollars=False) for path in installation.writable]
            return [f"ReadWritePaths={' '.join(writable)}"]
        case "PrivateTmp" if any(map(_is_temporary, installation.writable)):
            return ["# not PrivateTmp: a log folder is in there"]
        case "PrivateTmp" if shown := list(filter(_is_temporary, installation.program)):
            bound = [quoted(str(path), dollars=False) for path in shown]
            return [line, f"BindReadOnlyPaths={' '.join(bound)}"]  # or nothing could be run
        case "TemporaryFileSystem" if any(map(_is_of_the_session, installation.writable)):
            return ["# not hidden: a log folder is in there"]
        case "RestartSec" if installation.systemd >= GROWING_DELAYS:
            return [line, "RestartSteps=6", "RestartMaxDelaySec=5min"]
        case _:
            return [line]


def quoted(word: str, *, dollars: bool = True) -> str:
    """A word for a unit file: systemd.service(5), "Command lines"; specifiers are escaped, and
    `dollars` where variables are expanded."""
    if any(ord(character) < 32 for character in word):
        raise SyncError(
            "a name with control characters can't be in a unit file",
            where=repr(word),
            meaning="The service was not installed",
            remedy="Give the file or folder a plain name",
        )
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    text = text.replace("$", "$$") if dollars else text
    plain = text == word and not any(character in " ';#" for character in word)
    return text if plain and word else f'"{text}"'


def template() -> str:
    """The shipped unit. Raises SyncError when the installation has lost it."""
    beside = Path(__file__).parents[2] / "systemd" / NAME  # a source tree
    for path in (beside, *_installed()):
        if path.is_file():
            return path.read_text("utf-8")
    raise SyncError(
        f"share/systemd/user/{NAME} is missing from this installation",
        remedy="Install karaoke-train again",
    )


def _installed() -> list[Path]:
    """Where pip has put the unit, whichever the scheme: it wrote that down."""
    from importlib.metadata import PackageNotFoundError, files  # a twentieth of `status`

    try:
        known = files("karaoke-train") or []
    except PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in known if file.name == NAME]


def program() -> list[Path]:
    """The folders that this very environment runs from."""
    package = Path(__file__).parents[2]
    return sorted({Path(sys.prefix), Path(sys.base_prefix).resolve(), package})


def path() -> Path:
    """Where the user's unit belongs."""
    return paths.unit_file(NAME)


def installed(flag: str) -> list[str]:
    """The values of a flag that the installed unit hands to its daemon, `log_dir` say; none where
    it can't be read."""
    start = f"--{flag}="
    return [word.removeprefix(start) for word in installed_command() if word.startswith(start)]


def installed_command() -> list[str]:
    """What the installed unit runs, word by word; nothing where it can't be read."""
    try:
        text = path().read_text("utf-8")
    except (OSError, ValueError):
        return []
    start = next((line for line in text.splitlines() if line.startswith("ExecStart=")), "")
    return list(map(_unquoted, _WORD.findall(start.removeprefix("ExecStart="))))


def may_write(folder: Path) -> bool:
    """Whether the installed unit's sandbox lets the daemon write in the folder, by the unit and its
    drop-ins. So does one without a sandbox, or that can't be read."""
    lines = [line.strip() for text in _texts() for line in text.splitlines()]
    if "ProtectSystem=strict" not in lines:
        return True
    named = [line.partition("=")[2] for line in lines if line.startswith("ReadWritePaths=")]
    home = str(Path.home())
    words = [word.replace("%h", home) for value in named for word in _WORD.findall(value)]
    open_to_it = [Path(_unquoted(word).lstrip("-+")).resolve() for word in words]
    return any(folder.resolve().is_relative_to(place) for place in open_to_it)


def _texts() -> list[str]:
    """The unit, and what `systemctl --user edit` has put beside it; nothing where there is none."""
    unit = path()
    try:
        drop_ins = sorted(unit.with_name(f"{NAME}.d").glob("*.conf"))
        return [file.read_text("utf-8") for file in (unit, *drop_ins)]
    except (OSError, ValueError):
        return []


def _unquoted(word: str) -> str:
    """The word that `quoted` made this of."""
    text = word[1:-1] if word.startswith('"') else word
    return re.sub(r"\\\\|\\\"|%%|\$\$", lambda pair: pair.group()[1], text)


def kept_environment(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of this shell that the service has to have, too."""
    settings = [name for name in sorted(env) if name.startswith("KARAOKE_SYNCD_")]
    kept = {name: env[name] for name in (*KEPT, *settings) if env.get(name)}
    servers = {"WANDB_BASE_URL", "KARAOKE_SYNCD_BASE_URL"} & kept.keys()
    return kept | {name: _without_login(kept[name]) for name in servers}


def _without_login(url: str) -> str:
    try:
        return paths.without_login(url)
    except ValueError:  # no address, which the daemon says
        return url


def _is_of_the_session(folder: Path) -> bool:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return runtime != "" and folder.is_relative_to(runtime)


def _is_temporary(folder: Path) -> bool:
    return any(folder.is_relative_to(temporary) for temporary in TEMPORARY)
