"""Singing voice in, notes out; every metric kept in a record log. Importing this loads no torch."""

# No `from __future__ import annotations` here: the name would hide the module `annotations`.

TYPE_CHECKING = False  # typing takes longer to import than all else here
if TYPE_CHECKING:
    from karaoke_train.runlog import RunLog
    from karaoke_train.runlog.current_run import finish, init, log

__all__ = ["RunLog", "finish", "init", "log"]


def __getattr__(name: str) -> object:
    """The names above, imported on use: karaoke-syncd reads logs, and needs nothing that writes
    one."""
    if name not in __all__:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}. Of wandb's calls it has init, log and "
            "finish; a run's config, pictures and sounds are with the run that init returns: "
            "run.config, run.media"
        )
    from karaoke_train.runlog import current_run

    return getattr(current_run, name)
