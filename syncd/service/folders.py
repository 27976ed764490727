"""Which log folders a command means that names none: those of the daemon that runs, else those of
the installed service, else the default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syncd.service import unit_file
from syncd.settings import Settings
from syncd.state import daemon_report
from syncd.state.lease import daemon_of


def in_force(settings: Settings) -> Settings:
    """The settings, with the folders that are really watched where nobody named any."""
    if "log_dir" in settings.origin:
        return settings
    holder = daemon_of(settings.state_dir)
    report = daemon_report.load(settings.state_dir)
    if holder and report.pid == holder.pid and report.log_dir:
        return _with(settings, [Path(folder) for folder in report.log_dir], "the running daemon")
    if folders := unit_file.installed_log_dirs():
        return _with(settings, folders, "the installed service")
    return settings


def _with(settings: Settings, folders: list[Path], source: str) -> Settings:
    origin = {**settings.origin, "log_dir": source}
    return replace(settings, log_dir=tuple(folders), origin=origin)
