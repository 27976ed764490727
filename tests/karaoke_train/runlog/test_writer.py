"""RunLog: four lines in a training loop, and what they leave in the file."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from karaoke_train.runlog import LogBusy, RunLog, RunLogError, create, lock, reopen
from karaoke_train.runlog.format import MAX_LINE, RunHeader
from karaoke_train.runlog.layout import lock_path, log_name
from karaoke_train.runlog.lock import Lock, holder_of
from karaoke_train.runlog.reader import Position
from tests.karaoke_train.runlog.files import (
    lines_of,
    records_of,
    run_python,
    split_lines,
    steps_of,
    warned,
)
from tests.patience import patience


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A run's file whose writer has gone: its config record and two steps."""
    log = RunLog.create(tmp_path, project="songs", config={"lr": 1, "seed": 2}, run_name="take")
    for step in (1, 2):
        log.train(step, 0.5, {"train/loss": 1.0})
    log._sink.close()
    return log.path


def test_a_run_in_four_lines(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="songs", config={"lr": 3e-4})
    log.train(1, 0.5, {"train/loss": 2.0})
    log.val(1, 0.5, {"val/loss": 3.0})
    log.epoch_summary(1, train_loss=2.0, val_loss=3.0, val_metrics={"note_accuracy": 0.5})
    log.close("finished")

    config, train, val, summary, end = records_of(log.path)
    header = RunHeader.of(config)
    assert (header.run_id, header.run_name, header.project) == (log.run_id, log.run_name, "songs")
    assert (header.config, header.upload) == ({"lr": 3e-4}, True)
    assert (config["schema"], config["host"]) == (1, socket.gethostname())
    assert (config["pid"], config["lock"]) == (os.getpid(), "flock")
    assert (train["type"], train["step"], train["train/loss"]) == ("train", 1, 2.0)
    assert (val["type"], val["epoch"], val["val/loss"]) == ("val", 0.5, 3.0)
    assert (summary["train_loss"], summary["val_metrics"]) == (2.0, {"note_accuracy": 0.5})
    assert (end["type"], end["status"], end["exit_code"]) == ("end", "finished", 0)
    for record in (train, val, summary, end):
        assert datetime.fromisoformat(record["timestamp"]).tzinfo


def test_the_file_is_named_by_the_second_and_a_number_for_the_next(tmp_path: Path) -> None:
    moment = datetime(2024, 1, 15, 14, 30, 22, tzinfo=UTC)
    paths = []
    for _ in range(3):
        sink, kind = create.create_file(tmp_path, moment)
        assert kind == "flock"
        paths.append(sink.path.name)
        sink.close()
    assert paths == [log_name(moment, attempt) for attempt in range(3)]
    assert paths[0] == "training_log_20240115_143022.jsonl"


def test_the_config_record_has_what_was_given_and_nothing_else(tmp_path: Path) -> None:
    with RunLog.create(tmp_path / "songs" / "logs") as log:
        pass
    config = records_of(log.path)[0]
    assert config["project"] == log.project == "songs"
    assert config["run_name"].startswith("songs_")
    assert config["attempt"] == 1
    assert config.keys().isdisjoint({"tags", "group", "job_type", "notes", "resumed"})
    with RunLog.create(tmp_path, tags=["a", "b", "a"], group="g", job_type="j", notes="n") as log:
        pass
    again = records_of(log.path)[0]
    assert (again["tags"], again["group"], again["job_type"]) == (["a", "b"], "g", "j")
    assert again["notes"] == "n"
    assert 0 < len(again["part"]) < 64
    assert again["part"] != config["part"] != config["run_id"]


@pytest.mark.parametrize(("tags", "length"), [([""], 0), (["ok", "a" * 65], 65), ("b" * 100, 100)])
def test_a_tag_that_wandb_would_refuse_starts_no_run(
    tmp_path: Path, tags: Any, length: int
) -> None:
    with pytest.raises(RunLogError, match=f"has {length} characters; wandb takes 1 to 64"):
        RunLog.create(tmp_path, tags=tags)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_given_relative_stays_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RunLog.create("logs") as log:
        monkeypatch.chdir("/")
        assert log.path.parent == tmp_path / "logs"
        assert log.media_dir == tmp_path / "logs" / "media" / log.run_id


