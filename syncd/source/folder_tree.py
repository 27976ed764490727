"""Log folders -> themselves and, where that is asked for, the folders below them.

Left out are links, hidden folders and the runs' own media. What a folder holds is listed when its
time has changed, and else known from the last look: 10,000 folders cost a stat each.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from karaoke_train.runlog.layout import MEDIA
from syncd.source.safe_open import folders_in, resolved

MOST: Final = 20_000  # folders that are looked into: whoever writes there could make any number
DEEPEST: Final = 16  # folders below one that is named

# Which folder it is, and when an entry last came, went or was renamed, or somebody was let into it;
# None where there is none
Sign = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What a folder held when it had this sign. settled: seen twice so: a folder's time may be too
    coarse to tell two changes within it apart."""

    sign: Sign
    below: tuple[Path, ...]
    settled: bool


class FolderTree:
    """The folders to look into. roots: those that were named, at each look; recursive: also what is
    below them; most: so many of them, instead of MOST. folders: what the last look found; full:
    whether it left out some, since there were too many."""

    def __init__(
        self, roots: Callable[[], Iterable[Path]], *, recursive: bool, most: int | None = None
    ) -> None:
        self._roots = roots
        self._recursive = recursive
        self._most = most
        self._known: dict[Path, _Known] = {}
        self.folders: Mapping[Path, Sign] = {}
        self.full = False

    def look(self) -> Mapping[Path, Sign]:
        """The folders, the named ones first, and how to tell that what they hold has changed."""
        found: dict[Path, Sign] = {}
        known: dict[Path, _Known] = {}
        places: set[Sign] = set()
        left = deque((root, 0) for root in dict.fromkeys(self._roots()))
        self.full = False
        while left:
            folder, depth = left.popleft()
            if folder in found:  # one that was named is below another
                continue
            sign = _sign(folder, link=depth == 0)
            place = sign and sign[:2]
            if place in places:  # by another name: its files would be copies of themselves
                continue
            if place:
                places.add(place)
            found[folder] = sign
            if not self._recursive or sign is None:
                continue
            known[folder] = self._look_into(folder, sign)
            below = known[folder].below
            room = self._limit - len(found) - len(left) if depth < DEEPEST else 0
            self.full |= len(below) > room
            left.extend((deeper, depth + 1) for deeper in below[:room])
        self._known, self.folders = known, found
        return found

    def words_of_full(self) -> str:
        """What it means that a look left out folders."""
        where = ", ".join(map(str, self._roots()))
        return (
            f"there are more than {self._limit:,} folders below {where}, or some more than "
            f"{DEEPEST} levels below: these are not looked into, and runs in them are not "
            "uploaded. Name folders nearer to the runs by --log_dir"
        )

    @property
    def _limit(self) -> int:
        return MOST if self._most is None else self._most

    def may_hold(self, folder: Path) -> bool:
        """Whether files in it may be looked at, as far as the last look tells."""
        return not self.full or folder in self.folders

    def _look_into(self, folder: Path, sign: Sign) -> _Known:
        known = self._known.get(folder)
        same = known is not None and known.sign == sign
        if known and same and known.settled:
            return known
        try:
            return _Known(sign, tuple(below(folder)), settled=same)
        except OSError:  # tried again at the next look; the scanner says so of the folder itself
            return _Known(sign, known.below if known else (), settled=False)


def folders(roots: Iterable[Path], *, recursive: bool, most: int | None = None) -> tuple[Path, ...]:
    """The folders that a look finds now. See FolderTree."""
    return tuple(FolderTree(lambda: roots, recursive=recursive, most=most).look())


def is_left_out(name: str) -> bool:
    """Whether a folder of this name is never looked into."""
    return name.startswith(".") or name == MEDIA


def below(folder: Path) -> Iterator[Path]:
    """The folders in one that are to be looked into. Raises OSError."""
    around = resolved(folder)
    for name in sorted(name for name in folders_in(folder) if not is_left_out(name)):
        try:
            # Looked up now, and so for as long as this process lives: what becomes a link between
            # the listing and this leads nowhere
            if resolved(folder / name) == around / name:
                yield folder / name
        except OSError:  # it has just gone
            continue


def _sign(folder: Path, *, link: bool) -> Sign:
    try:
        stat = os.stat(folder, follow_symlinks=link)  # noqa: PTH116  (half of what Path's takes)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns
