"""A run that is started again by its id: goes on, is refused, or is new; never two at once."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from karaoke_train.runlog import LogBusy, RunLog, RunLogError, lock, parts
from karaoke_train.runlog.format import MAX_LINE, encode
from karaoke_train.runlog.layout import lock_path, run_id_lock_path
from karaoke_train.runlog.lock import Lock, holder_of
from karaoke_train.runlog.parts import parts_of
from tests.karaoke_train.runlog.files import python, records_of, steps_of
from tests.patience import patience

GOES_ON = [None, False, "allow", "must", "auto", True]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The file of run `job`, whose writer has gone: its config record and two steps."""
    log = RunLog.create(tmp_path, run_id="job", project="songs", config={"lr": 1, "seed": 2})
    for step in (1, 2):
        log.train(step, 0, {"train/loss": 1.0})
    log._sink.close()
    return log.path


def write_part(folder: Path, name: str, **fields: Any) -> Path:
    """A file of another writer's, with this in its config record."""
    path = folder / f"training_log_{name}.jsonl"
    path.write_bytes(encode({"type": "config", "run_id": "job", **fields}))
    return path


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


@pytest.mark.parametrize("resume", GOES_ON)
def test_a_run_that_is_there_goes_on_in_its_file(job: Path, resume: Any) -> None:
    with RunLog.create(job.parent, run_id="job", config={"lr": 5}, resume=resume) as log:
        log.train(3, 0, {})
    assert files(job.parent) == [job] == [log.path]
    assert (log.attempt, log.project) == (2, "songs")
    first, *_, again, _, _ = records_of(job)
    for name in ("run_id", "part", "run_name", "project", "upload"):
        assert again[name] == first[name]
    assert (again["resumed"], again["config"]) == (True, {"lr": 5, "seed": 2})
    assert steps_of(job) == [1, 2, 3]


@pytest.mark.parametrize("resume", [None, False, "allow", "never", "auto", True])
def test_a_run_that_is_not_there_is_started(job: Path, resume: Any) -> None:
    with RunLog.create(job.parent, run_id="job2", resume=resume) as log:
        pass
    assert (log.run_id, log.attempt) == ("job2", 1)
    assert len(files(job.parent)) == 2


def test_without_a_run_id_each_run_is_new(job: Path) -> None:
    for resume in (None, "allow", "never"):
        RunLog.create(job.parent, resume=resume).close()  # type: ignore[arg-type]
    assert len(files(job.parent)) == 4


@pytest.mark.parametrize("resume", ["must", "auto", True])
def test_without_a_run_id_nothing_can_go_on(job: Path, resume: Any) -> None:
    with pytest.raises(RunLogError, match=r"does not say which run .* give its run_id"):
        RunLog.create(job.parent, resume=resume)
    assert files(job.parent) == [job]


@pytest.mark.parametrize("resume", ["MUST", "yes", "", 1, 0, 3.5, ["must"], {}])
def test_another_word_for_resume_is_refused(tmp_path: Path, resume: Any) -> None:
    with pytest.raises(RunLogError, match="none of allow, must, never"):
        RunLog.create(tmp_path, run_id="job", resume=resume)
    assert list(tmp_path.iterdir()) == []


def test_one_that_must_be_there_and_is_not_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match=r"no run job .* Nothing was written; give the folder"):
        RunLog.create(tmp_path, run_id="job", resume="must")
    assert files(tmp_path) == []


def test_one_that_must_not_be_there_and_is_is_an_error(job: Path) -> None:
    before = job.read_bytes()
    with pytest.raises(RunLogError, match=f"the run job already, in {job.name}.*left as it is"):
        RunLog.create(job.parent, run_id="job", resume="never")
    assert files(job.parent) == [job]
    assert job.read_bytes() == before


@pytest.mark.parametrize("resume", [None, "allow", "must"])
def test_one_that_is_being_written_is_refused_and_its_writer_named(
    tmp_path: Path, resume: Any
) -> None:
    with RunLog.create(tmp_path, run_id="job") as log:
        with pytest.raises(LogBusy, match=f"by process {os.getpid()} on .*stop that process"):
            RunLog.create(tmp_path, run_id="job", resume=resume)
        log.train(1, 0, {})
    assert files(tmp_path) == [log.path]
    assert len(records_of(log.path)) == 3
    RunLog.create(tmp_path, run_id="job").close()
    assert files(tmp_path) == [log.path]


def test_a_run_in_another_project_is_not_mixed_with_this_one(job: Path) -> None:
    with pytest.raises(RunLogError, match=r"in the project 'songs', not in 'speech'.*left as it"):
        RunLog.create(job.parent, run_id="job", project="speech")
    RunLog.create(job.parent, run_id="job", project="songs").close()
    assert files(job.parent) == [job]


def test_of_several_files_the_newest_goes_on(tmp_path: Path) -> None:
    write_part(tmp_path, "3", created="2024-01-15T12:00:00+01:00")
    newest = write_part(tmp_path, "1", created="2024-01-15T11:30:00+00:00")
    write_part(tmp_path, "2")
    log = RunLog.create(tmp_path, run_id="job")
    log.close()
    assert log.path == newest


def test_of_a_file_and_its_copy_the_one_that_has_grown_goes_on(job: Path) -> None:
    first = job.with_name("training_log_0.jsonl")
    shutil.copyfile(job, first)
    with RunLog.resume(job) as log:
        log.train(3, 0, {})
    assert [path for path, _ in parts_of(job.parent, "job")] == [job, first]
    first.unlink()
    copy = job.with_stem(f"{job.stem}_copy")
    shutil.copyfile(job, copy)
    assert [path for path, _ in parts_of(job.parent, "job")] == [job, copy]


