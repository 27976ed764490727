"""Where files are that don't belong to a run: settings, state, the service's unit."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

# By the XDG rules on macOS, too, as wandb, git and most command line programs have it: what
# ~/.config/wandb says of the server and what our file says of it are found side by side.
from platformdirs.unix import Unix

NAME: Final = "karaoke-syncd"
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
    return _folder(env, "XDG_STATE_HOME", NAME) or Unix(NAME).user_state_path


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


def daemon_log(state: Path) -> Path:
    """Where a detached daemon's log lines go; a service's go to the journal."""
    return state / "daemon.log"


def _config_folder(env: Mapping[str, str], app: str) -> Path:
    return _folder(env, "XDG_CONFIG_HOME", app) or Unix(app).user_config_path


def _folder(env: Mapping[str, str], variable: str, app: str) -> Path | None:
    """What the variable says; None where it's unset or empty, which the XDG specification takes
    for the same. platformdirs knows the process's own environment alone, and drops a value that
    begins with ~, which no shell expands in `env` and `Environment=`."""
    named = env.get(variable)
    return Path(named).expanduser() / app if named else None
