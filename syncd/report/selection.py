"""Which runs the table shows: what lives, is in trouble or waits first, then the newest; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from syncd.report.status import RunState, RunStatus

LIVE: Final = "live"  # what --filter takes beside the states
TROUBLE: Final = "trouble"


class Selection(NamedTuple):
    """The runs of a table, and how many were left out, by state."""

    shown: tuple[RunStatus, ...]
    left_out: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """What was left out, in words; empty where nothing was."""
        count = sum(number for _, number in self.left_out)
        states = ", ".join(f"{number:,} {state}" for state, number in self.left_out)
        return f"and {count:,} more: {states}" if count else ""


def select(
    runs: Iterable[RunStatus], wanted: Sequence[str], limit: int | None, *, in_order: bool = True
) -> Selection:
    """The first `limit` of the runs that match one of `wanted`; of all where nothing is wanted.
    in_order: what lives, is in trouble or waits first, then the newest."""
    chosen = matching(runs, wanted)
    if in_order:
        chosen.sort(key=lambda run: (run.created, run.path), reverse=True)
        chosen.sort(key=rank)
    cut = len(chosen) if limit is None else limit
    left_out = Counter(run.state for run in chosen[cut:]).most_common()
    return Selection(tuple(chosen[:cut]), tuple((str(state), count) for state, count in left_out))


def matching(runs: Iterable[RunStatus], wanted: Sequence[str]) -> list[RunStatus]:
    """Those that match one of `wanted`: a state, `live`, `trouble`, or a part of a name or run id,
    or a glob over one. All where nothing is wanted."""
    return [run for run in runs if not wanted or any(_matches(run, word) for word in wanted)]


def named(runs: Iterable[RunStatus], word: str) -> list[RunStatus]:
    """The runs that a word may mean, of different ids: the one with this id, else those of this
    name or file, else those whose id or name begins so. A run has one that can be told if it is
    alone. None are meant by the empty word, with which all begin."""
    if not word:
        return []
    by_id = {run.run_id: run for run in runs if run.run_id}
    if word in by_id:
        return [by_id[word]]
    called = [run for run in by_id.values() if word in (run.name, run.path, Path(run.path).name)]
    begins = [run for run in by_id.values() if run.name.startswith(word)]
    # not a later part by the id of the whole run, which is the first one's
    ids = [run for run in by_id.values() if run.run_id.startswith(word)]
    begins += [run for run in ids if not run.run_id.startswith(f"{word}.") and run not in begins]
    return called or begins


def _matches(run: RunStatus, word: str) -> bool:
    if word in (*RunState, LIVE, TROUBLE):
        return (
            word == run.state
            or (word == LIVE and run.live)
            or (word == TROUBLE and (run.troubled or run.decision))
        )
    pattern = word if set(word) & set("*?[") else f"*{word}*"
    return fnmatchcase(run.name, pattern) or fnmatchcase(run.run_id, pattern)


def rank(run: RunStatus) -> int:
    """How soon it is shown: 0 is first."""
    if run.done:
        return 1 if run.live else 3
    if run.troubled or run.decision:
        return 0
    if run.live:
        return 1
    return 2 if run.waits or run.state is RunState.ELSEWHERE else 3
