"""What could keep records from arriving: one finding per check, each with its remedy.

Checks look and never change anything, but for empty files that show whether a folder takes locks,
and the local store records, which are removed again.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.lock import Held, Lock, holder_of
from karaoke_train.runlog.plain_text import one_line
from karaoke_train.runlog.regular_file import user_name
from syncd import paths
from syncd.destination.base import Destination, Finding
from syncd.destination.registry import stores
from syncd.errors import Exit
from syncd.report.status import spoken
from syncd.report.verdict import ABOUT_SILENCE
from syncd.service import supervision, systemd, unit_file
from syncd.service.folders import is_watched
from syncd.settings import Settings
from syncd.source import watcher
from syncd.source.folder_tree import folders
from syncd.source.scanner import LogScanner, UnusableFile
from syncd.state import daemon_report, lease
from syncd.state.lease import lease_folder

PACKAGES: Final = (
    *("karaoke-train", "wandb", "click", "filelock", "orjson", "pillow", "rich"),
    *("urllib3", "watchdog"),
)
LOW_SPACE: Final = 1 << 30  # bytes
NO_SPACE: Final = 50 << 20
FEW_WATCHES: Final = 1024
FEW_INSTANCES: Final = 16
_LOCKS_OF_OTHERS: Final = (
    "If that is no daemon of yours, it keeps yours from uploading: set lock_dir to a folder in "
    "which you alone may write, and restart the daemon"
)
LEVELS: Final = ("ok", "warning", "error")
SCHEMA: Final = 1


Check = Callable[[Settings, Destination], Iterable[Finding]]


def examine(
    settings: Settings, destination: Destination, *others: Destination
) -> Iterator[Finding]:
    """All findings, as the checks come to them. A check that fails is a finding itself. others:
    further destinations, which are asked what they know themselves."""
    first: list[tuple[Check, Destination]] = [(check, destination) for check in CHECKS]
    for check, asked in [*first, *((_destination, other) for other in others)]:
        try:
            yield from check(settings, asked)
        except Exception as error:
            name = check.__name__.strip("_")
            yield Finding(name, "warning", f"could not be checked: {one_line(repr(error), 200)}")


def exit_code(findings: Iterable[Finding]) -> Exit:
    """By the worst of them."""
    levels = {finding.level for finding in findings}
    if "error" in levels:
        return Exit.ERRORS
    return Exit.WARNINGS if "warning" in levels else Exit.OK


def to_json(findings: list[Finding]) -> dict[str, Any]:
    """The stable schema of `doctor --json`: keys are added, never changed or removed."""
    code = exit_code(findings)
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "exit": code.name.lower(),
        "findings": [finding._asdict() for finding in findings],
    }


def _python(settings: Settings, destination: Destination) -> Iterable[Finding]:
    yield Finding("python", "ok", f"Python {platform.python_version()}, {sys.executable}")


def _packages(settings: Settings, destination: Destination) -> Iterable[Finding]:
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, known in found.items() if not known]
    if missing:
        remedy = "pip install --force-reinstall karaoke-train"
        yield Finding("packages", "error", f"missing: {', '.join(missing)}", remedy)
    words = ", ".join(f"{name} {known}" for name, known in found.items() if known)
    yield Finding("packages", "ok", words)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _settings(settings: Settings, destination: Destination) -> Iterable[Finding]:
    path = paths.config_file()
    words = str(path) if path.exists() else f"defaults; there is no {path}"
    yield Finding("settings", "ok", words)


def _log_folders(settings: Settings, destination: Destination) -> Iterable[Finding]:
    for folder in settings.log_dir:
        if os.path.lexists(folder) and not os.path.isdir(folder):  # noqa: PTH112  raises for none
            remedy = "Name the folder that it is in with --log_dir"
            yield Finding("log_dir", "error", f"{folder} is no folder", remedy)
            continue
        if not os.path.isdir(folder):  # noqa: PTH112
            remedy = "Nothing, if training will make it; else name the right one with --log_dir"
            yield Finding("log_dir", "warning", f"{folder} does not exist yet", remedy)
            continue
        if not os.access(folder, os.R_OK | os.X_OK):
            owner = folder.stat().st_uid
            who = "u" if owner == os.geteuid() else "o"
            remedy = f"Make it readable: chmod {who}+rx {shlex.quote(str(folder))}"
            if who == "o":
                remedy += f", which is for {user_name(owner)} to do, whose it is"
            yield Finding("log_dir", "error", f"{folder} can't be read", remedy)
            continue
        kind = watcher.filesystem(folder) or "unknown"
        how = watcher.method(folder) if settings.watcher == "auto" else settings.watcher
        why = (
            "which shows other machines' writes to nobody"
            if kind in watcher.BLIND
            else "which tells of writes"
        )
        words = f"{folder} is on {kind}, {why}: watched by {how}"
        if settings.recursive:
            words += _below(folder, how)
        yield Finding("log_dir", "ok", words if settings.watcher == "auto" else f"{words} (set)")
        yield from _lock(lease_folder(folder, settings.lock_dir), "log_dir_lock", folder)
        yield _space(folder, "log_dir_space")
    folders_in_use = folders(settings.log_dir, recursive=settings.recursive)
    for found in LogScanner().scan(folders_in_use):
        if isinstance(found, UnusableFile) and found.path not in folders_in_use and found.code:
            yield Finding("log_file", "error", f"{found.path}: {found.problem}", found.remedy)


def _below(folder: Path, how: str) -> str:
    """How the folders below one are watched."""
    found, most = watcher.count_below(folder), watcher.most_watched(how)
    if found > most:
        return f", with {most:,} of the {found:,} folders below it; the others are looked at later"
    return f", with {found:,} folders below it"


def _inotify(settings: Settings, destination: Destination) -> Iterable[Finding]:
    limits = Path("/proc/sys/fs/inotify")
    if not limits.is_dir():
        return
    watches, instances = (
        int((limits / name).read_text()) for name in ("max_user_watches", "max_user_instances")
    )
    words = f"{watches:,} watches and {instances:,} instances are allowed"
    more = (
        f"sudo sysctl fs.inotify.max_user_watches={max(65536, 2 * watches)} "
        f"fs.inotify.max_user_instances={max(128, 2 * instances)}"
    )
    if problem := watcher.no_inotify():
        yield Finding("inotify", "warning", f"{problem}: folders are polled; {words}", more)
    elif watches < FEW_WATCHES or instances < FEW_INSTANCES:
        yield Finding("inotify", "warning", f"only {words}; polling stands in", more)
    else:
        yield Finding("inotify", "ok", words)


def _state_folder(settings: Settings, destination: Destination) -> Iterable[Finding]:
    folder = settings.state_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = f"Make it writable (chmod u+wx {shlex.quote(str(there))}), or set XDG_STATE_HOME"
        yield Finding("state_dir", "error", f"{folder} can't be written", remedy)
        return
    yield Finding("state_dir", "ok", str(folder))
    kind = watcher.filesystem(there)
    if kind in watcher.BLIND:
        remedy = "Set XDG_STATE_HOME to a folder of this machine, or stop the daemons elsewhere"
        words = f"it is on {kind}: machines that share it have one daemon between them"
        yield Finding("state_dir", "warning", words, remedy)
    if folder.exists():
        yield from _lock(folder, "state_dir_lock", folder)
    yield _space(there, "state_dir_space")


def _lock(folder: Path, check: str, said: Path) -> Iterable[Finding]:
    """Whether a lock in the folder can be taken, and is seen from beside."""
    place = folder if folder.is_dir() else folder.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as scratch:
            lock, rival = Lock(Path(scratch, "lock")), Lock(Path(scratch, "lock"))
            lock.acquire()
            try:
                rival.acquire()
            except Held:
                soft = " (by leases: the file system has no locks)" if lock.soft else ""
                yield Finding(check, "ok", f"locks work in {said}{soft}")
            else:
                rival.release()
                remedy = "Mount it with locks, or run one daemon alone on it"
                yield Finding(check, "error", f"locks in {said} keep nobody out", remedy)
            finally:
                lock.release()
    except OSError as error:
        remedy = "Uploads work all the same, but let only one machine's daemon watch it"
        if check == "log_dir_lock":
            remedy += ", or name a folder in which all of them can write: lock_dir in config.toml"
        yield Finding(check, "warning", f"no lock in {said}: {error.strerror}", remedy)


def _space(folder: Path, check: str) -> Finding:
    free = shutil.disk_usage(folder).free
    words = f"{free / (1 << 30):,.1f} GiB are free for {folder}"
    if free < LOW_SPACE:
        level = "error" if free < NO_SPACE else "warning"
        return Finding(check, level, f"only {words}", "Make room; training's records wait for it")
    return Finding(check, "ok", words)


def _destination(settings: Settings, destination: Destination) -> Iterable[Finding]:
    """What the destination itself knows could be in the way."""
    yield from destination.checks()
    if destination.identity.key_from_environment and systemd.state().installed:
        what = "the key is in this shell's environment, which the service does not see"
        yield Finding("credentials", "warning", what, "Run `wandb login`, or see docs/service.md")


def _service(settings: Settings, destination: Destination) -> Iterable[Finding]:
    state = systemd.state()
    if state.manager:
        remedy = "karaoke-syncd start --detach runs it without"
        yield Finding("service", "ok", f"no systemd service: {state.manager}", remedy)
        return
    if not state.installed:
        remedy = "karaoke-syncd service install --log_dir DIR"
        yield Finding("service", "warning", "the service is not installed", remedy)
        return
    if not state.enabled:
        remedy = f"systemctl --user enable {unit_file.NAME}"
        yield Finding("service", "warning", "the service does not start by itself", remedy)
    for folder in stores(settings):
        if not unit_file.may_write(folder):
            what = f"the service's sandbox does not let it write in {folder}: no record goes there"
            yield Finding("store", "error", what, "karaoke-syncd service install, which names it")
    problem, mend = systemd.program_problem()
    if problem:
        level = "warning" if state.runs else "error"  # what runs, runs on till then
        yield Finding("program", level, f"the service can't start: {problem}", mend)
    if not state.runs:
        remedy = "karaoke-syncd service restart; its words: karaoke-syncd service logs"
        yield Finding("service", "error", f"the service is {state.active}", remedy)
    else:
        yield Finding("service", "ok", f"active, process {state.pid}: {state.words}")
    if state.restarts:
        words = f"it was restarted {state.restarts} times"
        yield Finding("service", "warning", words, "karaoke-syncd service logs says why")
    if not state.linger:
        remedy = "loginctl enable-linger"
        yield Finding("linger", "warning", "systemd stops the service when you log out", remedy)
    else:
        yield Finding("linger", "ok", "the service runs on when you log out")


def _daemon(settings: Settings, destination: Destination) -> Iterable[Finding]:
    holder = lease.daemon_of(settings.state_dir)
    if not holder:
        remedy = "karaoke-syncd start --detach"
        if not systemd.unavailable():
            remedy = f"karaoke-syncd service install, or {remedy}"
        yield Finding("daemon", "warning", "no daemon is running", remedy)
        return
    report = daemon_report.load(settings.state_dir)
    if silent := daemon_report.hung_for(report, holder):
        words = f"the daemon has not reported for {spoken(silent)}: {holder}"
        yield Finding("daemon", "error", words, ABOUT_SILENCE)
    else:
        yield Finding("daemon", "ok", str(holder))
    for folder in settings.log_dir:
        if not is_watched(folder, report):
            flag = f"--log_dir {shlex.quote(str(folder))}"
            remedy = f"karaoke-syncd service install {flag}, or start with it"
            yield Finding("daemon", "warning", f"it does not watch {folder}", remedy)
        if supervision.read_only(folder):
            yield Finding("daemon", "warning", f"{folder} is mounted read-only: no lease there")


def _leases(settings: Settings, destination: Destination) -> Iterable[Finding]:
    """Runs that other machines' daemons upload."""
    ours = lease.daemon_of(settings.state_dir)
    there = folders(settings.log_dir, recursive=settings.recursive)
    for folder in dict.fromkeys(lease_folder(at, settings.lock_dir) for at in there):
        for path in _leases_in(folder):
            holder = holder_of(path)
            if not holder or (ours and (holder.host, holder.pid) == (ours.host, ours.pid)):
                continue
            words = f"{_run_and_place(path)} by {holder}"
            if holder.user:
                yield Finding("leases", "warning", words, _LOCKS_OF_OTHERS)
            else:
                yield Finding("leases", "ok", words)


def _leases_in(folder: Path) -> Sequence[Path]:
    """None of a folder that can't be looked into, which is a finding of its own."""
    try:
        return sorted(folder.glob("*.lease"))
    except OSError:
        return ()


def _run_and_place(path: Path) -> str:
    run_id, _, place = path.stem.partition(".")
    return f"{run_id} is uploaded to {place}"


CHECKS: Final[tuple[Check, ...]] = (
    _python,
    _packages,
    _settings,
    _log_folders,
    _inotify,
    _state_folder,
    _destination,
    _service,
    _daemon,
    _leases,
)
