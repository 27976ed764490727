"""The files of a run in a log folder, found by the run's id, for whoever starts it again.

The words are those of `wandb.init(id=…, resume=…)`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

from karaoke_train.runlog.format import MAX_LINE, BadRecord, RunHeader, RunLogError, decode
from karaoke_train.runlog.layout import LOG_FILES, lock_path, run_id_lock_path
from karaoke_train.runlog.lock import Held, Lock, holder_of
from karaoke_train.runlog.regular_file import open_regular
from karaoke_train.runlog.timestamps import parse_timestamp

# Seconds to wait while another process looks for the same run or starts it: as long as reading the
# first lines of 10,000 files takes on a cold NFS mount, at some milliseconds each
START_WAIT: Final = 60.0


class LogBusy(RunLogError):
    """Another process is writing to this run's file."""


class Resume(StrEnum):
    """Whether a run that is there already goes on."""

    ALLOW = "allow"  # it does; one that isn't there is started
    MUST = "must"  # it does; one that isn't there is an error
    NEVER = "never"  # one that is there is an error

    @classmethod
    def of(cls, asked: object, run_id: str | None) -> Resume:
        """What was asked for with `resume=`. Raises RunLogError for what can't be meant."""
        # wandb keeps a file of its own with the id of the run that failed last for "auto", which is
        # the same as True, and prefers an id that is given. Without one the last failed run would
        # be guessed from a folder that several trainings share: it may be somebody else's
        mode = _RESUME.get(asked) if isinstance(asked, (str, bool, type(None))) else None
        if mode is None:
            raise RunLogError(
                f"resume={asked!r:.80} is none of {', '.join(cls)}. "
                "No run was started; give one of them."
            )
        if run_id is None and asked in (cls.MUST, True, "auto"):
            raise RunLogError(
                f"resume={asked!r} does not say which run goes on. No run was started; give its "
                "run_id too, or its file to RunLog.resume."
            )
        return mode


_RESUME: Final[Mapping[str | bool | None, Resume]] = {
    **{mode.value: mode for mode in Resume},
    None: Resume.ALLOW,
    False: Resume.ALLOW,
    True: Resume.ALLOW,
    "auto": Resume.ALLOW,
}


def parts_of(folder: Path, run_id: str) -> list[tuple[Path, RunHeader]]:
    """The run's files in `folder`, the newest by `created` first, each with its header. Reads first
    lines alone; what is no record log is passed over."""
    found: list[tuple[float, int, Path, RunHeader]] = []
    needle = run_id.encode()
    for path in folder.glob(LOG_FILES):
        try:
            line = first_line(path)
            if needle not in line:  # spares parsing 10,000 configs
                continue
            header = RunHeader.of(decode(line))
            size = path.stat().st_size
        except (OSError, BadRecord):
            continue
        if header.run_id == run_id:
            found.append((parse_timestamp(header.created, -math.inf), size, path, header))
    # Copies began at the same moment: the one that has grown further, or the shorter name, which
    # is the original's more often than a copy's, comes first
    found.sort(key=lambda part: (-part[0], -part[1], str(part[2])))
    return [(path, header) for _, _, path, header in found]


def part_to_continue(
    folder: Path, run_id: str, mode: Resume, project: str | None = None
) -> Path | None:
    """The file in which the run goes on; None where it is to be started.

    Raises RunLogError when `mode` forbids what would be done, or the run is in another project than
    the one that was asked for; LogBusy when another of its files is being written.
    """
    parts = parts_of(folder, run_id)
    if not parts:
        if mode is Resume.MUST:
            raise RunLogError(
                f"{folder} has no run {run_id} that could go on. Nothing was written; give the "
                'folder that has it, or resume="allow" to start it.'
            )
        return None
    path, header = parts[0]
    if mode is Resume.NEVER:
        raise RunLogError(
            f"{folder} has the run {run_id} already, in {path.name}. It was left as it is; give "
            'another run_id, or resume="allow" to go on with it.'
        )
    if project and header.project and project != header.project:
        # At the server these would be two runs; a file and its run are in one project
        raise RunLogError(
            f"the run {run_id} in {path} is in the project {header.project!r}, not in "
            f"{project!r}. It was left as it is; give its project, or another run_id or folder."
        )
    for other, _ in parts[1:]:  # of the newest, whoever opens it finds out
        if holder := holder_of(lock_path(other)):
            raise LogBusy(
                f"{other} is being written by {holder}, and is the same run {run_id}. "
                "Nothing was written; stop that process first, or give another run_id."
            )
    return path


@contextmanager
def starting(folder: Path, run_id: str) -> Iterator[None]:
    """Of the processes that look for this run in `folder`, and start it if it isn't there, one at
    a time: two that did so at once would both find nothing and make a file each. Raises LogBusy."""
    lock = Lock(run_id_lock_path(folder, run_id))
    try:
        lock.acquire(timeout=START_WAIT)
    except Held as held:
        raise LogBusy(
            f"run {run_id} in {folder} is just being started by "
            f"{held.holder or 'another process'}. Nothing was written; stop one of the two, or "
            "give this one a run_id of its own."
        ) from None
    except OSError:  # a folder that takes no lock: the file's own lock says so next
        pass
    try:
        yield
    finally:
        lock.release()


def first_line(path: Path) -> bytes:
    """The first line, at most MAX_LINE + 1 bytes of it. Raises OSError."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.readline(MAX_LINE + 1)
