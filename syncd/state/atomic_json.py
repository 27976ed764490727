"""Small files that survive a crash at any instant: written beside, synced, renamed over."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

import orjson

from karaoke_train.runlog.folder_sync import sync_folder
from karaoke_train.runlog.regular_file import check_regular
from syncd import events
from syncd.failpoints import failpoint
from syncd.paths import make_private

T = TypeVar("T")
_PIECE: Final = 1 << 16  # bytes


def write(path: Path, value: Any, *, sync: bool = True) -> None:
    """Replace the file at `path` by the value as JSON, for its owner alone. Raises OSError, and
    then the old file stands. sync: see `write_bytes`."""
    write_bytes(path, encode(value), sync=sync)


def stems(folder: Path) -> Set[str] | None:
    """What the folder's JSON files are called, in the order of their inodes; None for a folder that
    can't be read: pathlib's glob fails where the folder around it can't be looked into.

    That is about the order in which they were written, in which they lie on the disk. It is about
    the order of their runs' names, too: 10,000 of them are gone through several times, and to find
    each beside the last one takes a twelfth less.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.inode(), entry.name) for entry in entries)
    except OSError:
        return None
    names = (name.removesuffix(".json") for _, name in found if name.endswith(".json"))
    return dict.fromkeys(filter(None, names)).keys()


def encode(value: Any, *, sort_keys: bool = False) -> bytes:
    """The value as JSON, dataclasses included."""
    option = orjson.OPT_SORT_KEYS if sort_keys else orjson.OPT_INDENT_2
    try:
        return orjson.dumps(value, option=option)
    except TypeError:  # the name of a file that is no UTF-8, which only escapes can spell
        return json.dumps(value, default=asdict, sort_keys=sort_keys).encode()


def write_bytes(path: Path, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Replace the file at `path`, made with `mode` less the umask; missing folders are made for
    their owner alone. When it returns, the new file is there after a power cut, too; without
    `sync` after any crash of this process alone, and a power cut may leave the old one, or one that
    reads as damaged. Raises OSError, and then the old file stands."""
    write_pieces(path, (data,), mode=mode, sync=sync)


def write_pieces(
    path: Path, pieces: Iterable[bytes], *, mode: int = 0o600, sync: bool = True
) -> None:
    """The same with what comes in pieces, and may be more than the memory holds."""
    make_private(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    what = path.parent.name  # cursors, problems, …
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            failpoint(f"{what}.before_write")
            file.writelines(pieces)
            file.flush()
            failpoint(f"{what}.after_write")
            # Before the rename: ext4 and XFS may put the new name on disk before the data, and a
            # power cut between the two leaves an empty file in place of the old one
            if sync:
                os.fsync(file.fileno())
        failpoint(f"{what}.before_rename")
        draft.replace(path)
        failpoint(f"{what}.after_rename")
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    if sync:
        sync_folder(path.parent)


def load(path: Path | str, decode: Callable[[Any], T]) -> T | None:
    """What `decode` makes of the file's JSON; None when it is missing, and after a warning when it
    can't be read, is no JSON, or nothing that `decode` takes.

    A power cut, a full disk, another version or a person may have left anything in it, so `decode`
    may fail as code does that is given odd values.
    """
    try:
        return decode(_decode(_read(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        events.state_unusable(Path(path), error.strerror or "can't be read")
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        events.state_unusable(Path(path), "damaged")
    return None


def typed(cls: type[T], values: Any) -> T:
    """The dataclass or named tuple with these values, each text, number and truth value of the type
    that its field says. Raises TypeError."""
    shape = _shape(cls)  # type: ignore[arg-type]
    if (  # as `write` leaves nearly all: a third of the time
        tuple(values) == shape.names
        and tuple(map(type, compress(values.values(), shape.is_plain))) == shape.kinds
    ):
        return cls(*values.values())
    for name, expected in zip(compress(shape.names, shape.is_plain), shape.kinds, strict=True):
        if name in values and type(values[name]) is not expected:
            raise TypeError(f"{name} is {type(values[name]).__name__}")
    return cls(**values)


class _Shape(NamedTuple):
    """A class's fields. is_plain: whether each is a text, a number or a truth value; kinds: the
    types of those that are."""

    names: tuple[str, ...]
    is_plain: tuple[bool, ...]
    kinds: tuple[type, ...]


@cache
def _shape(cls: type) -> _Shape:
    declared = get_type_hints(cls)
    is_plain = tuple(kind in (str, int, bool) for kind in declared.values())
    return _Shape(tuple(declared), is_plain, tuple(compress(declared.values(), is_plain)))


def _read(path: Path | str) -> bytes:
    """Half of what a file object takes: there may be 10,000 of these files. Raises OSError."""
    # Of a FIFO the opening would wait without end, and a device may have no end
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        pieces = [os.read(descriptor, _PIECE)]
        if 0 < len(pieces[0]) < _PIECE:  # nearly all
            return pieces[0]
        check_regular(os.fstat(descriptor))
        while len(pieces[-1]) == _PIECE:
            pieces.append(os.read(descriptor, _PIECE))
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def _decode(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        if b"\\ud" not in data:
            raise
        return json.loads(data)  # see `encode`
