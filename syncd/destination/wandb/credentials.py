"""The server, account and API key that wandb itself would use: environment, netrc, settings.

Two places more, for the service: a systemd credential, and the environment file that its unit
reads, which the other commands read as well so that all see the same login. The key is held in
memory alone. It is never written, logged or shown.
"""

from __future__ import annotations

import hashlib
import netrc
import os
import shlex
import stat
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from karaoke_train.runlog.regular_file import UnsafeFile, check_not_waited_for, read_text
from syncd import paths
from syncd.destination.wandb import certificates
from syncd.errors import UsageError

DEFAULT_URL: Final = "https://api.wandb.ai"
_NETRCS: Final = (Path("~/.netrc"), Path("~/_netrc"))  # the first that is there
_URL_LOGIN: Final = (
    "the login in the server's address is not used, the API key alone is: take it out of "
    "WANDB_BASE_URL or base_url"
)
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
CREDENTIAL: Final = "wandb-api-key"  # LoadCredential=wandb-api-key:PATH


@dataclass(frozen=True, slots=True)
class Login:
    """Where to upload, as whom. source: where the key was found, empty when there is none."""

    base_url: str
    entity: str
    key: str = field(default="", repr=False)
    source: str = ""
    warning: str = ""  # a key that others on this machine can read, say

    @property
    def key_digest(self) -> str:
        """Changes with the key, and tells nothing of it."""
        return hashlib.sha256(self.key.encode(errors="surrogateescape")).hexdigest()[:16]


def host_flag(base_url: str) -> str:
    """What `wandb login` has to be told of the server; nothing of wandb's own."""
    return "" if base_url == DEFAULT_URL else f" --host {base_url}"


def login_remedy(base_url: str) -> str:
    """What to do where nobody is logged in."""
    return f"Run `wandb login{host_flag(base_url)}`, or set WANDB_API_KEY"


def find_login(
    env: Mapping[str, str] = os.environ, *, base_url: str = "", entity: str = ""
) -> Login:
    """The login in force. `base_url` and `entity` given here win over wandb's own places.

    Raises UsageError for a server that is no web address.
    """
    file = paths.env_file(env)
    filed, unread_file = _env_file(file)
    named = {**filed, **env}
    settings, unread_settings = _wandb_settings(named)
    unread = unread_file or unread_settings
    url = base_url or named.get("WANDB_BASE_URL") or settings.get("base_url") or DEFAULT_URL
    who = entity or named.get("WANDB_ENTITY") or settings.get("entity", "")
    url, has_login = _checked(url.rstrip("/"))
    ignored = _URL_LOGIN if has_login else unread
    if key := env.get("WANDB_API_KEY"):
        return Login(url, who, key, "WANDB_API_KEY", ignored or _filed_warning(file, filed))
    if key := _credential(env):
        return Login(url, who, key, f"systemd credential {CREDENTIAL}", ignored)
    if key := filed.get("WANDB_API_KEY"):
        return Login(url, who, key, str(file), ignored or _exposed(file))
    path = _netrc_path(named)
    key, damaged = _netrc_key(path, url)
    if key:
        return Login(url, who, key, str(path), ignored or _exposed(path))
    return Login(url, who, warning=ignored or damaged)


def _checked(url: str) -> tuple[str, bool]:
    """The address without a login, and whether it had one: requests have the API key as theirs,
    and an address is shown, and names a folder. Raises UsageError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"the server {url!r} is no web address",
            meaning="Nothing is uploaded anywhere",
            remedy="Set WANDB_BASE_URL or base_url to one like https://wandb.example.org",
        )
    return paths.without_login(url), "@" in parts.netloc


def read_env_file(path: Path) -> Mapping[str, str]:
    """Its variables; none when it is missing or can't be read."""
    return _env_file(path)[0]


def _env_file(path: Path) -> tuple[Mapping[str, str], str]:
    """The same, and what keeps it from being read."""
    text, unread = _text_of(path)
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line[:1] not in ("#", ";"))
    found = {key.strip(): value.strip().strip("\"'") for key, found, value in pairs if found}
    return found, unread


def _text_of(path: Path) -> tuple[str, str]:
    """What the file holds, and what keeps it from being read, each empty for none."""
    try:
        return read_text(path), ""
    except (FileNotFoundError, NotADirectoryError):
        return "", ""
    except (OSError, UnicodeDecodeError) as error:
        why, remedy = _why(error)
        return "", f"{path} is not read, {why}: {remedy}"


