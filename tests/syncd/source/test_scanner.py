"""Log folders -> the run in each file, and which of several is its own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from syncd.errors import ProblemCode
from syncd.source import scanner
from syncd.source.fingerprint import digest
from syncd.source.scanner import (
    FoundFile,
    LogFile,
    LogScanner,
    Owner,
    UnusableFile,
    alias_key,
    header_of,
    resolve_parts,
)
from tests.syncd.world import config_line, train_line


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "training_log_a.jsonl"
    path.write_bytes(config_line())
    return path


def copies(files: list[FoundFile]) -> list[Path]:
    """The paths of those that are copies."""
    return [
        file.path
        for file in files
        if isinstance(file, UnusableFile) and file.code is ProblemCode.COPY
    ]


def test_only_record_logs_are_looked_at(log: Path) -> None:
    for name in ("notes.jsonl", "training_log_a.json", "training_log_b.jsonl.tmp"):
        (log.parent / name).write_bytes(config_line())
    folders = [log.parent, log.parent, log.parent / "none"]
    assert [found.path for found in LogScanner().scan(folders)] == [log]


def test_a_files_first_line_names_its_run(log: Path) -> None:
    found = LogScanner().look(log)
    assert isinstance(found, LogFile)
    assert (found.run_id, found.header.project) == ("run-1", "songs")
    assert found.media.path == log.parent / "media" / "run-1"
    assert found.size == log.stat().st_size


@pytest.mark.parametrize("data", [b"", b'{"type":"config","run_id'])
def test_a_first_line_that_is_not_whole_names_none_yet(log: Path, data: bytes) -> None:
    log.write_bytes(data)
    scanner = LogScanner()
    assert scanner.look(log) == UnusableFile(log, len(data))  # nothing that is anybody's fault
    log.write_bytes(config_line("run-2"))
    found = scanner.look(log)
    assert isinstance(found, LogFile)
    assert found.run_id == "run-2"


def test_a_file_that_gave_way_to_another_one_is_read_again(log: Path) -> None:
    scanner = LogScanner()
    scanner.look(log)
    log.write_bytes(config_line("run-2") + train_line(1))  # in place: the inode stays
    found = scanner.look(log)
    assert isinstance(found, LogFile)
    assert found.run_id == "run-2"


def test_a_file_that_has_only_grown_is_known_by_its_size(log: Path) -> None:
    scanner = LogScanner()
    assert scanner.grown(log) is None  # never looked at
    scanner.look(log)
    with log.open("ab") as file:
        file.write(train_line(1))
    log.chmod(0)  # its size is all that is asked for
    assert scanner.grown(log) == ("run-1", log.stat().st_size)


def test_a_file_that_is_shorter_another_one_or_gone_has_to_be_looked_at(log: Path) -> None:
    scanner = LogScanner()
    scanner.look(log)
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    assert scanner.grown(log) is None
    log.with_name("other").write_bytes(whole + train_line(1))
    log.with_name("other").replace(log)
    assert scanner.grown(log) is None
    log.unlink()
    assert scanner.grown(log) is None


def test_a_file_made_new_has_only_grown_under_its_new_id(log: Path) -> None:
    aliases = {alias_key(log, config_line()): "run-2"}
    scanner = LogScanner(lambda: aliases)
    scanner.look(log)
    assert scanner.grown(log) == ("run-2", log.stat().st_size)


def test_a_first_line_that_names_no_run_gives_one_that_stays(log: Path) -> None:
    here = header_of(b"{bad\n", log)
    assert here.run_id.startswith("log-")
    assert here == header_of(b"{bad\n", log.parent / "moved" / log.name)
    assert here.run_id != header_of(b"{bad\n", log.with_name("training_log_b.jsonl")).run_id
    assert here.run_id != header_of(b"{worse\n", log).run_id


def test_a_file_that_cannot_be_read_says_so(log: Path) -> None:
    found = LogScanner().look(log.with_name("x" * 300))
    assert isinstance(found, UnusableFile)
    assert found.code is ProblemCode.UNREADABLE
    assert "File name too long" in found.problem


def test_a_link_is_no_log(log: Path) -> None:
    link = log.with_name("training_log_link.jsonl")
    link.symlink_to(log)
    found = LogScanner().look(link, chosen=True)
    assert isinstance(found, UnusableFile)
    assert found.code is ProblemCode.UNSAFE
    assert "symbolic link" in found.problem


def test_a_file_that_anybody_can_have_put_there_is_opened_when_it_is_chosen(log: Path) -> None:
    os.link(log, log.with_name("second name"))
    log.parent.chmod(0o777)
    found = LogScanner().look(log)
    assert isinstance(found, UnusableFile)
    assert found.code is ProblemCode.UNSAFE
    assert f"karaoke-syncd sync {log}" in found.remedy
    assert f"chmod go-w {log.parent}" in found.remedy
    assert isinstance(LogScanner().look(log, chosen=True), LogFile)


def test_a_folder_that_became_a_link_is_named_and_the_others_are_read(
    log: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "training_log_b.jsonl").write_bytes(config_line("run-2"))
    scanner = LogScanner()
    assert len(list(scanner.scan([other, log.parent]))) == 2
    other.rename(tmp_path / "secret")
    other.symlink_to(tmp_path / "secret")
    first, second = scanner.scan([other, log.parent])
    assert isinstance(first, UnusableFile)
    assert (first.path, first.code) == (other, ProblemCode.UNSAFE)
    assert "restart" in first.remedy
    assert isinstance(second, LogFile)


def test_the_first_of_several_is_the_runs_own_unless_another_was_uploaded(log: Path) -> None:
    copy = log.with_name("training_log_b.jsonl")
    shutil.copy(log, copy)
    found = list(LogScanner().scan([log.parent]))
    assert copies(resolve_parts(found, {})) == [copy]
    (first, second) = resolve_parts(found, {"run-1": Owner(str(copy))})
    assert copies([first, second]) == [log]
    assert isinstance(first, UnusableFile)
    assert f"karaoke-syncd sync --as_new {log}" in first.remedy
    assert copies(resolve_parts(found, {"run-1": Owner("/gone")})) == [copy]


def test_files_of_one_run_are_its_parts_and_keep_their_keys(log: Path) -> None:
    first, second, third = parts = [log.with_name(f"training_log_{name}.jsonl") for name in "zyx"]
    log.unlink()
    for part, created in zip(parts, ("01", "02", "03"), strict=True):
        part.write_bytes(config_line("job42", part=part.stem[-1], created=f"2024-01-{created}"))

    def keys(*paths: Path, owners: Mapping[str, Owner] | None = None) -> dict[Path, str]:
        found = map(LogScanner().look, paths)
        listed = resolve_parts(found, owners or {})
        return {file.path: file.key for file in listed if isinstance(file, LogFile)}

    one = keys(*parts)
    assert one[first] == "job42", "the one that began first, whatever its name"
    assert all(one[path].startswith("job42.") for path in (second, third))
    assert one[second] != one[third]
    hashes = {path: digest(path.read_bytes()) for path in parts}
    owners = {one[path]: Owner(str(path), hashes[path]) for path in parts}
    assert keys(*parts, owners=owners) == one
    assert keys(second, third, owners=owners) == {second: one[second], third: one[third]}
    # The one that was found alone has the run's id as its key from then on
    alone = {"job42": Owner(str(second), hashes[second])}
    assert keys(second) == {second: "job42"}
    late = keys(*parts, owners=alone)
    assert late[second] == "job42"
    assert all(late[path].startswith("job42.") for path in (first, third))


def test_a_copy_of_a_part_is_a_copy_of_that_part(log: Path) -> None:
    other = log.with_name("training_log_b.jsonl")
    other.write_bytes(config_line("run-1", part="b"))
    copy = log.with_name("training_log_c.jsonl")
    shutil.copy(other, copy)
    found = resolve_parts(LogScanner().scan([log.parent]), {})
    assert copies(found) == [copy]
    (problem,) = [file.problem for file in found if isinstance(file, UnusableFile)]
    assert f"a copy of {other.name}" in problem


def test_a_file_in_the_place_of_an_older_one_is_that_run_unless_it_says_otherwise(
    log: Path,
) -> None:
    before = {"run-1": Owner(str(log), "f" * 32)}
    (replaced,) = resolve_parts([LogScanner().look(log)], before)
    assert isinstance(replaced, LogFile)
    assert replaced.key == "run-1"
    log.write_bytes(config_line("run-1", part="k3x9"))
    (part,) = resolve_parts([LogScanner().look(log)], before)
    assert isinstance(part, LogFile)
    assert part.key.startswith("run-1.")


def test_a_file_made_new_is_a_run_of_its_own_wherever_its_copy_is(log: Path) -> None:
    key = alias_key(log, log.read_bytes())
    found = LogScanner(lambda: {key: "run-1-new"}).look(log)
    assert isinstance(found, LogFile)
    assert found.run_id == "run-1-new"
    assert found.media.path.name == "run-1"
    assert key != alias_key(log.with_name("training_log_b.jsonl"), log.read_bytes())


def test_a_name_in_no_encoding_is_a_name(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/training_log_\xff.jsonl"))
    path.write_bytes(b"{bad\n")
    found = LogScanner().look(path)
    assert isinstance(found, LogFile)
    assert alias_key(path, b"x")


def test_a_run_without_a_project_is_in_the_one_its_folder_names(tmp_path: Path) -> None:
    for folder, project in ((tmp_path / "songs" / "logs", "songs"), (tmp_path / "runs", "runs")):
        folder.mkdir(parents=True)
        for name, line in (("a", config_line(project=None)), ("b", b"no record\n")):
            path = folder / f"training_log_{name}.jsonl"
            path.write_bytes(line)
            found = LogScanner().look(path)
            assert isinstance(found, LogFile)
            assert found.header.project == project


def test_a_run_without_a_project_stays_where_it_was_uploaded_to(tmp_path: Path) -> None:
    before, after = tmp_path / "old", tmp_path / "new"
    asked: list[str] = []

    def uploaded_to(run_id: str) -> str:
        asked.append(run_id)
        return "old" if run_id == "run-1" else ""

    scanner = LogScanner(uploaded_to=uploaded_to)
    for folder in (before, after):
        folder.mkdir()
        (folder / "training_log_a.jsonl").write_bytes(config_line(project=None))
        (folder / "training_log_b.jsonl").write_bytes(config_line("run-2", project=None))
        (folder / "training_log_c.jsonl").write_bytes(config_line("run-3"))
    files = [file for file in scanner.scan([after]) if isinstance(file, LogFile)]
    assert [file.header.project for file in files] == ["old", "new", "songs"]
    list(scanner.scan([after]))
    assert asked == ["run-1", "run-2"]


def test_what_is_left_of_a_log_that_was_emptied_belongs_to_its_run(log: Path) -> None:
    before = {"run-1": Owner(str(log), digest(config_line()), "songs")}
    log.write_bytes(train_line(7))
    (rest,) = resolve_parts([LogScanner().look(log)], before)
    assert isinstance(rest, LogFile)
    assert (rest.key, rest.header.project) == ("run-1", "songs")
    moved = log.with_name("training_log_moved.jsonl")
    moved.write_bytes(config_line())
    both = resolve_parts([LogScanner().look(path) for path in (log, moved)], before)
    assert [file.key for file in both if isinstance(file, LogFile)][1] == "run-1", "it was moved"
    assert not [file for file in both[:1] if isinstance(file, LogFile) and file.is_named]


@pytest.mark.parametrize(
    ("number", "asked_for"), [(errno.EACCES, "readable for this user"), (errno.EIO, "dmesg")]
)
def test_what_a_disk_refuses_is_told_from_what_rights_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, asked_for: str
) -> None:
    path = tmp_path / "training_log_1.jsonl"
    path.write_bytes(config_line())

    def refuses(*what: object, **how: object) -> bytes:
        raise OSError(number, os.strerror(number))

    for name in ("first_line", "names_in"):
        monkeypatch.setattr(scanner, name, refuses)
    found = [LogScanner().look(path), *LogScanner().scan([tmp_path])]
    for one in found:
        assert isinstance(one, UnusableFile)
        assert os.strerror(number) in one.problem
        assert asked_for in one.remedy
