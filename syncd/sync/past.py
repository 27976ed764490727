"""Cursors -> what is known of runs when a process begins, each cursor read once."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from sys import intern

from syncd.source.scanner import LogFile, Owner
from syncd.state.cursor import Cursor, Head


@dataclass(frozen=True, slots=True)
class _Whole:
    """A run that was uploaded to its end, and the file that it was uploaded from."""

    first_line_hash: str
    size: int
    project: str
    entity: str


class Past:
    """The runs that were uploaded before: at the start, and since.

    uploaded_from: key -> the file. Of those that have ended a daemon expects nothing, and keeps no
    more of them than this: sessions for 10,000 would take 40 MiB, and a second to make.
    """

    def __init__(self, cursors: Iterable[Cursor]) -> None:
        self.uploaded_from: dict[str, Owner] = {}
        self._whole: dict[str, _Whole] = {}
        self._heads: dict[str, Head] = {}
        for known in cursors:
            if known.head:
                self._heads[known.path] = known.head
            self.learn(known)

    def learn(self, known: Cursor) -> None:
        """What the cursor says is so."""
        owner = Owner(known.path, known.first_line_hash, known.project)
        self.uploaded_from[known.run_id] = owner
        if known.ended and not known.unsettled:
            self._whole[known.run_id] = _Whole(
                known.fingerprint.first,
                known.confirmed.offset,
                intern(known.project),
                intern(known.entity),
            )

    def take_heads(self) -> dict[str, Head]:
        """The heads that are known, by the files' paths. They are not kept here any longer."""
        heads, self._heads = self._heads, {}
        return heads

    def has_all_of(self, file: LogFile, project: str, entity: str) -> bool:
        """Whether the file is as it was when its run ended, and all of it at this place; an entity
        that is not known yet fits any."""
        whole = self._whole.get(file.key)
        return (
            whole is not None
            and (whole.size, whole.first_line_hash) == (file.size, file.first_line_hash)
            and whole.project == project
            and self.is_at(file.key, entity)
        )

    def is_at(self, key: str, entity: str) -> bool:
        """Whether a run that has ended did so at this entity, as far as that is known."""
        whole = self._whole.get(key)
        return whole is not None and (not entity or whole.entity == entity)

    def keep_only(self, keys: Set[str]) -> None:
        """Believe nothing of the ends of other runs: their cursors are lost."""
        for key in self._whole.keys() - keys:
            self.let_go(key)

    def let_go(self, key: str) -> None:
        """Believe nothing of the run's end any more."""
        self._whole.pop(key, None)
