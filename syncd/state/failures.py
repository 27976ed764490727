"""What keeps a run from being uploaded, remembered so that `status` can say it at any time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from syncd.errors import ProblemCode, RunRefused, UploadError
from syncd.state import atomic_json


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure of one run, in its four parts. decision: it waits for the user, by `code`. during:
    the phase of the upload that failed, empty where that isn't known."""

    run_id: str
    path: str
    code: str
    what: str
    meaning: str
    remedy: str
    decision: bool
    since: str
    during: str = ""


def save(destination: Path, run_id: str, path: Path, error: UploadError, during: str = "") -> None:
    """Remember the run's failure; the first time of an unchanged one stands. Raises OSError."""
    file = destination / "problems" / f"{run_id}.json"
    problem = problem_of(run_id, path, error, during)
    old = _load(file)
    if old and (old.code, old.what, old.during) == (problem.code, problem.what, during):
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    since = old.since if old and old.code == problem.code else now
    atomic_json.write(file, asdict(replace(problem, since=since)))


def problem_of(run_id: str, path: Path, error: UploadError, during: str = "") -> Problem:
    """The failure, as it is seen just now, and so without a time."""
    decision = isinstance(error, RunRefused)
    code = error.code if isinstance(error, RunRefused) else ProblemCode.TROUBLE
    return Problem(
        run_id, str(path), code, error.what, error.meaning, error.remedy, decision, "", during
    )


def clear(destination: Path, run_id: str) -> None:
    """The run is fine again."""
    (destination / "problems" / f"{run_id}.json").unlink(missing_ok=True)


def over(destination: Path, run_id: str, phase: str) -> None:
    """This phase has gone well: what failed in it is over, what failed behind it may fail again."""
    file = destination / "problems" / f"{run_id}.json"
    known = _load(file)
    if known and known.during in ("", phase):
        file.unlink(missing_ok=True)


def load(destination: Path, run_id: str) -> Problem | None:
    """The run's problem, if it has one."""
    return _load(destination / "problems" / f"{run_id}.json")


def load_all(destination: Path) -> dict[str, Problem]:
    """All problems by run_id."""
    folder = destination / "problems"
    found = (_load(folder / f"{name}.json") for name in atomic_json.stems(folder) or ())
    return {problem.run_id: problem for problem in found if problem}


def _load(file: Path) -> Problem | None:
    return atomic_json.load(file, lambda data: atomic_json.typed(Problem, data))
