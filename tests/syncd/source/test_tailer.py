"""A path and a position -> complete lines, whatever is read when."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Line, Position
from syncd.source import fingerprint, tailer
from syncd.source.lines import Lines

START = Position()
LENGTHS = [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 5 << 19, tailer.CHUNK + 3, 2 * tailer.CHUNK]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.touch()
    return path


def read_all(path: Path, limit: int = tailer.CHUNK) -> tuple[list[Line], Position]:
    lines: list[Line] = []
    at = START
    while (chunk := tailer.read(path, at, limit)).lines:
        lines += chunk.lines
        assert chunk.lines.start == at
        at = chunk.lines.end
    return lines, at


def test_torn_tail_waits_for_its_newline(log: Path) -> None:
    log.write_bytes(b'{"a":1}\n{"b":')
    chunk = tailer.read(log, START)
    assert ([line.record for line in chunk.lines], chunk.lines.end) == ([{"a": 1}], Position(1, 8))
    assert chunk.scanned_to == 13  # looked at: nothing new until the file grows
    assert tailer.read(log, chunk.lines.end) == tailer.Chunk(Lines.of(b"", chunk.lines.end), 13)
    with log.open("ab") as file:
        file.write(b"2}\n")
    assert [line.record for line in tailer.read(log, chunk.lines.end).lines] == [{"b": 2}]


def test_a_part_of_a_file_is_not_looked_at_beyond_its_end(log: Path) -> None:
    log.write_bytes((b'{"a":"' + b"x" * 100_000 + b'"}\n') * 25)
    chunk = tailer.read(log, START)
    assert chunk.scanned_to == chunk.lines.end.offset < log.stat().st_size
    assert len(read_all(log)[0]) == 25


@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_line_takes_its_ordinal_and_the_next_one_comes(log: Path, length: int) -> None:
    pad = b"x" * (length - len('{"p":""}\n'))
    log.write_bytes(b'{"a":1}\n{"p":"' + pad + b'"}\n{"b":2}\n')
    lines, end = read_all(log)
    assert [line.at.ordinal for line in lines] == [0, 1, 2]
    assert lines[1].end.offset == 8 + length
    assert (lines[1].record is None) is (length > MAX_LINE)
    assert lines[2].record == {"b": 2}
    assert end.offset == log.stat().st_size


def test_a_torn_long_line_waits_too(log: Path) -> None:
    log.write_bytes(b"x" * (3 * MAX_LINE))
    chunk = tailer.read(log, START)
    assert (len(chunk.lines), chunk.lines.end, chunk.scanned_to) == (0, START, 3 * MAX_LINE)


@settings(max_examples=2 * settings.default.max_examples // 3)
@given(st.lists(st.binary(max_size=30), max_size=30), st.integers(0, 40))
def test_any_bytes_become_lines_that_lie_end_to_end(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: int
) -> None:
    log = tmp_path_factory.mktemp("any") / "a.jsonl"
    data = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    log.write_bytes(data + b"x" * torn)
    found, end = read_all(log)
    assert end == Position(len(lines), len(data))
    assert [line.at.offset for line in found] == [0, *[line.end.offset for line in found][:-1]][
        : len(lines)
    ]


@pytest.mark.parametrize("ordinal", range(4))
def test_lines_are_given_up_to_the_one_asked_for(log: Path, ordinal: int) -> None:
    log.write_bytes(b'{"n":0}\n{"n":1}\n{"n":2}\n{"torn')
    given = [line.at.ordinal for lines in tailer.until(log, ordinal) for line in lines]
    assert given == list(range(ordinal))


def test_where_the_file_ends_before_there_are_fewer(log: Path) -> None:
    log.write_bytes(b"{}\n{}\n{")
    assert [lines.end for lines in tailer.until(log, 99)] == [Position(2, 6)]
    assert list(tailer.until(log, 99, Position(2, 6))) == []


def test_each_line_ends_where_the_file_did_while_its_writer_goes_on_without_a_rest(
    log: Path,
) -> None:
    log.write_bytes(b"{}\n" * 3)
    taken = 0
    for line in itertools.islice(tailer.each_line(log), 9):
        taken = line.end.ordinal
        with log.open("ab") as file:
            file.write(b"{}\n")
    assert taken == 3


def test_every_line_of_a_file_of_many_reads_is_found_from_any_other(log: Path) -> None:
    sizes = (400_000, 900_000, 1 << 21)
    pads = (b'{"pad":"' + b"x" * size + b'"}\n' + b"{}\n" * 4 for size in sizes)
    log.write_bytes(b"".join(pads))
    lines, _ = read_all(log)
    for start in (lines[0].at, lines[5].at, lines[11].at):
        for line in lines[start.ordinal :]:
            *_, last = tailer.until(log, line.end.ordinal, start)
            assert last.end == line.end


def test_a_first_line_is_none_until_it_is_whole_or_over_long(log: Path) -> None:
    assert fingerprint.first_line(log) == b""
    log.write_bytes(b'{"torn')
    assert fingerprint.first_line(log) == b""
    log.write_bytes(b"{}\n{}\n")
    assert fingerprint.first_line(log) == b"{}\n"
    log.write_bytes(b"x" * (MAX_LINE + 9))
    assert fingerprint.first_line(log) == b"x" * MAX_LINE


def test_a_fingerprint_stays_while_the_file_grows_and_tells_what_changed(log: Path) -> None:
    log.write_bytes(b'{"type":"config"}\n' + b'{"n":1}\n' * 99)
    at = tailer.read(log, START).lines.end
    known = fingerprint.fingerprint(log, at)
    with log.open("ab") as file:
        file.write(b'{"n":2}\n')
    fingerprint.check(log, at, known)
    whole = log.read_bytes()
    for code, data in (
        ("truncated", whole[: at.offset - 1]),
        ("replaced", b'{"type":"other!"}\n' + whole[18:]),
        ("rewritten", whole[: at.offset - 3] + b"9}\n" + whole[at.offset :]),
    ):
        log.write_bytes(data)
        with pytest.raises(fingerprint.FileChanged) as changed:
            fingerprint.check(log, at, known)
        assert changed.value.code == code


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each look beyond a read's own takes."""
    sizes: list[int] = []
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        data = real(descriptor, length, offset)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", pread)
    return sizes