@pytest.mark.parametrize("run_id", ["", "a b", "../x", "a" * 65, "é", "-a", 17])
def test_a_run_id_that_wandb_would_refuse_is_refused(tmp_path: Path, run_id: Any) -> None:
    with pytest.raises(RunLogError, match="letters, digits"):
        RunLog.create(tmp_path, run_id=run_id)
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_can_not_be_written_starts_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match="No run was started"):
        RunLog.create(tmp_path, config={"x": "a" * MAX_LINE})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(RunLogError, match=r"no run log can be written in .*Give another folder"):
        RunLog.create(tmp_path / "logs")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, "finished", 0),
        (ValueError("x"), "failed", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (SystemExit(), "finished", 0),
        (SystemExit(0), "finished", 0),
        (SystemExit(3), "failed", 3),
        (SystemExit("words"), "failed", 1),
        (SystemExit(""), "failed", 1),
        (SystemExit(True), "failed", 1),
        (SystemExit(130), "interrupted", 130),
        (GeneratorExit(), "failed", 1),
    ],
    ids=repr,
)
def test_the_with_block_says_how_the_run_ended(
    tmp_path: Path, error: BaseException | None, status: str, code: int
) -> None:
    def work() -> None:
        with RunLog.create(tmp_path):
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    (path,) = tmp_path.glob("*.jsonl")
    end = records_of(path)[-1]
    assert (end["type"], end["status"], end["exit_code"]) == ("end", status, code)


