"""The server, account and API key that wandb itself would use: environment, netrc, settings.

The key is held in memory alone. It is never written, logged or shown.
"""

from __future__ import annotations

import configparser
import netrc
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

DEFAULT_URL: Final = "https://api.wandb.ai"


@dataclass(frozen=True, slots=True)
class Login:
    """Where to upload, as whom. source: where the key was found, empty when there is none."""

    base_url: str
    entity: str
    key: str = field(default="", repr=False)
    source: str = ""
    warning: str = ""  # a key that others on this machine can read, say


def find_login(
    env: Mapping[str, str] = os.environ, *, base_url: str = "", entity: str = ""
) -> Login:
    """The login in force. `base_url` and `entity` given here win over wandb's own places."""
    settings = _wandb_settings(env)
    url = base_url or env.get("WANDB_BASE_URL") or settings.get("base_url") or DEFAULT_URL
    who = entity or env.get("WANDB_ENTITY") or settings.get("entity", "")
    url = url.rstrip("/")
    if key := env.get("WANDB_API_KEY"):
        return Login(url, who, key, "WANDB_API_KEY")
    path = _netrc_path(env)
    if key := _netrc_key(path, url):
        return Login(url, who, key, str(path), _exposed(path))
    return Login(url, who)


def _wandb_settings(env: Mapping[str, str]) -> Mapping[str, str]:
    folder = Path(env.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder / "settings", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}  # wandb itself warns of it
    return dict(parser["default"]) if parser.has_section("default") else {}


def _netrc_path(env: Mapping[str, str]) -> Path:
    if named := env.get("NETRC"):
        return Path(named).expanduser()
    usual = Path("~/.netrc").expanduser()
    other = Path("~/_netrc").expanduser()
    return other if other.exists() and not usual.exists() else usual


def _netrc_key(path: Path, base_url: str) -> str:
    try:
        logins = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):
        return ""
    host = urlsplit(base_url)
    found = logins.authenticators(host.netloc) or logins.authenticators(host.hostname or "")
    return (found[2] or "") if found else ""


def _exposed(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return f"{path} holds an API key that others on this machine can read: chmod 600 {path}"
    return ""
