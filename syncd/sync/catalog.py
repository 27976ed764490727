"""Log folders and people's decisions -> which file is uploaded as which run.

Looks at files and at the state folder, and changes neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from syncd import events
from syncd.errors import ProblemCode
from syncd.source.folder_tree import FolderTree
from syncd.source.scanner import (
    FoundFile,
    LogFile,
    LogScanner,
    Owner,
    UnusableFile,
    resolve_parts,
)
from syncd.state import cursor, decisions
from syncd.sync.past import Past

# Looks at the folders between two at every file in them. What comes, goes or is renamed shows in
# its folder's time, and what grows in an event; a finished run that is resumed, and whose event was
# lost, waits for this. At each look 10,000 finished files took a core's twelfth.
WHOLE_EVERY: Final = 24


@dataclass(frozen=True, slots=True)
class Listing:
    """What the folders hold now. files: those that are to be uploaded, one per run or part of one,
    or of these the ones that were looked at; skipped: those that can't be as they are; forgotten:
    keys that people want left alone; whole: whether all files in the folders were looked at."""

    files: tuple[LogFile, ...]
    skipped: tuple[UnusableFile, ...]
    forgotten: frozenset[str]
    whole: bool = False


class Catalog:
    """The files of one destination.

    named: upload these and nothing else, whatever their `upload` says. on_progress: called after
    each file of a long pass.
    """

    def __init__(
        self,
        destination: Path,
        tree: FolderTree,
        named: Sequence[Path] | None,
        on_progress: Callable[[], None],
        largest_media: int,
    ) -> None:
        self._destination = destination
        self._tree = tree
        self._named = named
        self._on_progress = on_progress
        self._aliases: Mapping[str, str] = {}
        self._forgotten: frozenset[str] = frozenset()
        self._signs: object = None  # what the last look saw that a listing depends on
        self._once_more = False  # a folder's time is too coarse to tell two changes within it apart
        self._until_whole = 0  # looks
        self._skipped: tuple[UnusableFile, ...] = ()
        # Files that can't be read, or have no whole first line, and what kept them from it
        self._unreadable: Mapping[Path, ProblemCode | None] = {}
        self._missing: frozenset[Path] = frozenset()  # files of runs, that a look did not find
        cursors = destination / "cursors"
        self._past = Past(cursor.each(cursors))
        self._scanner = LogScanner(
            lambda: self._aliases,
            partial(cursor.project_of, cursors),
            largest_media,
            self._past.take_heads(),
        )
        self._parts: dict[Path, LogFile] = {}  # the later parts of runs, as last listed

    def refresh(
        self,
        current: Mapping[str, Path],
        first_line_hash: Callable[[str], str],
        live: Iterable[str],
        *,
        whole: bool = False,
    ) -> Listing:
        """Look at the folders, and at every file in them where they have changed, where it's time,
        or as `whole` asks; else at the live runs' own. current: key -> the file that it's
        uploaded from; first_line_hash: of a key's file; live: the keys of what may grow."""
        self._aliases = decisions.aliases(self._destination)
        self._forgotten = frozenset(decisions.forgotten(self._destination))
        before, self._signs = self._signs, self._look_for_signs()
        changed = before != self._signs
        if not (whole or changed or self._once_more) and self._until_whole:
            self._until_whole -= 1
            if (files := self._as_expected(current, live)) is not None:
                return Listing(files, self._skipped, self._forgotten)
        self._once_more, self._until_whole = changed, WHOLE_EVERY - 1
        return self._look_at_all(current, first_line_hash)

    def _look_at_all(
        self, current: Mapping[str, Path], first_line_hash: Callable[[str], str]
    ) -> Listing:
        if (kept := cursor.run_ids(self._destination / "cursors")) is not None:
            self._past.keep_only(kept)
        now = {key: Owner(str(path), first_line_hash(key)) for key, path in current.items()}
        files = resolve_parts(self._with_progress(self._scan()), self._past.uploaded_from | now)
        self._parts = {file.path: file for file in files if isinstance(file, LogFile) and file.part}
        here = {file.place for file in files}
        self._missing = frozenset(path for path in current.values() if str(path) not in here)
        unusable = [file for file in files if isinstance(file, UnusableFile)]
        self._unreadable = {
            file.path: file.code for file in unusable if file.code is not ProblemCode.COPY
        }
        self._skipped = tuple(file for file in unusable if file.code)
        wanted = (file for file in files if isinstance(file, LogFile) and self._wanted(file))
        return Listing(tuple(wanted), self._skipped, self._forgotten, whole=self._named is None)

    def _look_for_signs(self) -> object:
        """Equal to those before where no log file has come, gone or changed its name."""
        if self._named is not None:
            return object()  # few: looked at each time
        was_full, looked = self._tree.full, self._tree.look()
        if self._tree.full and not was_full:
            events.folders_left_out(self._tree.words_of_full())
        return looked, self._aliases, self._forgotten

    def _as_expected(
        self, current: Mapping[str, Path], live: Iterable[str]
    ) -> tuple[LogFile, ...] | None:
        """The live runs' files; None where one, or one that could not be read, has become another
        than it was: then others' places may have changed, too."""
        for path, code in self._unreadable.items():
            file = self._scanner.look(path)
            if not isinstance(file, UnusableFile) or file.code is not code:
                return None
        found: list[LogFile] = []
        for key in live:
            if current[key] in self._missing:  # its coming back changes its folder's time
                continue
            file = self.look(current[key])
            if not isinstance(file, LogFile) or file.key != key:
                return None
            found.append(file)
        return tuple(found)

    def look(self, path: Path) -> FoundFile:
        """One file, as it is now."""
        file = self._scanner.look(path, chosen=self._named is not None)
        listed = self._parts.get(path)
        if listed and isinstance(file, LogFile) and file.first_line_hash == listed.first_line_hash:
            return file._replace(part=listed.part)
        return file

    def grown(self, path: Path) -> tuple[str, int] | None:
        """Key and size of a file that has only grown; None where it has to be looked at."""
        grown, listed = self._scanner.grown(path), self._parts.get(path)
        return (listed.key, grown[1]) if grown and listed else grown

    def is_finished(self, file: LogFile, project: str, entity: str) -> bool:
        """Whether nothing is expected of the file: its run had ended at this place, and all of it
        was there, when this process began or `run_ended` was called."""
        return self._named is None and self._past.has_all_of(file, project, entity)

    def run_ended(self, key: str) -> bool:
        """Take in that all of a run is at the server, as far as its cursor says so; whether it
        has one."""
        if self._named is not None:  # then nothing counts as finished
            return True
        if known := cursor.load(self._destination / "cursors", key):
            self._past.learn(known)
        return known is not None

    def is_at(self, run_id: str, entity: str) -> bool:
        """Whether a finished run is at this entity, as far as that is known."""
        return self._past.is_at(run_id, entity)

    def take_anew(self, run_id: str) -> None:
        """Somebody asked to believe nothing of what is known of the run."""
        self._past.let_go(run_id)

    def is_news(self, file: FoundFile, known: Callable[[str], bool]) -> bool:
        """Whether a file that isn't a known run's own may change the listing. The writes of a
        copy, a forgotten run or one that is kept local must not cost a look at all folders each.
        known: whether a key is one."""
        if self._named is not None:
            return False
        if not self._tree.may_hold(file.path.parent):
            return False
        if isinstance(file, UnusableFile):
            return file.path not in self._unreadable  # a first line that grows is none yet
        return self._wanted(file) and not known(file.key)

    def _wanted(self, file: LogFile) -> bool:
        asked_for = file.header.upload or self._named is not None
        return asked_for and file.key not in self._forgotten

    def _scan(self) -> Iterable[FoundFile]:
        if self._named is None:
            return self._scanner.scan(self._tree.folders)
        return map(self.look, self._named)

    def _with_progress(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        for file in files:
            self._on_progress()
            yield file