def test_closing_twice_is_nothing_and_appending_after_it_an_error(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        log.close("interrupted", exit_code=7)
    log.close()
    with pytest.raises(RunLogError, match="is closed"):
        log.train(1, 1, {})
    assert [record.get("exit_code") for record in records_of(log.path)] == [None, 7]
    assert holder_of(lock_path(log.path)) is None


def test_an_unknown_status_ends_nothing(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        with pytest.raises(RunLogError, match="finished, failed, interrupted"):
            log.close("done")
        log.train(1, 1, {})
    assert steps_of(log.path) == [1]


def test_a_metric_named_like_an_own_field_is_renamed_and_told_once(tmp_path: Path) -> None:
    metrics = {"step": 9, "type": "x", "timestamp": "y", "epoch": 0.5, "train/loss": 1}
    with (
        RunLog.create(tmp_path) as log,
        warned("'epoch' is written as 'train/epoch'", "'step'", "'timestamp'", "'type'", "'val/"),
    ):
        log.train(5, 1, metrics)
        log.train(6, 1, metrics)
        log.val(6, 1, {"epoch": 7})
    _, first, second, val, _ = records_of(log.path)
    for record, step in ((first, 5), (second, 6)):
        assert (record["type"], record["step"], record["epoch"]) == ("train", step, 1)
        assert datetime.fromisoformat(record["timestamp"])
        for key, value in metrics.items():
            assert record[key if key == "train/loss" else f"train/{key}"] == value
    assert (val["epoch"], val["val/epoch"]) == (1, 7)


def test_a_new_name_takes_no_other_metrics_place(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log, warned("'train/step__'"):
        log.train(5, 1, {"train/step_": 3, "step": 1, "train/step": 2})
    record = records_of(log.path)[1]
    found = [record[name] for name in ("step", "train/step__", "train/step", "train/step_")]
    assert found == [5, 1, 2, 3]


def test_a_metric_that_says_what_the_field_says_is_no_news(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log, warned():
        log.train(5, 1, {"step": 5, "epoch": 1.0, "type": "train"})
    assert set(records_of(log.path)[1]) == {"type", "timestamp", "step", "epoch"}


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (
            {"type": "train", "step": 3, "loss": 0.5, "x": "a" * MAX_LINE},
            {"type": "train", "step": 3, "loss": 0.5},
        ),
        ({"type": "train", "step": "a" * MAX_LINE}, {"type": "train"}),
    ],
    ids=["large metric", "large step"],
)
def test_of_a_record_that_can_not_be_a_line_the_rest_is_written(
    tmp_path: Path, record: dict[str, Any], kept: dict[str, Any]
) -> None:
    with RunLog.create(tmp_path) as log, warned("left out of a record: "):
        log.append(record)
    got = records_of(log.path)[1]
    assert "at most 1,048,576" in got.pop("left_out")
    assert got == kept


class Wordless:
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("odd", "reason"), [(Wordless(), "no words"), ("a" * MAX_LINE, "at most 1,048,576")]
)
def test_of_an_epochs_metrics_the_one_that_can_not_be_written_is_left_out_alone(
    tmp_path: Path, odd: object, reason: str
) -> None:
    with RunLog.create(tmp_path) as log, warned("left out of a record: train_metrics/odd: "):
        log.epoch_summary(3, train_loss=0.5, train_metrics={"odd": odd, "f1": 0.9}, val_loss=1.0)
    got = records_of(log.path)[1]
    assert reason in got["left_out"]
    assert (got["epoch"], got["train_loss"], got["val_loss"]) == (3, 0.5, 1.0)
    assert (got["train_metrics"], got["val_metrics"]) == ({"f1": 0.9}, {})


def test_of_too_many_metrics_of_an_epoch_those_that_fit_are_written(tmp_path: Path) -> None:
    metrics = {f"metric_{number:05d}": "x" * 40 for number in range(20_000)}
    with RunLog.create(tmp_path) as log, warned("bytes, too much for one line; and "):
        log.epoch_summary(3, train_loss=0.5, train_metrics=metrics)
    got = records_of(log.path)[1]
    assert got["train_loss"] == 0.5
    assert 15_000 < len(got["train_metrics"]) < 20_000
    assert got["train_metrics"].items() <= metrics.items()


def test_a_metric_of_an_epoch_that_is_nested_too_deep_is_left_out_alone(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    with RunLog.create(tmp_path) as log, warned("train_metrics/deep: nested more than 64 deep"):
        log.epoch_summary(3, train_metrics={"deep": deep, "f1": 0.9})
    assert records_of(log.path)[1]["train_metrics"] == {"f1": 0.9}


def test_of_a_metric_whose_name_has_no_text_that_is_said(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log, warned("left out of a record: a name that can't be wri"):
        log.append({"type": "train", Wordless(): 1, Wordless(): {"a": 1}, "loss": 0.5})  # type: ignore[dict-item]
    assert records_of(log.path)[1]["loss"] == 0.5


def test_a_media_file_is_copied_and_named(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"png")
    with RunLog.create(tmp_path / "logs") as log:
        log.media(3, "val/notes", source, caption="c")
        log.media(3, "val_notes", source)
        log.media(4, "../../\0", source)
    records = [record for record in records_of(log.path) if record["type"] == "media"]
    assert len({record["path"] for record in records}) == 3
    for record in records:
        assert (log.media_dir / record["path"]).read_bytes() == b"png"
        assert "/" not in record["path"]
    assert (records[0]["key"], records[0]["kind"], records[0]["caption"]) == (
        "val/notes",
        "image",
        "c",
    )


def test_media_of_long_keys_have_files_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"png")
    keys = ["验证集" * 20 + "一", "验证集" * 20 + "二", "k" * 500]
    with RunLog.create(tmp_path / "logs") as log:
        for key in keys:
            log.media(3, key, os.fsencode(source))
    records = [record for record in records_of(log.path) if record["type"] == "media"]
    assert [record["key"] for record in records] == keys
    assert len({record["path"] for record in records}) == 3
    assert all((log.media_dir / record["path"]).is_file() for record in records)


def test_a_media_file_whose_name_can_be_none_is_left_out(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log, warned("was left out of the run: embedded null byte"):
        log.media(3, "k", "a\0b.png")


def test_what_is_no_picture_or_sound_is_left_out_in_words(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    with (
        RunLog.create(tmp_path) as log,
        warned("takes an image's or audio's path, not a list", "not a str of kind 'video'"),
    ):
        log.media(1, "sample", [[0, 1]])  # type: ignore[arg-type]
        log.media(1, "film", str(tmp_path / "film.mp4"), kind="video")
    assert [record["type"] for record in records_of(log.path)] == ["config", "end"]


def test_a_media_file_that_is_there_already_is_not_copied(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        log.media_dir.mkdir(parents=True)
        place = log.media_dir / "k_1.wav"
        place.write_bytes(b"wav")
        log.media(1, "k", place, kind="audio")
    assert place.read_bytes() == b"wav"


def test_a_media_file_that_can_not_be_copied_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> NoReturn:
        target.write_bytes(b"ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunLog.create(tmp_path) as log:
        with warned("No such file"):
            log.media(1, "k", tmp_path / "missing.png")
        monkeypatch.setattr(shutil, "copyfile", half)
        with warned("No space left"):
            log.media(1, "k", tmp_path / "missing.png")
        assert list(log.media_dir.iterdir()) == []
    assert [record["type"] for record in records_of(log.path)] == ["config", "end"]


def test_resume_continues_the_same_run_in_the_same_file(made: Path) -> None:
    with RunLog.resume(made, config={"lr": 5}) as log:
        log.train(3, 1, {})
    first, *_, again, third, _ = records_of(made)
    assert (log.path, log.run_id, log.run_name) == (made, first["run_id"], "take")
    assert (again["type"], again["resumed"], again["run_id"]) == ("config", True, first["run_id"])
    assert (again["project"], again["config"]) == ("songs", {"lr": 5, "seed": 2})
    assert again["part"] == first["part"]
    assert third["step"] == 3
    assert steps_of(made) == [1, 2, 3]


def test_a_resumed_run_keeps_off_wandb(tmp_path: Path) -> None:
    RunLog.create(tmp_path, upload=False).close()
    (path,) = tmp_path.glob("*.jsonl")
    RunLog.resume(path).close()
    assert [record["upload"] for record in records_of(path) if record["type"] == "config"] == [
        False,
        False,
    ]


@pytest.mark.parametrize("tail", [b'{"type": "tr', b"\0" * 100, b"{}\n\n\0", b"\xff"])
def test_a_torn_tail_is_ended_and_the_run_goes_on_behind_it(made: Path, tail: bytes) -> None:
    before = made.read_bytes()
    made.write_bytes(before + tail)
    with RunLog.resume(made) as log:
        log.train(3, 1, {})
    assert made.read_bytes().startswith(before + tail + b"\n")
    lines = lines_of(made)
    good = [line.record for line in lines if line.record]
    assert [record["type"] for record in good] == [
        "config",
        "train",
        "train",
        "config",
        "train",
        "end",
    ]
    assert [line.record for line in lines if not line.record][-1] is None


@pytest.mark.parametrize("content", [b"", b"\n", b'{"type": "conf', b'{"type":"train"}\n', b"\0\n"])
def test_a_file_that_names_no_run_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "training_log_x.jsonl"
    path.write_bytes(content)
    with pytest.raises(RunLogError, match="start a new run"):
        RunLog.resume(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_what_can_not_be_read_is_refused_in_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunLogError, match="can't be read"):
        RunLog.resume(tmp_path / name)


def test_a_file_that_is_written_to_is_refused_and_its_writer_named(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        with pytest.raises(LogBusy, match=f"process {os.getpid()} on .* stop that process first"):
            RunLog.resume(log.path)
        log.train(1, 1, {})
    assert len(records_of(log.path)) == 3


@pytest.mark.parametrize("call", ["flock", "read", "fstat"])
def test_a_disk_that_refuses_the_resume_says_so_and_keeps_no_lock(
    made: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*words: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    before = made.read_bytes()
    with monkeypatch.context() as patch:
        if call == "flock":
            patch.setattr(fcntl, "flock", fail)
        elif call == "read":
            patch.setattr(os, "pread", fail)
        else:
            patch.setattr(reopen.Sink, "end_torn_line", fail)
        with pytest.raises(RunLogError, match=r"can't be continued: Read-only.*records are safe"):
            RunLog.resume(made)
    assert holder_of(lock_path(made)) is None
    assert made.read_bytes() == before
    RunLog.resume(made).close()


def test_a_config_too_large_to_resume_with_keeps_no_lock(made: Path) -> None:
    with pytest.raises(RunLogError, match="config"):
        RunLog.resume(made, config={"x": "a" * MAX_LINE})
    RunLog.resume(made).close()


def test_without_locks_the_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with RunLog.create(tmp_path) as log, pytest.raises(LogBusy, match="is being written"):
        RunLog.resume(log.path)
    RunLog.resume(log.path).close()
    kinds = [record["lock"] for record in records_of(log.path) if record["type"] == "config"]
    assert kinds == ["lease", "lease"]


def test_a_run_whose_host_died_is_resumed_elsewhere_without_locks(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> NoReturn:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(lock, "LEASE", 0.3)
    monkeypatch.setattr(reopen, "LOCK_WAIT", 0.1)
    lock_path(made).write_text('{"host": "elsewhere", "pid": 1, "since": "then"}')
    lock_path(made).with_name(f"{made.name}.lock.lease").write_text(
        "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=t\nduration=0.3\n"
    )
    RunLog.resume(made).close()


def test_a_lock_that_can_not_be_had_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object, **options: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Lock, "acquire", fail)
    with warned("has no lock"), RunLog.create(tmp_path) as log:
        log.train(1, 1, {})
    assert records_of(log.path)[0]["lock"] == "none"
    assert steps_of(log.path) == [1]


def test_threads_append_whole_lines_each_once(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:

        def work(thread: int) -> None:
            for number in range(200):
                log.train(thread * 1000 + number, 0, {"train/text": "x" * 100})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    steps = steps_of(log.path)
    assert sorted(steps) == sorted(t * 1000 + n for t in range(8) for n in range(200))
    for thread in range(8):
        own = [step for step in steps if step // 1000 == thread]
        assert own == sorted(own)


def test_threads_by_every_call_leave_each_record_once_and_count_steps_without_a_gap(
    tmp_path: Path,
) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # of a Python with a lock around it; one without needs no such help
    threads, each = 16, 20
    start = threading.Barrier(threads)
    try:
        with RunLog.create(tmp_path) as log:

            def work(thread: int) -> None:
                start.wait()
                for number in range(each):
                    own = thread * each + number
                    log.train(own, 0, {"train/own": own, "train/text": "ü" * (own % 300)})
                    log.val(own, 0, {"val/own": own})
                    log.log({"counted": own})
                    log.epoch_summary(own, train_metrics={"own": own})
                    log.append({"type": "note", "own": own})
                    if number % 5 == 0:
                        log.update_config({f"own{own}": own})

            _all(threads, work)
    finally:
        sys.setswitchinterval(before)
    records = records_of(log.path)  # which refuses a line that is no record
    every = list(range(threads * each))
    for owner, kind in (("train/own", "train"), ("val/own", "val"), ("own", "note")):
        found = [r[owner] for r in records if r["type"] == kind and owner in r]
        assert sorted(found) == every
    counted = [r for r in records if "counted" in r]
    assert [r["step"] for r in counted] == every  # in the order of the file
    assert sorted(r["counted"] for r in counted) == every
    assert sorted(r["epoch"] for r in records if r["type"] == "epoch_summary") == every
    assert log.config == {f"own{own}": own for own in every[::5]}
    assert [r["config"] for r in records if r["type"] == "config"][-1] == log.config


def _all(threads: int, work: Callable[[int], None]) -> None:
    """Run it in so many threads. Raises what one of them raised."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def test_the_end_is_last_and_single_whoever_closes(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path)
    closed = threading.Event()

    def append() -> None:
        step = 0
        try:
            while not closed.is_set():
                step += 1
                log.train(step, 0, {})
        except RunLogError:
            return

    def close() -> None:
        log.close()
        closed.set()

    threads = [threading.Thread(target=target) for target in (append, append, close, close)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=patience(10))
    kinds = [record["type"] for record in records_of(log.path)]
    assert kinds.count("end") == 1
    assert kinds[-1] == "end"


def test_no_training_thread_waits_for_a_flush_except_in_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    seen = threading.Event()

    def fsync(descriptor: int) -> None:
        flushed.append(threading.current_thread().name)
        seen.set()

    monkeypatch.setattr(os, "fsync", fsync)
    log = RunLog.create(tmp_path)
    log.train(1, 0, {})
    log.epoch_summary(1)
    assert seen.wait(patience(10))
    before_close = list(flushed)
    log.close()
    assert set(before_close) == {"runlog-sync"}
    assert threading.current_thread().name in flushed


def test_a_new_files_name_is_fsynced_once_with_that_of_a_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "songs" / "logs"
    log = RunLog.create(folder)
    log.close()
    assert sorted(set(synced) - {log.path}) == [tmp_path, folder.parent, folder]
    assert len([path for path in synced if path != log.path]) == 3
    synced.clear()
    RunLog.create(folder).close()
    assert [path for path in synced if path.is_dir()] == [folder]
    synced.clear()
    RunLog.resume(log.path).close()
    assert [path for path in synced if path.is_dir()] == []


def test_a_folder_that_can_not_be_fsynced_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with warned(), RunLog.create(tmp_path) as log:
        log.train(1, 0, {})
    assert steps_of(log.path) == [1]


def test_a_slow_flush_does_not_hold_up_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def fsync(descriptor: int) -> None:
        started.set()
        go_on.wait(patience(10))

    monkeypatch.setattr(os, "fsync", fsync)
    log = RunLog.create(tmp_path)
    log.epoch_summary(1)
    assert started.wait(patience(10))
    log.train(1, 0, {})  # returns, or the test times out
    assert steps_of(log.path) == [1]
    go_on.set()
    log.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.ENOSPC])
def test_append_never_raises_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if data.startswith(b'{"type"'):
            raise OSError(error, os.strerror(error))
        return real(descriptor, data)

    log = RunLog.create(tmp_path)
    with monkeypatch.context() as patch, warned(os.strerror(error)):
        patch.setattr(os, "write", write)
        for step in range(3):
            log.train(step, 0, {})
    log.close()
    assert steps_of(log.path) == [0, 1, 2]


def test_a_record_is_one_write_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        written.append(bytes(data))
        return real(descriptor, data)

    with RunLog.create(tmp_path) as log:
        monkeypatch.setattr(os, "write", write)
        log.train(1, 0, {"train/loss": 1.0})
        log.append({"type": "other", "text": "a\nb"})
        monkeypatch.undo()
    assert [line.count(b"\n") for line in written] == [1, 1]
    assert all(line.endswith(b"\n") for line in written)


def test_a_signal_handler_may_end_the_run_in_the_middle_of_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog.create(tmp_path)
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        written = real(descriptor, data)
        if b'"train"' in data:
            signal.raise_signal(signal.SIGUSR1)  # its handler runs before the next line
        return written

    before = signal.signal(signal.SIGUSR1, lambda *_: log.close("interrupted"))
    monkeypatch.setattr(os, "write", write)
    try:
        log.train(1, 0, {})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [record["type"] for record in records_of(log.path)] == ["config", "train", "end"]


FORK = """
log = RunLog.create(sys.argv[1])
with log:
    child = os.fork()
    if child == 0:
        try:
            log.train(1, 0, {})
        except RunLogError as error:
            print(error, flush=True)
        %s
    os.waitpid(child, 0)
    log.train(2, 0, {})
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "leave", ["sys.exit()", "log.close()\n        os._exit(0)", "raise OSError"]
)
def test_a_forked_child_can_not_write_into_or_end_its_parents_run(
    tmp_path: Path, leave: str
) -> None:
    code, out, _ = run_python(FORK % leave, tmp_path)
    assert code == 0
    assert "belongs to process" in out
    (path,) = tmp_path.glob("*.jsonl")
    assert steps_of(path) == [2]
    assert [record["type"] for record in records_of(path)] == ["config", "train", "end"]


@pytest.mark.process
def test_a_forked_child_that_ends_does_not_write_what_waits_in_its_parent(tmp_path: Path) -> None:
    code, _, _ = run_python(
        """
real, log = os.write, RunLog.create(sys.argv[1])
log._sink.flush = lambda: None  # the parent's own thread is not to be the first
def full(descriptor, data):
    raise OSError(28, "No space left on device")
os.write = full
log.train(1, 0, {})
os.write = real
del log._sink.flush
if (child := os.fork()) == 0:
    sys.exit()
os.waitpid(child, 0)
log.close()
""",
        tmp_path,
    )
    assert code == 0
    (path,) = tmp_path.glob("*.jsonl")
    assert steps_of(path) == [1]


@pytest.mark.process
def test_a_process_that_ends_without_close_leaves_its_records_and_no_end(tmp_path: Path) -> None:
    code, out, err = run_python(
        "log = RunLog.create(sys.argv[1])\nfor n in range(5): log.train(n, 0, {})\nprint(log.path)",
        tmp_path,
    )
    assert (code, err) == (0, "")
    path = Path(out.strip())
    assert [record["type"] for record in records_of(path)] == ["config", *["train"] * 5]
    assert holder_of(lock_path(path)) is None


@pytest.mark.process
def test_what_waits_when_a_process_ends_without_close_is_written(tmp_path: Path) -> None:
    code, _, err = run_python(
        """
real, log = os.write, RunLog.create(sys.argv[1])
def full(descriptor, data):
    raise OSError(28, "No space left on device")
os.write = full
log.train(1, 0, {})
os.write = real
""",
        tmp_path,
    )
    assert code == 0
    assert "No space left" in err
    (path,) = tmp_path.glob("*.jsonl")
    assert steps_of(path) == [1]


@pytest.mark.process
def test_an_error_that_nobody_caught_leaves_the_records(tmp_path: Path) -> None:
    code, _, err = run_python(
        "log = RunLog.create(sys.argv[1])\nlog.train(1, 0, {})\nraise ValueError('x')", tmp_path
    )
    assert code == 1
    assert err.strip().endswith("ValueError: x")
    (path,) = tmp_path.glob("*.jsonl")
    assert steps_of(path) == [1]


@pytest.mark.process
@pytest.mark.parametrize("module", ["karaoke_train", "karaoke_train.runlog"])
def test_importing_the_log_loads_nothing_heavy(module: str) -> None:
    heavy = ["torch", "transformers", "wandb", "requests", "numpy", "filelock", "asyncio"]
    loaded = f"[name for name in {heavy} if name in sys.modules]"
    code, out, err = run_python(f"import {module}\nprint({loaded})\n")
    assert (code, out.strip(), err) == (0, "[]", "")


def _ends(path: Path) -> Position:
    return split_lines(path.read_bytes(), Position())[1]


HARMS: list[Callable[[Path], object]] = [
    lambda path: shutil.rmtree(path.parent),
    lambda path: path.unlink(),
]


@pytest.mark.parametrize("harm", HARMS, ids=["folder", "file"])
def test_a_run_whose_file_was_deleted_ends_with_all_its_records(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    log = RunLog.create(tmp_path / "logs")
    log.train(1, 0, {})
    with warned("was written again"):
        harm(log.path)
        log.train(2, 0, {})
        log.close()
    assert steps_of(log.path) == [1, 2]
    assert _ends(log.path).ordinal == 4
