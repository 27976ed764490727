"""Which log folders, project and destinations a command means that names none: those of the daemon
that runs, else those of the installed service, else the defaults. Which folders it watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from syncd.service import unit_file
from syncd.settings import BY_DAEMON, BY_SERVICE, Settings
from syncd.source.folder_tree import DEEPEST, is_left_out
from syncd.state import daemon_report
from syncd.state.daemon_report import DaemonReport
from syncd.state.lease import daemon_of


def in_force(settings: Settings) -> Settings:
    """The settings, with the folders that are really watched where nobody named any, and with the
    project and the destinations that they are uploaded to."""
    report = daemon_report.load(settings.state_dir)
    runs = report.is_by(daemon_of(settings.state_dir))
    if runs and report.destinations:
        settings = _with(settings, "destinations", report.destinations, BY_DAEMON)
    elif kinds := unit_file.installed("destination"):
        settings = _with(settings, "destinations", tuple(kinds), BY_SERVICE)
    if runs and report.project:
        settings = _with(settings, "project", report.project, BY_DAEMON)
    elif not runs and (named := unit_file.installed("project")):
        settings = _with(settings, "project", named[-1], BY_SERVICE)
    if runs and report.log_dir:
        return _with_folders(settings, report.log_dir, report.recursive, BY_DAEMON)
    if folders := unit_file.installed("log_dir"):
        below = "--recursive" in unit_file.installed_command()
        return _with_folders(settings, folders, below, BY_SERVICE)
    return settings


def is_watched(folder: Path, report: DaemonReport) -> bool:
    """Whether the daemon that reported looks into the folder, as far as its name tells."""
    if str(folder) in report.log_dir:
        return True
    below = (
        folder.relative_to(root).parts for root in report.log_dir if folder.is_relative_to(root)
    )
    return report.recursive and any(
        len(parts) <= DEEPEST and not any(map(is_left_out, parts)) for parts in below
    )


def _with_folders(
    settings: Settings, folders: Sequence[str], recursive: bool, source: str
) -> Settings:
    if "log_dir" in settings.origin:
        return settings
    settings = _with(settings, "recursive", recursive, source)
    return _with(settings, "log_dir", tuple(map(Path, folders)), source)


def _with(settings: Settings, name: str, value: object, source: str) -> Settings:
    if name in settings.origin:
        return settings
    origin = {**settings.origin, name: source}
    return replace(settings, **{name: value}, origin=origin)  # type: ignore[arg-type]