def test_a_living_older_file_keeps_the_newest_from_going_on(job: Path) -> None:
    write_part(job.parent, "new", created="2999-01-01T00:00:00+00:00")
    held = Lock(lock_path(job))
    held.acquire()
    with pytest.raises(LogBusy, match=f"{job.name} is being written.*the same run job"):
        RunLog.create(job.parent, run_id="job")
    held.release()
    RunLog.create(job.parent, run_id="job").close()
    assert len(files(job.parent)) == 2


def test_what_is_no_log_of_the_run_is_passed_over(tmp_path: Path) -> None:
    write_part(tmp_path, "other", run_id="job2")
    write_part(tmp_path, "text", run_id=7)
    (tmp_path / "training_log_empty.jsonl").write_bytes(b"")
    (tmp_path / "training_log_bad.jsonl").write_bytes(b'{"job"\n')
    (tmp_path / "training_log_later.jsonl").write_bytes(b'{"type":"train"}\n' + b'{"job":1}\n')
    (tmp_path / "training_log_long.jsonl").write_bytes(b'{"job":"' + b"a" * MAX_LINE + b'"}\n')
    (tmp_path / "training_log_folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "training_log_pipe.jsonl")
    (tmp_path / "training_log_gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert parts_of(tmp_path, "job") == []
    assert parts_of(tmp_path / "none", "job") == []


def test_of_each_file_no_more_than_a_line_is_read(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    real = parts.first_line
    monkeypatch.setattr(parts, "first_line", lambda path: read.append(line := real(path)) or line)
    (job.parent / "training_log_one_line.jsonl").write_bytes(b"a" * (3 * MAX_LINE))
    assert [path for path, _ in parts_of(job.parent, "job")] == [job]
    first, *_ = job.read_bytes().splitlines(keepends=True)
    assert sorted(read) == sorted([first, b"a" * (MAX_LINE + 1)])


TWIN = """
print("ready", flush=True)
sys.stdin.readline()
try:
    log = RunLog.create(sys.argv[1], run_id="job")
except LogBusy:
    print("busy", flush=True)
else:
    log.train(1, 0, {})
    print("started", flush=True)
    sys.stdin.readline()
    log.close()
"""


@pytest.mark.process
def test_of_processes_that_start_one_run_at_once_one_makes_the_file(tmp_path: Path) -> None:
    twins = [python(TWIN, tmp_path, stdin=-1) for _ in range(5)]
    try:
        for twin in twins:
            assert twin.stdout
            assert twin.stdout.readline() == "ready\n"
        for twin in twins:
            assert twin.stdin
            twin.stdin.write("go\n")
            twin.stdin.flush()
        said = [twin.stdout.readline() for twin in twins if twin.stdout]
        assert sorted(said) == ["busy\n"] * 4 + ["started\n"]
        (path,) = files(tmp_path)
        for twin in twins:
            twin.communicate("end\n", timeout=patience(30))
    finally:
        for twin in twins:
            twin.kill()
    assert [record["type"] for record in records_of(path)] == ["config", "train", "end"]


def test_whoever_looks_for_the_run_too_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "START_WAIT", 0.05)
    held = Lock(run_id_lock_path(tmp_path, "job"))
    held.acquire()
    with pytest.raises(LogBusy, match=f"just being started by process {os.getpid()} on"):
        RunLog.create(tmp_path, run_id="job")
    RunLog.create(tmp_path, run_id="other").close()
    held.release()
    RunLog.create(tmp_path, run_id="job").close()
    assert holder_of(held.path) is None


@pytest.mark.filterwarnings("ignore:.* has no lock")
def test_a_folder_that_takes_no_locks_has_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object, **options: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Lock, "acquire", fail)
    RunLog.create(tmp_path, run_id="job").close()
    assert len(files(tmp_path)) == 1


def test_a_run_whose_host_died_goes_on_elsewhere_without_locks(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    monkeypatch.setattr(lock, "LEASE", 0.3)
    monkeypatch.setattr("karaoke_train.runlog.reopen.LOCK_WAIT", 0.1)
    monkeypatch.setattr(socket, "gethostname", lambda: "new-node")
    lock_path(job).write_text('{"host": "old-node", "pid": 1, "since": "then"}')
    lock_path(job).with_name(f"{job.name}.lock.lease").write_text(
        "filelock/2\npid=1\nhost=old-node\nmode=lease\ntoken=t\nduration=0.3\n"
    )
    RunLog.create(job.parent, run_id="job").close()
    assert files(job.parent) == [job]


def test_labels_of_a_run_that_goes_on_are_replaced_where_given(tmp_path: Path) -> None:
    RunLog.create(tmp_path, run_id="job", tags="a", group="g", notes="n").close()
    RunLog.create(tmp_path, run_id="job", tags=["b", "c"], notes="m").close()
    (path,) = files(tmp_path)
    RunLog.resume(path).close()
    RunLog.resume(path, group="h", job_type="j").close()
    labels = [
        [record.get(name) for name in ("tags", "group", "job_type", "notes")]
        for record in records_of(path)
        if record["type"] == "config"
    ]
    assert labels[0] == [["a"], "g", None, "n"]
    assert labels[1:3] == [[["b", "c"], "g", None, "m"]] * 2
    assert labels[3:] == [[["b", "c"], "h", "j", "m"]]
