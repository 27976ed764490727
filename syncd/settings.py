"""What is in force: flags over environment over config.toml over defaults, and who said what."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.regular_file import read_text
from syncd import paths
from syncd.errors import UsageError
from syncd.failpoints import VARIABLE

# What set a setting, where neither a file nor the environment did: `Settings.origin` has it
BY_FLAG: Final = "command line"
BY_DAEMON: Final = "the running daemon"
BY_SERVICE: Final = "the installed service"
PREFIX: Final = "KARAOKE_SYNCD_"  # KARAOKE_SYNCD_LOG_DIR=logs:other/logs
WATCHERS: Final = ("auto", "inotify", "polling")
DESTINATIONS: Final = ("wandb", "trackio")
LANES: Final = ("auto", "direct", "sdk")
CONFIRM: Final = ("count", "answer")
_YES: Final = ("1", "true", "yes", "on")
_NO: Final = ("0", "false", "no", "off", "")
LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, how often, how long. Times in seconds."""

    open_runs: int = 4  # sessions at once: a process with wandb's SDK each, about 105 MiB
    open_streams: int = 512  # the same on the direct lane, where a session is a few kilobytes
    # lines sent at once; the next go when the server has confirmed these (1,000 by wandb's SDK)
    batch: int = 20_000
    count_stable_for: float = 5.0  # a run's count has to stand for so long before it's continued
    # no sign of life of a run that another file of its id is uploaded to: heartbeats come each 30 s
    heartbeat_timeout: float = 75.0
    confirm_first: float = 1.25  # after a send, to the first question
    confirm_lazy: float = 5.0  # the same, where each post has an answer of its own
    confirm_live: float = 10.0  # to the next question, where lines go on and on coming
    confirm_most: float = 8.0  # between questions while the count stands still
    request_timeout: float = 15.0  # until a server that says nothing counts as unreachable
    stall: float = 60.0  # the count stands still while lines wait: the session is dropped
    writer_check_after: float = 120.0  # no news, before the writer's lock is looked at
    # a session with nothing to do stays open while its writer lives
    idle_session_timeout: float = math.inf
    turn: float = 10.0  # of a session's time, after which it gives way to a run that waits for one
    takeover: float = 5.0  # between looks at a run that another daemon uploads, in case it dies
    largest_media: int = (
        100 << 20
    )  # bytes of a picture or sound; a larger one is left out, and named
    backoff_first: float = 1.0
    backoff_most: float = 300.0
    probe_every: float = 60.0  # between looks at a server that was reachable


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the daemon can be told. base_url, entity and project: empty leaves them to
    wandb's own settings, and to the runs."""

    log_dir: tuple[Path, ...] = (Path("logs"),)
    recursive: bool = False  # whether runs in folders below these are meant, too
    state_dir: Path = Path()
    lock_dir: Path | None = None  # of the runs' leases; beside the logs where none is set
    # where records go: each has cursors, connectivity and problems of its own
    destinations: tuple[str, ...] = ("wandb",)
    base_url: str = ""
    entity: str = ""
    project: str = ""
    watcher: str = "auto"
    # to wandb: its HTTP interface itself, its SDK in worker processes, or what fits the server
    lane: str = "auto"
    # what says that lines arrived: the server's count, or its answer to each post (at least once)
    confirm: str = "count"
    # what of configs is uploaded though it is named like a secret: names, or patterns (*_key)
    allow_config_keys: tuple[str, ...] = ()
    rescan: float = 5.0  # seconds between looks at the folders, since events get lost
    log_level: str = "info"
    on_event: str = ""  # a shell command that is given what happens to runs, as JSON
    silent_after: float = 30.0  # minutes without a record, until a run counts as silent there
    limits: Limits = field(default_factory=Limits)
    origin: Mapping[str, str] = field(default_factory=dict)  # setting -> what set it


