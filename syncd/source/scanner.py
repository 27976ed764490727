"""Log folders -> the run in each file, and what several files of one run are to each other."""

from __future__ import annotations

import errno
import fnmatch
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from karaoke_train.runlog.format import NOTHING, BadRecord, RunHeader, decode
from karaoke_train.runlog.layout import LOG_FILES, default_project, media_folder
from karaoke_train.runlog.plain_text import shown_name
from karaoke_train.runlog.regular_file import UnsafeFile, check_regular
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.errors import ProblemCode
from syncd.source.fingerprint import PinnedLog, digest, first_line
from syncd.source.media_folder import LARGEST, MediaFolder
from syncd.source.safe_open import check_own, names_in, real
from syncd.state.cursor import Head

_NO_PROJECT: Final = ("", ".", "..")  # the dots: in an address they are no name, but a way up
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM)
_OF_THE_DISK: Final = (
    "That is the disk's or the file server's own word: see what the machine's log says of it "
    "(dmesg, journalctl -k). What can be read again is uploaded by itself"
)
is_log: Final = re.compile(fnmatch.translate(LOG_FILES)).match  # of a file's name


class LogFile(NamedTuple):
    """A file that holds a run, or a part of one. place: its path, a text since 10,000 Paths take
    4 MiB. header: a slim one; an upload reads the rest anew. first_line_hash: of the line that
    named the run; named: the run id in that line. part: of a run that is in several files, what
    tells a later one from its first. largest_media: bytes of a picture or sound. as_kept: it looked
    as when its head was kept, by all that was looked at."""

    place: str
    size: int
    header: RunHeader
    first_line_hash: str
    named: str
    part: str = ""
    largest_media: int = LARGEST
    as_kept: bool = False

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.place)

    @property
    def run_id(self) -> str:
        """The run's id, an assigned one where the file was made a run of its own."""
        return self.header.run_id

    @property
    def media(self) -> MediaFolder:
        """The run's pictures and sounds. Made on use: of 10,000 runs they take 7 MiB."""
        folder = media_folder(Path(real(self.place)), self.named)
        return MediaFolder(folder, self.largest_media)

    @property
    def label(self) -> str:
        """What people call it: its name, or its id or file where a name would be shown as `***`."""
        return shown_name(self.header.run_name, self.run_id, self.path.name)

    @property
    def is_named(self) -> bool:
        """Whether its first line, or a decision, says which run it is."""
        run_id = self.header.run_id
        return not (run_id.startswith("log-") and _UNNAMED.fullmatch(run_id))

    @property
    def began(self) -> float:
        """When the file was begun, in seconds since 1970; last where it doesn't say."""
        return parse_timestamp(self.header.created, math.inf)

    @property
    def key(self) -> str:
        """What the file is called in the state folder and in commands. No run id has a dot."""
        run_id = self.header.run_id
        return f"{run_id}.{self.part}" if self.part else run_id


class Uploaded(Protocol):
    """The file that was uploaded so far under a key. first_line_hash: empty where not known."""

    @property
    def path(self) -> str: ...
    @property
    def first_line_hash(self) -> str: ...
    @property
    def project(self) -> str: ...


class Owner(NamedTuple):
    """No more of it than that, where much more is known."""

    path: str
    first_line_hash: str = ""
    project: str = ""


class UnusableFile(NamedTuple):
    """A file that can't be uploaded as it is. code: None while its first line isn't written yet,
    which is nobody's fault. header: of a copy, the run that it is a copy of."""

    path: Path
    size: int = 0
    code: ProblemCode | None = None
    problem: str = ""
    remedy: str = ""
    header: RunHeader | None = None

    @property
    def place(self) -> str:
        """Its path, as a text."""
        return str(self.path)


FoundFile = LogFile | UnusableFile
_NOBODY: Final[Uploaded] = Owner("")
_UNNAMED: Final = re.compile(r"log-[0-9a-f]{16}")  # what `header_of` gives a first line without one
_NO_HEADS: Final[Mapping[str, Head]] = {}
_MOMENT: Final = 0.1  # seconds; a kernel's times of files have steps of 1 to 10 ms
_PART_LENGTH: Final = 8  # of the first line's hash: a run has a few parts


class _Known(NamedTuple):
    """What a file was when it looked like `mark`."""

    mark: tuple[int, ...]  # device, inode, mtime, size
    alias: str
    file: LogFile


