"""One run per process, without an object to hand around: wandb's three calls.

import karaoke_train as wandb

wandb.init(project="songs", config={"lr": 3e-4})
wandb.log({"loss": 0.5})
wandb.finish()
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

from karaoke_train.runlog.format import RunLogError
from karaoke_train.runlog.parts import LogBusy
from karaoke_train.runlog.warn import warn
from karaoke_train.runlog.writer import RunLog

# Where an argument that is not given is looked for, as `wandb.init` does
_ENVIRONMENT: Final = {
    "project": "WANDB_PROJECT",
    "name": "WANDB_NAME",
    "id": "WANDB_RUN_ID",
    "resume": "WANDB_RESUME",
    "tags": "WANDB_TAGS",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
    "notes": "WANDB_NOTES",
    "mode": "WANDB_MODE",
}

_run: RunLog | None = None


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | object | None = None,
    id: str | None = None,  # noqa: A002
    dir: str | os.PathLike[str] | None = None,  # noqa: A002
    resume: Literal["allow", "must", "never", "auto"] | bool | None = None,
    tags: Iterable[str] | None = None,
    group: str | None = None,
    job_type: str | None = None,
    notes: str | None = None,
    mode: str | None = None,
    **others: Any,
) -> RunLog:
    """Start the process's run, or go on with it; returns it. It ends with `finish`, or with the
    process: failed after an exception, else finished.

    The names are those of `wandb.init`. config: a mapping, or an object with attributes, such as
    an argparse namespace. dir: the folder of the log, "logs" unless given. mode: "disabled" keeps
    the run off wandb until somebody uploads it by name; any other, "offline" too, leaves the upload
    to karaoke-syncd. What is not given is taken from WANDB_PROJECT, WANDB_NAME, WANDB_RUN_ID,
    WANDB_RESUME, WANDB_TAGS, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_NOTES and WANDB_MODE. What is
    for the upload alone (entity, settings, …) is named in a warning and left to karaoke-syncd. A
    second call returns the run that goes on, its config added to; a forked child starts one of its
    own, also where WANDB_RUN_ID names its parent's. Raises what `RunLog.create` raises.
    """
    global _run
    if others:
        warn(f"init takes no {', '.join(sorted(others))}: what concerns uploads, karaoke-syncd has")
    if _run is not None and _run.ended is None and not _run.is_parents:
        warn(f"the run {_run.run_id} goes on: end it with finish() before another is started")
        _run.update_config(config)
        return _run
    if tags is None and (words := _environment("tags")):
        tags = [tag for word in words.split(",") if (tag := word.strip())]
    left_out = [*([] if id else ["id"]), *(["resume"] if resume is None else [])]
    if id is None and _is_of_parent(_environment("id")):
        warn(f"{_ENVIRONMENT['id']} names the parent's run: this process's gets an id of its own")
    else:
        id = id or _environment("id")  # noqa: A001
        if resume is None:
            words = _environment("resume")
            resume = cast("Literal['allow', 'must', 'never', 'auto'] | None", words)
    try:
        _run = RunLog.create(
            "logs" if dir is None else dir,
            project=project or _environment("project"),
            config=config,
            run_name=name or _environment("name"),
            run_id=id,
            resume=resume,
            upload=(mode or _environment("mode")) != "disabled",
            tags=tags,
            group=group or _environment("group") or "",
            job_type=job_type or _environment("job_type") or "",
            notes=notes or _environment("notes") or "",
        )
    except RunLogError as error:
        for argument in left_out:
            if value := _environment(argument):
                error.add_note(f"The environment has {_ENVIRONMENT[argument]}={value}")
        if isinstance(error, LogBusy) and "id" in left_out:
            error.add_note(
                "For a run of this process's own, as of a worker beside its trainer, give init an "
                "id, or take the variable out of the process's environment first"
            )
        raise
    _run.end_at_exit()
    return _run


def _is_of_parent(run_id: str | None) -> bool:
    """Whether a run is the one that the process had when this one was forked from it."""
    return _run is not None and _run.is_parents and _run.ended is None and _run.run_id == run_id


def _environment(name: str) -> str | None:
    """What the environment gives for an argument of `init`, if it does."""
    return os.environ.get(_ENVIRONMENT[name]) or None


def log(metrics: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """One record of the process's run; see `RunLog.log`. Raises RunLogError where none goes on."""
    if _run is None or _run.ended is not None:
        raise RunLogError("no run goes on that this could be logged to: call init() first")
    _run.log(metrics, step, commit)


def finish(exit_code: int = 0) -> None:
    """End the process's run: 0 finished, 130 interrupted, any other failed. Without one: nothing"""
    if _run is not None:
        _run.finish(exit_code)
