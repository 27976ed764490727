"""What a run's file says of its attempts so far, and what the next one adds to it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from karaoke_train.runlog import RunLog, RunLogError, lock, reopen
from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import holder_of
from karaoke_train.runlog.reopen import Past, read_past
from tests.karaoke_train.runlog.files import lines_of, records_of


def past_of(path: Path) -> Past:
    """What the file at `path` says."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return read_past(descriptor)
    finally:
        os.close(descriptor)


def configs_of(path: Path) -> list[dict[str, Any]]:
    return [record for record in records_of(path) if record["type"] == "config"]


def test_each_start_of_a_run_is_counted(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path, config={"lr": 1, "seed": 2})
    assert log.attempt == 1
    log.close()
    for attempt, config in ((2, {"lr": 5}), (3, {"batch": 8})):
        with RunLog.resume(log.path, config=config) as again:
            assert again.attempt == attempt
            again.train(attempt, 0, {"x": "config"})
    assert [record["attempt"] for record in configs_of(log.path)] == [1, 2, 3]
    assert configs_of(log.path)[-1]["config"] == {"lr": 5, "seed": 2, "batch": 8}


def test_a_resumed_run_may_say_from_which_step_it_goes_on(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path)
    log.close()
    RunLog.resume(log.path, step=0).close()
    RunLog.resume(log.path).close()
    RunLog.resume(log.path, step=200).close()
    steps = [record.get("resumed_from_step", "unsaid") for record in configs_of(log.path)]
    assert steps == ["unsaid", 0, "unsaid", 200]


def test_a_file_of_another_writer_goes_on_without_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "songs" / "training_log_x.jsonl"
    path.parent.mkdir()
    path.write_text('{"type": "config", "run_id": "r", "config": {"lr": 1}}\n')
    with RunLog.resume(path) as log:
        assert (log.project, log.attempt) == ("songs", 2)
    again = configs_of(path)[-1]
    assert (again["run_id"], again["attempt"], again["config"]) == ("r", 2, {"lr": 1})
    assert again.keys().isdisjoint({"part", "tags", "group", "job_type", "notes"})


@pytest.mark.parametrize(
    ("lines", "attempt"),
    [
        ([], 0),
        (['{"type":"config"}'], 1),
        (['{ "config" : {}, "type" : "config" }', '{"type":"config"}'], 2),
        (['{"type":"config"}', '{"type":"train","config":1}', '{"config":{"type":"config"}}'], 1),
        (['{"type":"config"}', '{"type":"config"', '["config"]', '"config"'], 1),
        (['{"type":"config","attempt":4}', '{"type":"config"}'], 5),
        (['{"type":"config","attempt":4}', '{"type":"config","attempt":4}'], 4),
        (['{"type":"config"}', '{"type":"config","attempt":0}'], 2),
        (['{"type":"config"}', '{"type":"config","attempt":true}'], 2),
        (['{"type":"config"}', '{"type":"config","attempt":"9"}'], 2),
        (['{"type":"config"}', '{"type":"config","x":"%s"}' % ("a" * MAX_LINE)], 1),
        (['{"type":"config"}'.ljust(MAX_LINE - 1), '{"type":"config"}'], 2),
        (['{"type":"config"}'.ljust(MAX_LINE), '{"type":"config"}'], 1),
        (['{"type":"config"}'.ljust(2 * MAX_LINE), '{"type":"config"}'], 1),
        (['{"type":"config"}', '{"type":"train"}' * 200_000, '{"type":"config"}'], 2),
    ],
)
@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("chunk", [1 << 20, 7])
def test_attempts_are_the_config_records_of_a_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    attempt: int,
    torn: bool,
    chunk: int,
) -> None:
    if chunk < 100 and sum(map(len, lines)) > 10_000:
        chunk = 100_003
    monkeypatch.setattr(reopen, "_CHUNK", chunk)
    path = tmp_path / "log"
    path.write_text("\n".join(lines) + ("" if torn else "\n"))
    assert past_of(path).attempt == attempt


def test_the_newest_config_record_is_found_and_all_configs_together(tmp_path: Path) -> None:
    records = [
        {"type": "config", "config": {"a": 1, "b": 1}, "notes": "old"},
        {"type": "config", "config": {"b": 2}, "notes": "new"},
        {"type": "config", "config": None, "notes": "newest"},
        {"type": "config", "config": [3], "notes": "last"},
    ]
    path = tmp_path / "log"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    past = past_of(path)
    assert past.config == {"a": 1, "b": 2, "config": [3]}
    assert past.newest["notes"] == "last"


def test_no_line_is_parsed_that_can_be_no_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    real = reopen.decode
    monkeypatch.setattr(reopen, "decode", lambda line: parsed.append(line) or real(line))
    path = tmp_path / "log"
    path.write_bytes(b'{"type":"config"}\n' + b'{"type":"train","train/loss":1.0}\n' * 50_000)
    assert past_of(path).attempt == 1
    assert parsed == [b'{"type":"config"}\n']


def test_what_can_not_be_resumed_with_leaves_a_torn_line_torn(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path)
    log.close()
    with log.path.open("ab") as file:
        file.write(b'{"type":"tr')
    before = log.path.read_bytes()
    with pytest.raises(RunLogError, match="config can't be written"):
        RunLog.resume(log.path, config={"x": "a" * MAX_LINE})
    assert log.path.read_bytes() == before
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RunLogError):
        RunLog.resume(log.path, config={"x": "a" * MAX_LINE})
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    RunLog.resume(log.path).close()
    assert [line.record is None for line in lines_of(log.path)].count(True) == 1


def test_a_file_that_can_not_be_opened_is_named_and_nobody_is_kept_out_of_it(
    tmp_path: Path,
) -> None:
    gone = tmp_path / "training_log_gone.jsonl"
    with pytest.raises(RunLogError, match=r"gone\.jsonl can't be continued: No such file"):
        reopen.reopen_file(gone, lambda past, kind: b"{}\n")
    assert holder_of(lock_path(gone)) is None


def test_a_line_that_is_torn_is_ended_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "training_log_torn.jsonl"
    path.write_bytes(b'{"type":"config"}\n{"type":"tr')
    sink = reopen.reopen_file(path, lambda past, kind: b'{"type":"config","attempt":2}\n')
    sink.close()
    assert path.read_bytes().splitlines()[1:] == [b'{"type":"tr', b'{"type":"config","attempt":2}']


def test_the_lease_of_a_dead_host_is_waited_for_before_its_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    for module in (lock, reopen):
        monkeypatch.setattr(module, "LEASE", 2.0)
    monkeypatch.setattr(reopen, "LOCK_WAIT", 0.0)
    path = tmp_path / "training_log_theirs.jsonl"
    path.write_bytes(b'{"type":"config"}\n')
    held = lock_path(path)
    held.parent.mkdir()
    held.write_text('{"host": "elsewhere", "pid": 1, "since": "then"}')
    held.with_name(f"{held.name}.lease").write_text(
        "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=t\nduration=2.0\n"
    )
    sink = reopen.reopen_file(path, lambda past, kind: b"{}\n")
    holder = holder_of(held)
    assert holder is not None
    assert holder.pid == os.getpid()
    sink.close()
