"""The record log as one of accelerate's trackers: `Accelerator(log_with=RunLogTracker())`."""

# mypy: disable-error-code="misc, untyped-decorator"
# (accelerate ships no types for these)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelerate.tracking import GeneralTracker, on_main_process

from karaoke_train.runlog import RunLog
from karaoke_train.runlog.writer import checked_log

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunLogTracker(GeneralTracker):
    """Writes what `accelerator.log` is given, under its own names, as `RunLog.log` does; what
    `init_trackers` has as config becomes the run's. The main process alone writes.

    project: the run's project; accelerate's own project name reaches only trackers that it makes
    itself (see its `register_tracker_class`). log: an open RunLog; one is started by
    `init_trackers` unless given, with the options of `RunLog.create`. `end_training` ends the run,
    and so does the process's end.
    """

    name = "karaoke_train"
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self, project: str | None = None, *, log: RunLog | None = None, **options: Any
    ) -> None:
        super().__init__()
        self._log = None if log is None else checked_log(log)
        self._options = {"project": project, **options}

    @property
    def tracker(self) -> RunLog | None:
        """The run log; None before `init_trackers`, and on other ranks."""
        return self._log

    @on_main_process
    def start(self) -> None:
        """Start the run."""
        if self._log is None:
            self._log = RunLog.create(**self._options)
            self._log.end_at_exit()

    @on_main_process
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Add to the run's config."""
        if self._log is not None:
            self._log.update_config(values)

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """One record; see `RunLog.log`."""
        if self._log is not None and self._log.reopen():
            self._log.log(values, step)

    @on_main_process
    def finish(self) -> None:
        """End the run, unless more comes."""
        if self._log is not None:
            self._log.close(final=False)
