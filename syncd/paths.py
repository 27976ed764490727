"""Where files are that don't belong to a run: settings, state, the service's unit."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

NAME: Final = "karaoke-syncd"
# By the XDG rules (https://specifications.freedesktop.org/basedir-spec), on macOS, too, as wandb,
# git and most command line programs have it: what ~/.config/wandb says of the server and what our
# file says of it are found side by side
_XDG: Final = {"XDG_CONFIG_HOME": "~/.config", "XDG_STATE_HOME": "~/.local/state"}
_LONGEST: Final = 80  # characters of a folder's name


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """The settings: `$XDG_CONFIG_HOME/karaoke-syncd/config.toml`, TOML."""
    return _config_folder(env, NAME) / "config.toml"


def env_file(env: Mapping[str, str] = os.environ) -> Path:
    """Variables for the service, KEY=VALUE lines: systemd.exec(5), EnvironmentFile=."""
    return _config_folder(env, NAME) / "env"


def unit_file(name: str, env: Mapping[str, str] = os.environ) -> Path:
    """A systemd unit of this user: systemd.unit(5), "Unit File Load Path"."""
    return _config_folder(env, "systemd") / "user" / name


def state_folder(env: Mapping[str, str] = os.environ) -> Path:
    """What has to survive a crash: `$XDG_STATE_HOME/karaoke-syncd`. One daemon owns it."""
    return _folder(env, "XDG_STATE_HOME", NAME)


def destination_folder(state: Path, base_url: str) -> Path:
    """The part of a state folder that concerns one server, or one local store: cursors, failures,
    decisions."""
    url = urlsplit(without_login(base_url))
    place = url.netloc + url.path if url.scheme == "file" else url.netloc or base_url
    host = re.sub(r"[^A-Za-z0-9.-]", "_", place)
    if len(host) > _LONGEST:  # a store's whole path, and the name is part of a lease's, too
        host = f"{host[:_LONGEST]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    return state / "servers" / host


def without_login(url: str) -> str:
    """The address without `user:password@`: it is shown, and names a folder."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def make_private(folder: Path) -> None:
    """Make the folder, and those on the way to it that are missing, each for its owner alone,
    whatever the umask: `mkdir` makes those on the way for everybody, who could then put others in
    their place. Raises OSError."""
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
    except FileNotFoundError:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def daemon_log(state: Path) -> Path:
    """Where a detached daemon's log lines go; a service's go to the journal."""
    return state / "daemon.log"


def _config_folder(env: Mapping[str, str], app: str) -> Path:
    return _folder(env, "XDG_CONFIG_HOME", app)


def _folder(env: Mapping[str, str], variable: str, app: str) -> Path:
    """What the variable says, else its default: unset and empty are the same to the specification.
    A ~ stands for the home, which no shell expands in `env` and `Environment=`. platformdirs, which
    knows these places, too, takes a twentieth of a command's start."""
    named = env.get(variable)
    if named:
        return Path(named).expanduser() / app
    return Path(os.path.expanduser(_XDG[variable])) / app  # noqa: PTH111  raises for no home