def test_the_end_of_a_long_line_is_looked_for_a_part_at_a_time_and_no_part_twice(
    log: Path, read_bytes: list[int]
) -> None:
    line = b"x" * (9 * tailer.CHUNK) + b"\n"
    log.write_bytes(line + b'{"b":2}\n')
    searched_to, looks = 0, 0
    while not (
        chunk := tailer.read(log, START, searched_to=searched_to, search=tailer.CHUNK)
    ).lines:
        assert chunk.scanned_to > searched_to
        searched_to, looks = chunk.scanned_to, looks + 1
    assert looks > 3
    assert chunk.lines.end == Position(1, len(line))
    assert sum(read_bytes) <= len(line) + tailer.CHUNK
    assert [line.record for line in tailer.read(log, chunk.lines.end).lines] == [{"b": 2}]


def test_a_line_that_never_ends_is_news_only_where_it_grew(
    log: Path, read_bytes: list[int]
) -> None:
    log.write_bytes(b"x" * (2 * tailer.CHUNK))
    scanned = tailer.read(log, START).scanned_to
    assert scanned == log.stat().st_size
    with log.open("ab") as file:
        file.write(b"y" * 10)
    read_bytes.clear()
    assert tailer.read(log, START, searched_to=scanned).scanned_to == scanned + 10
    assert sum(read_bytes) == 10


def test_a_file_that_became_shorter_is_looked_through_anew(log: Path) -> None:
    line = b"x" * (tailer.CHUNK + 5) + b"\n"
    log.write_bytes(line)
    assert tailer.read(log, START, searched_to=1 << 40).lines.end == Position(1, len(line))


def test_the_holes_of_a_terabyte_are_not_read(log: Path, read_bytes: list[int]) -> None:
    log.write_bytes(b'{"a":1}\n')
    with log.open("ab") as file:
        file.truncate(1 << 40)
    if _holes_are_told(log):
        begin = tailer.read(log, START).lines.end
        assert tailer.read(log, begin).scanned_to == 1 << 40
        assert tailer.count_lines(log, 0)[0] == 1
        assert sum(read_bytes) < 8 * tailer.CHUNK


def _holes_are_told(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return os.lseek(file.fileno(), 1 << 30, os.SEEK_DATA) != 1 << 30
        except OSError:
            return True


def test_lines_behind_a_hole_are_counted(log: Path) -> None:
    with log.open("wb") as file:
        file.seek(tailer.CHUNK * 3)
        file.write(b"\n{}\n")
    assert tailer.count_lines(log, 0)[0] == 2
    assert [line.at.ordinal for line in read_all(log)[0]] == [0, 1]


def test_lines_are_counted_up_to_one_that_does_not_end(
    log: Path, monkeypatch: pytest.MonkeyPatch, read_bytes: list[int]
) -> None:
    monkeypatch.setattr(tailer, "SEARCH", 2 * tailer.CHUNK)
    log.write_bytes(b"{}\n" * 5 + b"x" * (9 * tailer.CHUNK))
    assert tailer.count_lines(log, 3)[0] == 4
    assert sum(read_bytes) <= 4 * tailer.CHUNK


def test_blank_lines_without_number_are_handed_over_a_part_at_a_time(log: Path) -> None:
    log.write_bytes(b"\n" * 50_000)
    parts = list(tailer.until(log, 50_000))
    assert [len(part) for part in parts] == [tailer.MOST, tailer.MOST, 10_000]
    assert parts[-1].end == Position(50_000, 50_000)


@pytest.mark.parametrize("pad", [0, 300])
def test_what_a_file_shows_behind_a_read_is_known_without_another_look(log: Path, pad: int) -> None:
    log.write_bytes(b'{"type":"config"}\n')
    shown, at = fingerprint.fingerprint(log, START), START
    for number in range(4):
        with log.open("ab") as file:
            file.write(b'{"n":"%d%s"}\n' % (number, b"x" * pad))
        chunk = tailer.read(log, at, expect=shown)
        shown, at = fingerprint.later(shown, chunk.before, chunk.lines.data), chunk.lines.end
        assert shown == fingerprint.fingerprint(log, at)


def test_lines_that_were_counted_are_not_read_again(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[int] = []
    count_lines = tailer.count_lines

    def counted(path: Path, offset: int) -> tuple[int, int]:
        began.append(offset)
        return count_lines(path, offset)

    monkeypatch.setattr(tailer, "count_lines", counted)
    counts = tailer.Counts()
    for data, lines in ((b"{}\n{}\n{", 2), (b"}\n", 3), (b"", 3), (b"{}\n", 4)):
        with log.open("ab") as file:
            file.write(data)
        assert counts.of("log", log, log.stat().st_size, START) == lines
    assert began == [0, 6, 9]
    log.write_bytes(b"{}\n")  # cut off
    assert counts.of("log", log, 3, START) == 1
    log.unlink()
    assert counts.of("log", log, 9, START) == 1
    assert counts.of("another", log, 9, Position(5, 9)) == 5