class LogScanner:
    """The files of some folders. First lines never change, so each is parsed once; but a file may
    give way to another one, so each is read again when its file has changed.

    aliases: `alias_key` -> run_id of the files that were made runs of their own. uploaded_to:
    run_id -> the project that a run was uploaded to so far, empty for none; asked of runs whose
    file names no project, which would otherwise follow their file to a folder of another name.
    largest_media: bytes of a picture or sound. heads: path -> the file's head, where it was
    kept; each is used once.
    """

    def __init__(
        self,
        aliases: Callable[[], Mapping[str, str]] = dict,
        uploaded_to: Callable[[str], str] = lambda run_id: "",
        largest_media: int = LARGEST,
        heads: Mapping[str, Head] = _NO_HEADS,
    ) -> None:
        self._aliases = aliases
        self._uploaded_to = uploaded_to
        self._largest_media = largest_media
        self._heads = dict(heads)
        self._known: dict[str, _Known] = {}  # by the path as a text, which is quick to look up

    def scan(self, folders: Iterable[Path]) -> Iterator[FoundFile]:
        """Every log file in the folders, by path; a missing folder has none."""
        found: dict[str, FoundFile | None] = {}
        for folder in dict.fromkeys(folders):
            try:
                names = names_in(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                found[str(folder)] = _unlisted(folder, error)
                continue
            around_it = str(folder / "_").removesuffix("_")
            found.update((around_it + name, None) for name in names if is_log(name))
        around: dict[str, os.stat_result | None] = {}
        for place in sorted(found):  # texts ten times as quick as Paths
            yield found[place] or self._look(place, around, own=True)
        self._heads.clear()  # of files that are not here any more

    def look(self, path: Path, *, chosen: bool = False) -> FoundFile:
        """One file. chosen: the user named it, so it may be anybody's. Never raises: what keeps it
        from being read is its problem."""
        return self._look(str(path), {}, own=not chosen)

    def _look(
        self, place: str, around: dict[str, os.stat_result | None], *, own: bool
    ) -> FoundFile:
        """around: see `check_own`, of the same scan."""
        try:
            there = real(place)
            stat = os.lstat(there)  # half of what Path.lstat takes, for each file
            check_regular(stat)
            mark = stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
            known = self._known.get(place)
            if known is None or known.mark != mark:
                head = self._heads.pop(place, None)
                if head and head.looks == looks(stat):
                    if own:
                        check_own(there, stat, around)
                    known = self._recall(place, mark, head)
                else:
                    known = self._read(place, mark, known, own=own)
            if known is None:
                return UnusableFile(Path(place), stat.st_size)
            run_id = self._aliases().get(known.alias, known.file.named)
            if known.file.header.run_id != run_id:
                header = known.file.header._replace(run_id=run_id)
                known = known._replace(file=known.file._replace(header=header))
                self._known[place] = known
            return known.file
        except OSError as error:
            return _unreadable(Path(place), error)

    def grown(self, path: Path) -> tuple[str, int] | None:
        """Run id and size of a file that has only grown since it was looked at, as far as its size
        tells; None where it has to be looked at. Never raises.

        Opening a live run's file for each of its records costs more than half of their upload. A
        file that is written over in place is seen when it is read, and by the next scan.
        """
        place = str(path)
        known = self._known.get(place)
        try:
            stat = os.lstat(real(place))
        except OSError:
            return None
        if known is None or known.mark[:2] != (stat.st_dev, stat.st_ino):
            return None
        if stat.st_size < known.mark[3]:
            return None
        return self._aliases().get(known.alias, known.file.named), stat.st_size

    def _recall(self, place: str, mark: tuple[int, ...], head: Head) -> _Known:
        """The file with this mark from the head that was kept of it."""
        header = RunHeader(
            head.run_id, head.run_name, head.project, NOTHING, head.upload, head.created,
            NOTHING, head.part,
        )  # fmt: skip
        return self._keep(place, mark, head.alias, header, head.first, as_kept=True)

    def _read(
        self, place: str, mark: tuple[int, ...], known: _Known | None, *, own: bool
    ) -> _Known | None:
        """The file with this mark; None while its first line isn't written. Raises OSError."""
        path = Path(place)
        line = first_line(path, own=own)
        if not line:
            self._known.pop(place, None)
            return None
        first = digest(line)
        if known is None or known.file.first_line_hash != first:
            header = header_of(line, path).slim()
            return self._keep(place, mark, alias_key(path, line), header, first)
        known = known._replace(mark=mark, file=known.file._replace(size=mark[-1], as_kept=False))
        self._known[place] = known
        return known

    def _keep(
        self,
        place: str,
        mark: tuple[int, ...],
        alias: str,
        header: RunHeader,
        first: str,
        *,
        as_kept: bool = False,
    ) -> _Known:
        if header.project in _NO_PROJECT:
            run_id = self._aliases().get(alias, header.run_id)
            project = self._uploaded_to(run_id) or default_project(Path(place).parent)
            header = header._replace(project=project)
        file = LogFile(
            place, mark[-1], header, first, header.run_id, "", self._largest_media, as_kept
        )
        self._known[place] = known = _Known(mark, alias, file)
        return known


def looks(stat: os.stat_result) -> tuple[int, ...]:
    """What a file's own times and size say of it: other ones once anything was written, or its
    rights or owner changed. No device: some file systems have another one after each boot."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def head_of(log: PinnedLog, size: int) -> Head | None:
    """The file's head, to be kept; None where it is another one by now, has not this size, can't be
    read, or was changed a moment ago: another change would then not show in its times."""
    path = log.path
    try:
        before = os.lstat(real(path))
        line = first_line(path)
        now = looks(os.lstat(real(path)))
    except OSError:
        return None
    still = time.time() - max(before.st_mtime, before.st_ctime) > _MOMENT
    if before.st_size != size or looks(before) != now or not still:
        return None
    if digest(line) != log.first_line_hash:
        return None
    slim = header_of(line, path).slim()
    return Head(
        now, log.first_line_hash, alias_key(path, line), slim.run_id, slim.run_name, slim.project,
        slim.upload, slim.created, slim.part,
    )  # fmt: skip


def _unreadable(path: Path, error: OSError) -> UnusableFile:
    """A file that can't be looked at."""
    if isinstance(error, UnsafeFile):
        return UnusableFile(
            path,
            code=ProblemCode.UNSAFE,
            problem=f"not opened: {error.strerror}",
            remedy=_way_out(path, error),
        )
    if isinstance(error, FileNotFoundError):
        return UnusableFile(
            path,
            code=ProblemCode.MISSING,
            problem="the file is gone",
            remedy="Put it back, and what it has is uploaded",
        )
    return UnusableFile(
        path,
        code=ProblemCode.UNREADABLE,
        problem=f"can't be read: {error.strerror}",
        remedy="Make the file readable for this user; then it can be uploaded"
        if error.errno in _NOT_ALLOWED
        else _OF_THE_DISK,
    )


def _way_out(path: Path, error: UnsafeFile) -> str:
    if error.errno == errno.EPERM:  # a file, of which it can't be told whose choice it was
        return (
            f"If it is to be uploaded: karaoke-syncd sync {shlex.quote(str(path))}. Where nobody "
            f"else has to write in the folder: chmod go-w {shlex.quote(str(path.parent))}"
        )
    return "Move it away; once the log itself is in its place, it can be uploaded"


def _unlisted(folder: Path, error: OSError) -> UnusableFile:
    """A folder that can't be looked into."""
    if isinstance(error, UnsafeFile):  # it led nowhere else when this process began
        return UnusableFile(
            folder,
            code=ProblemCode.UNSAFE,
            problem=f"not looked into: {error.strerror}",
            remedy="If you moved the folder: karaoke-syncd restart",
        )
    return UnusableFile(
        folder,
        code=ProblemCode.UNREADABLE,
        problem=f"can't be read: {error.strerror}",
        remedy="Make the folder readable for this user; its runs are then uploaded by themselves"
        if error.errno in _NOT_ALLOWED
        else _OF_THE_DISK,
    )


def header_of(line: bytes, path: Path) -> RunHeader:
    """The run that a file's first line names. A line that names none gives an id of its own,
    from its bytes and the file's name, so that whatever follows is uploaded all the same; from
    the bytes alone, all files that begin with a blank line would be one run."""
    try:
        return RunHeader.of(decode(line))
    except BadRecord:
        name = path.name.encode(errors="surrogateescape")
        identity = digest(name + b"\0" + line)[:16]
        shown = path.stem.encode(errors="surrogateescape").decode(errors="replace")
        return RunHeader(run_id=f"log-{identity}", run_name=shown, project="")


def alias_key(path: Path, line: bytes) -> str:
    """What tells a file with this first line, at this path, from its copies."""
    return digest(str(path).encode(errors="surrogateescape") + b"\0" + line)[:16]


def resolve_parts(found: Iterable[FoundFile], owners: Mapping[str, Uploaded]) -> list[FoundFile]:
    """Each file under its key. Files of one run_id are its parts, told apart by their first lines,
    and files with one first line are copies of each other: the one that was uploaded so far, else
    the first by name, is the run's own. owners: key -> what was uploaded under it."""
    files = _with_remainders(list(found), owners)
    runs: dict[str, list[LogFile]] = {}
    for file in files:
        if isinstance(file, LogFile):
            runs.setdefault(file.header.run_id, []).append(file)
    resolved: dict[str, FoundFile] = {}
    for run_id, its in runs.items():
        whole = owners.get(run_id, _NOBODY).first_line_hash == its[0].first_line_hash
        if not whole or len(its) > 1 or its[0].part:  # of nearly all runs the one file is known
            resolved |= _resolved(run_id, its, owners)
    return [resolved.get(file.place, file) for file in files] if resolved else files


def _resolved(
    run_id: str, files: Iterable[LogFile], owners: Mapping[str, Uploaded]
) -> Iterator[tuple[str, FoundFile]]:
    """The files of a run that are something else than the run itself, by place."""
    parts: dict[str, list[LogFile]] = {}
    for file in files:
        parts.setdefault(file.first_line_hash, []).append(file)
    first = _first_part(run_id, parts, owners)
    for line, same in parts.items():
        part = "" if line == first else line[:_PART_LENGTH]
        key = f"{run_id}.{part}" if part else run_id
        uploaded = owners.get(key, _NOBODY).path
        own = next((file for file in same if file.place == uploaded), same[0])
        for file in same:
            if file is not own:
                yield file.place, _copy(file, own.path)
            elif file.part != part:
                yield file.place, file._replace(part=part)


def _with_remainders(files: list[FoundFile], owners: Mapping[str, Uploaded]) -> list[FoundFile]:
    """The files; one whose first line names no run, in the place of an uploaded one that is gone,
    as that run's. A log that is emptied under its writer (logrotate's copytruncate) goes on in the
    middle, and would be another run of the folder's own project."""
    if all(not isinstance(file, LogFile) or file.is_named for file in files):
        return files
    here = {file.first_line_hash for file in files if isinstance(file, LogFile)}
    gone = {
        owner.path: (key, owner)
        for key, owner in owners.items()
        if owner.first_line_hash and owner.first_line_hash not in here
    }
    return [
        _as_run(file, *gone[file.place])
        if isinstance(file, LogFile) and not file.is_named and file.place in gone
        else file
        for file in files
    ]


def _as_run(file: LogFile, key: str, owner: Uploaded) -> LogFile:
    run_id = key.partition(".")[0]
    return file._replace(header=file.header._replace(run_id=run_id, project=owner.project))


def _first_part(
    run_id: str, parts: Mapping[str, Sequence[LogFile]], owners: Mapping[str, Uploaded]
) -> str:
    """The first line of the part that has the run id itself as its key; empty where that one is
    not among these."""
    owner = owners.get(run_id, _NOBODY)
    if owner.first_line_hash in parts:
        return owner.first_line_hash
    for line, files in parts.items():
        # Another file has taken its name, and does not say that it's another part: the run's own
        # file, as far as that can be told, which was replaced
        anyone = not owner.first_line_hash or not files[0].header.part
        if anyone and any(file.place == owner.path for file in files):
            return line
    if owner.first_line_hash:
        return ""
    fresh = [
        (*min((file.began, file.place) for file in files), line)
        for line, files in parts.items()
        if f"{run_id}.{line[:_PART_LENGTH]}" not in owners
    ]
    return min(fresh)[2] if fresh else ""


def as_new_command(path: Path | str) -> str:
    """What uploads the file as a run of its own, ready to be pasted into a shell."""
    return f"karaoke-syncd sync --as_new {shlex.quote(str(path))}"


def _copy(file: LogFile, original: Path) -> UnusableFile:
    return UnusableFile(
        file.path,
        file.size,
        code=ProblemCode.COPY,
        problem=f"a copy of {original.name}: both begin with the same record, and the run is "
        "uploaded from there",
        remedy="Remove it if it has nothing of its own, or upload it as a run of its own: "
        + as_new_command(file.path),
        header=file.header,
    )