def _why(error: OSError | UnicodeDecodeError) -> tuple[str, str]:
    if isinstance(error, UnicodeDecodeError):
        return "which is not UTF-8", "save it as UTF-8"
    remedy = "put a file in its place" if isinstance(error, UnsafeFile) else "make it readable"
    return f"as {error.strerror}", remedy


def files(env: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The files that a login may come from, whether they are there or not."""
    file = paths.env_file(env)
    named = {**read_env_file(file), **env}
    netrcs = [_netrc_path(named)] if named.get("NETRC") else map(Path.expanduser, _NETRCS)
    return (file, _settings_path(named), *netrcs)


def stale_variables(env: Mapping[str, str] = os.environ) -> list[str]:
    """The variables of the environment file that this process has not: they are a manager's to
    hand over, at a start. Those of wandb's are read from the file itself."""
    filed = read_env_file(paths.env_file(env))
    return [
        name
        for name, value in filed.items()
        if not name.startswith("WANDB_") and env.get(name) != value
    ]


def take_network_from_file(env: MutableMapping[str, str]) -> None:
    """Bring proxies and certificate authorities of the environment file into force, as a manager
    does for the service, where the environment says nothing of them."""
    filed = read_env_file(paths.env_file(env))
    if not any(env.get(name) for name in certificates.NAMES):
        env.update({name: filed[name] for name in certificates.NAMES if filed.get(name)})
    given = {name.lower() for name in env}
    if "all_proxy" in given:  # of the two, a scheme's own would win
        given |= {"http_proxy", "https_proxy"}
    for name, value in filed.items():
        if value and name.lower() in _PROXIES - given:
            env[name] = value


def leave_to_file(env: MutableMapping[str, str]) -> None:
    """Take out of a daemon's environment what its manager took from the environment file, so that
    a reload finds what the file says by then."""
    for key, value in read_env_file(paths.env_file(env)).items():
        if key.startswith("WANDB_") and env.get(key) == value:
            del env[key]


def _filed_warning(file: Path, filed: Mapping[str, str]) -> str:
    return _exposed(file) if "WANDB_API_KEY" in filed else ""


def _credential(env: Mapping[str, str]) -> str:
    """The key that LoadCredential= of the unit hands over: systemd.exec(5)."""
    folder = env.get("CREDENTIALS_DIRECTORY")
    return _text_of(Path(folder, CREDENTIAL))[0].strip() if folder else ""


def _wandb_settings(env: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """What they say, and what keeps them from being read."""
    text, unread = _text_of(_settings_path(env))
    if not text:
        return {}, unread
    import configparser  # where there is a file to read

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}, ""  # wandb itself warns of it
    return (dict(parser["default"]) if parser.has_section("default") else {}), ""


def _settings_path(env: Mapping[str, str]) -> Path:
    return Path(env.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser() / "settings"


def _netrc_path(env: Mapping[str, str]) -> Path:
    if named := env.get("NETRC"):
        return Path(named).expanduser()
    usual, other = map(Path.expanduser, _NETRCS)
    return other if other.exists() and not usual.exists() else usual


def _netrc_key(path: Path, base_url: str) -> tuple[str, str]:
    """The key for the server, and what keeps the file from being read, each empty for none."""
    try:
        check_not_waited_for(path)
        logins = netrc.netrc(path)
    except (FileNotFoundError, NotADirectoryError):
        return "", ""
    except (OSError, UnicodeDecodeError) as error:
        why, remedy = _why(error)
        return "", f"no API key is taken from {path}, {why}: {remedy}"
    except netrc.NetrcParseError as error:  # its words may quote a password
        wrong = f"no API key is taken from {path}, which can't be understood"
        return "", f"{wrong}: mend line {error.lineno}" if error.lineno else f"{wrong}: mend it"
    host = urlsplit(base_url)
    found = logins.authenticators(host.netloc) or logins.authenticators(host.hostname or "")
    return (found[2] or "") if found else "", ""


def _exposed(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        words = f"{path} holds an API key that others on this machine can read"
        return f"{words}: chmod 600 {shlex.quote(str(path))}"
    return ""