def load(flags: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. A flag that is None wasn't given. Raises UsageError."""
    settings = Settings(state_dir=paths.state_folder(env))
    path = paths.config_file(env)
    settings = _with(settings, _file(path), str(path))
    named = {
        key[len(PREFIX) :].lower(): value
        for key, value in env.items()
        if key.startswith(PREFIX) and key != VARIABLE  # which is no setting
    }
    for key, value in named.items():
        settings = _with(settings, {key: value}, f"{PREFIX}{key.upper()}")
    given = {key: value for key, value in flags.items() if value is not None}
    settings = _with(settings, given, BY_FLAG)
    return replace(
        settings,
        log_dir=tuple(map(_absolute, settings.log_dir)),
        state_dir=_absolute(settings.state_dir),
        lock_dir=_absolute(settings.lock_dir) if settings.lock_dir else None,
    )


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        raise UsageError(
            "there's no such home folder",
            where=str(folder),
            remedy="Set HOME, or name the folder from / on (the state's by XDG_STATE_HOME)",
        ) from None


def _with(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    for key, value in values.items():
        if key == "limits" and isinstance(value, Mapping):
            for limit, number in value.items():
                settings = _with_limit(settings, limit, number, source)
        elif key in _LIMITS or key in _RENAMED:
            settings = _with_limit(settings, key, value, source)
        elif key in _READ:
            try:
                read = _READ[key](value)
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"{key} = {value!r} is not usable: {error}", where=source
                ) from None
            settings = replace(settings, **{key: read}, origin={**settings.origin, key: source})
        else:
            raise UsageError(
                f"there's no setting {key!r}",
                where=source,
                remedy=f"Known are {', '.join(sorted(_READ))} and limits: {', '.join(_LIMITS)}",
            )
    return settings


def _with_limit(settings: Settings, key: str, value: Any, source: str) -> Settings:
    key = _RENAMED.get(key, key)
    if key not in _LIMITS:
        known = ", ".join(_LIMITS)
        raise UsageError(f"there's no limit {key!r}", where=source, remedy=f"Known are {known}")
    try:
        number = _read_limit(key)(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{key} = {value!r} is not usable: {error}", where=source) from None
    limits = replace(settings.limits, **{key: number})
    return replace(settings, limits=limits, origin={**settings.origin, key: source})


def _file(path: Path) -> Mapping[str, Any]:
    try:
        text = read_text(path)
        import tomllib  # where there is a file to read

        return tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise UsageError(f"can't be read: {error}", where=str(path)) from None
    except RecursionError:
        raise UsageError("can't be read: it is nested too deep", where=str(path)) from None


def _folders(value: Any) -> tuple[Path, ...]:
    if isinstance(value, str):
        value = [part for part in value.split(os.pathsep) if part]
    if isinstance(value, Path):
        value = [value]
    if not value:
        raise ValueError("at least one folder is needed")
    return tuple(Path(part) for part in value)


def _destinations(value: Any) -> tuple[str, ...]:
    names = value.replace(",", " ").split() if isinstance(value, str) else value
    read = _one_of(DESTINATIONS)
    if not names:
        raise ValueError("at least one is needed")
    return tuple(dict.fromkeys(read(name) for name in names))


def _names(value: Any) -> tuple[str, ...]:
    """As a list, or as one text with colons between them, as folders are."""
    names = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("it has to be a list of names")
    return tuple(name for name in names if name)


def _yes_or_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if (word := str(value).lower()) not in (*_YES, *_NO):
        raise ValueError("it has to be true or false")
    return word in _YES


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if str(value).lower() not in choices:
            raise ValueError(f"it has to be one of {', '.join(choices)}")
        return str(value).lower()

    return read


def _read_limit(key: str) -> Callable[[Any], Any]:
    if isinstance(_LIMITS[key], int):
        return _whole
    return _time if key in _ENDLESS else _end


def _time(value: Any) -> float:
    """Seconds or minutes, infinite ones included, and no more than a thread can wait for else."""
    if isinstance(value, bool):
        raise ValueError("it has to be a number")
    if not (time := float(value)) > 0:
        raise ValueError("it has to be more than 0")
    if threading.TIMEOUT_MAX < time < math.inf:
        raise ValueError(f"it has to be at most {threading.TIMEOUT_MAX:.0f}")
    return time


def _end(value: Any) -> float:
    """The same, finite."""
    if (time := _time(value)) == math.inf:
        raise ValueError("it has to end at some time")
    return time


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not float(value).is_integer():
        raise ValueError("it has to be a whole number")
    if not (number := int(float(value))) > 0:
        raise ValueError("it has to be more than 0")
    return number


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "log_dir": _folders,
    "recursive": _yes_or_no,
    "state_dir": Path,
    "lock_dir": lambda value: Path(value) if str(value) else None,
    "destinations": _destinations,
    "base_url": str,
    "entity": str,
    "project": str,
    "watcher": _one_of(WATCHERS),
    "lane": _one_of(LANES),
    "confirm": _one_of(CONFIRM),
    "allow_config_keys": _names,
    "rescan": _end,
    "log_level": _one_of(LEVELS),
    "on_event": str,
    "silent_after": _time,
}
# what 0.1.0 called them: files and scripts that say so go on to work
_RENAMED: Final = {
    "settle": "count_stable_for",
    "answer": "request_timeout",
    "quiet": "writer_check_after",
    "linger": "idle_session_timeout",
}
_ENDLESS: Final = ("idle_session_timeout",)  # where infinite means never
_LIMITS: Final = {item.name: getattr(Limits(), item.name) for item in fields(Limits)}
