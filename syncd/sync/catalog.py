"""Log folders and people's decisions -> which file is uploaded as which run.

Looks at files and at the state folder, and changes neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from syncd.source.scanner import FoundFile, LogFile, LogScanner, UnusableFile, resolve_duplicates
from syncd.state import cursor, decisions


@dataclass(frozen=True, slots=True)
class Listing:
    """What the folders hold now. files: one per run, those that are to be uploaded; skipped:
    those that can't be as they are; forgotten: run ids that people want left alone."""

    files: tuple[LogFile, ...]
    skipped: tuple[UnusableFile, ...]
    forgotten: frozenset[str]


class Catalog:
    """The files of one destination.

    named: upload these and nothing else, whatever their `upload` says. on_progress: called after
    each file of a long pass.
    """

    def __init__(
        self,
        destination: Path,
        folders: Callable[[], Iterable[Path]],
        named: Sequence[Path] | None,
        on_progress: Callable[[], None],
    ) -> None:
        self._destination = destination
        self._folders = folders
        self._named = named
        self._on_progress = on_progress
        self._aliases: Mapping[str, str] = {}
        self._forgotten: frozenset[str] = frozenset()
        cursors = destination / "cursors"
        self._scanner = LogScanner(lambda: self._aliases, partial(cursor.project_of, cursors))
        # of runs that were uploaded before this process began
        self._uploaded_from = {
            run_id: known.path for run_id, known in cursor.load_all(cursors).items()
        }

    def refresh(self, current: Mapping[str, Path]) -> Listing:
        """Look at all of it. current: run_id -> the file that it's uploaded from."""
        self._aliases = decisions.aliases(self._destination)
        self._forgotten = frozenset(decisions.forgotten(self._destination))
        owners = self._uploaded_from | {run_id: str(path) for run_id, path in current.items()}
        files = resolve_duplicates(self._with_progress(self._scan()), owners)
        return Listing(
            tuple(file for file in files if isinstance(file, LogFile) and self._wanted(file)),
            tuple(file for file in files if isinstance(file, UnusableFile) and file.code),
            self._forgotten,
        )

    def look(self, path: Path) -> FoundFile:
        """One file, as it is now."""
        return self._scanner.look(path)

    def grown(self, path: Path) -> tuple[str, int] | None:
        """Run id and size of a file that has only grown; None where it has to be looked at."""
        return self._scanner.grown(path)

    def is_news(self, file: FoundFile, known: Mapping[str, object]) -> bool:
        """Whether a file that isn't a known run's own may change the listing. The writes of a
        copy, a forgotten run or one that is kept local must not cost a look at all folders each.
        known: run ids."""
        if self._named is not None:
            return False
        if isinstance(file, UnusableFile):
            return True
        return self._wanted(file) and file.run_id not in known

    def _wanted(self, file: LogFile) -> bool:
        asked_for = file.header.upload or self._named is not None
        return asked_for and file.run_id not in self._forgotten

    def _scan(self) -> Iterable[FoundFile]:
        if self._named is None:
            return self._scanner.scan(self._folders())
        return map(self._scanner.look, self._named)

    def _with_progress(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        for file in files:
            self._on_progress()
            yield file
