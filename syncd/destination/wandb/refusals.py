"""A run that the server does not take, in words: the same in both lanes. It waits for a person."""

from __future__ import annotations

from syncd.errors import ProblemCode, RunRefused


def run_deleted(run_id: str) -> RunRefused:
    """Somebody deleted the run on its page."""
    return RunRefused(
        ProblemCode.DELETED,
        "the run was deleted at the server, which does not take its name again",
        meaning="The file still has every record",
        remedy=f"Leave it: karaoke-syncd forget {run_id}. "
        "Or upload the file as a run of its own: karaoke-syncd sync --as_new FILE",
    )


def run_refused(run_id: str, words: str) -> RunRefused:
    """The server would say the same each time: the project's name can't be, say."""
    return RunRefused(
        ProblemCode.REFUSED,
        f"the server does not take the run ({words})",
        meaning="Its records are safe on disk, and are not sent before you say so",
        remedy="Correct what it names (the project: `project` in config.toml, or --project), then "
        f"karaoke-syncd retry {run_id}",
    )
