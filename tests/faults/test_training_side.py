"""Training goes on through every fault, and what could be saved is saved: real processes, signals,
full disks and file systems; what the machine can't do is skipped with its reason."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog import LogBusy, RunLog, RunLogError, lock, provenance
from karaoke_train.runlog.format import RunHeader, decode
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import holder_of
from karaoke_train.runlog.reader import Position
from tests.karaoke_train.runlog.files import (
    IMPORTS,
    lines_of,
    python,
    records_of,
    run_python,
    split_lines,
    steps_of,
    warned,
)
from tests.patience import patience, until

NOBODY = 65534
WRITE_FOR_EVER = """
step, path = int(sys.argv[2]), sys.argv[1]
log = RunLog.resume(path) if path.endswith(".jsonl") else RunLog.create(path)
os.write(1, f"{log.path}\\n".encode())
while True:
    step += 1
    log.train(step, 0, {"train/loss": 1 / step, "train/text": "x" * (step % 300)})
    os.write(1, f"{step}\\n".encode())  # said only once it's appended
"""


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three git processes a run are most of a test's time here."""
    monkeypatch.setattr(provenance, "provenance", lambda argv: {"host": "here", "pid": os.getpid()})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB, mounted for one test."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", str(place)]
    mounted = shutil.which("mount") and subprocess.run(["mount", *options], capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("mounting a tmpfs takes root and CAP_SYS_ADMIN")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def fill(disk: Path) -> Path:
    """Take all the room that a disk has left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"\0" * 4096)
            except OSError:
                return ballast


# --- killed


@pytest.mark.process
def test_sigkill_at_any_moment_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    """A writer is killed at random moments and resumed by the next: every step that it had said
    to have appended is in the file, once and in order."""
    dice = random.Random(7)
    path, said = tmp_path, 0
    for _ in range(8):
        process = python(WRITE_FOR_EVER, path, said)
        assert process.stdout
        path = Path(process.stdout.readline().strip())
        process.stdout.readline()
        time.sleep(dice.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=patience(10))
        assert (process.returncode, err) == (-signal.SIGKILL, "")
        assert holder_of(lock_path(path)) is None
        written = [line.record["step"] for line in lines_of(path) if step_line(line.record)]
        whole = [int(word) for word in out.rpartition("\n")[0].split()]
        assert written == list(range(1, len(written) + 1))
        assert written[-1] >= max(whole, default=said)
        said = written[-1]
    assert said > 8
    RunLog.resume(path).close()
    # a write that was torn by the kill is ended, and stands as a bad line
    written = [line.record["step"] for line in lines_of(path) if step_line(line.record)]
    assert written == list(range(1, said + 1))


def step_line(record: dict[str, object] | None) -> bool:
    return bool(record) and record is not None and record.get("type") == "train"


def test_a_write_torn_at_any_byte_costs_that_record_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every length that the file can have if its writer died within its last three writes."""
    with RunLog.create(tmp_path, config={"näme": "café"}) as log:
        for step in (1, 2, 3):
            log.train(step, 0.5, {"train/löss": step / 3})
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # hundreds of them
    whole = log.path.read_bytes()
    starts = [line.at.offset for line in lines_of(log.path)]
    for cut in range(starts[2], len(whole) + 1):
        path = tmp_path / f"training_log_{cut}.jsonl"
        path.write_bytes(whole[:cut])
        kept = split_lines(whole[:cut], Position())[0]
        with RunLog.resume(path) as log:
            log.train(9, 1, {})
        assert path.read_bytes().startswith(whole[:cut])
        lines, end = split_lines(path.read_bytes(), Position())
        assert lines[: len(kept)] == kept
        assert end.offset == path.stat().st_size
        torn, rest = lines[len(kept) : -3], lines[-3:]
        assert len(torn) == (cut not in (*starts, len(whole)))
        for line in torn:  # whole but for its newline, or bad
            assert (line.record is not None) == (whole[cut : cut + 1] == b"\n")
        assert [(line.record or {}).get("type") for line in rest] == ["config", "train", "end"]
        path.unlink()


def test_a_first_line_torn_at_any_byte_is_refused_or_continued_never_mended(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        pass
    whole = log.path.read_bytes()
    first = whole.index(b"\n")
    for cut in range(first + 2):
        log.path.write_bytes(whole[:cut])
        if cut < first:
            with pytest.raises(RunLogError, match="start a new run"):
                RunLog.resume(log.path)
            assert log.path.read_bytes() == whole[:cut]
        else:
            RunLog.resume(log.path).close()
            assert len(records_of(log.path)) == 3


def test_a_power_cuts_zeros_are_one_bad_line(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        log.train(1, 0, {})
    with log.path.open("ab") as file:
        file.write(b"\0" * 5000)
    with RunLog.resume(log.path) as log:
        log.train(2, 0, {})
    lines = lines_of(log.path)
    assert [number for number, line in enumerate(lines) if line.record is None] == [3]
    assert lines[3].head == b"\0" * 200


@pytest.mark.process
def test_the_lock_of_a_killed_holder_is_free_at_once(tmp_path: Path) -> None:
    process = python(WRITE_FOR_EVER, tmp_path, 0)
    assert process.stdout
    path = Path(process.stdout.readline().strip())
    with pytest.raises(LogBusy, match=f"process {process.pid} on .* stop that process first"):
        RunLog.resume(path)
    process.kill()
    process.communicate(timeout=patience(10))
    with RunLog.resume(path) as log:
        log.train(0, 0, {})


@pytest.mark.process
def test_a_stopped_writer_still_holds_its_lock(tmp_path: Path) -> None:
    process = python(WRITE_FOR_EVER, tmp_path, 0)
    try:
        assert process.stdout
        path = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGSTOP)
        assert holder_of(lock_path(path))
    finally:
        process.kill()
        process.communicate(timeout=patience(10))


CHILDREN = """
import multiprocessing, subprocess
log = RunLog.create(sys.argv[1])
forked = os.fork()
if forked == 0:
    time.sleep(60)
    os._exit(0)
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
worker.start()
other = subprocess.Popen(["sleep", "60"], close_fds=False)
print(log.path, forked, worker.pid, other.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.process
def test_children_that_outlive_a_killed_writer_do_not_hold_its_lock(tmp_path: Path) -> None:
    """As DataLoader workers do: forked while the lock was held, and alive for a while after."""
    process = python(CHILDREN, tmp_path)
    assert process.stdout
    path, *children = process.stdout.readline().split()
    try:
        assert (holder := holder_of(lock_path(Path(path))))
        assert holder.pid == process.pid
        process.kill()
        process.wait(timeout=patience(10))
        for child in children:
            os.kill(int(child), 0)  # it lives
        # a child that hasn't run yet has not let go of it either
        until(lambda: holder_of(lock_path(Path(path))) is None, "the lock is free")
        RunLog.resume(path).close()
    finally:
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        process.communicate(timeout=patience(10))


# --- full disks, read-only disks


@pytest.mark.process
def test_a_full_disk_stops_no_training_and_loses_nothing_once_it_has_room(small_disk: Path) -> None:
    log = RunLog.create(small_disk / "logs")
    with warned("No space left on device"):
        ballast = fill(small_disk)
        for step in range(100):
            log.train(step, 0, {"train/text": "x" * 200})
        full = log.path.read_bytes()
        assert len(split_lines(full, Position())[0]) < 101
    ballast.unlink()
    until(lambda: len(lines_of(log.path)) == 101)  # by itself, with no further append
    log.close()
    assert log.path.read_bytes().startswith(full)
    assert steps_of(log.path) == list(range(100))


@pytest.mark.process
def test_a_disk_that_fills_and_empties_again_and_again_keeps_the_order(small_disk: Path) -> None:
    log = RunLog.create(small_disk)
    for number in range(5):
        with warned("No space left on device"):
            ballast = fill(small_disk)
            for step in range(20):
                log.train(number * 40 + step, 0, {"train/text": "x" * (200 + number)})
        ballast.unlink()
        for step in range(20, 40):
            log.train(number * 40 + step, 0, {})
        log._sink.flush()  # what its thread does within a second
    log.close()
    assert steps_of(log.path) == list(range(200))


@pytest.mark.process
def test_a_run_that_starts_on_a_full_disk_is_whole_once_it_has_room(small_disk: Path) -> None:
    ballast = fill(small_disk)
    with warned("No space left on device"):
        log = RunLog.create(small_disk)
        log.train(1, 0, {})
    ballast.unlink()
    log.close()
    assert RunHeader.of(records_of(log.path)[0]).run_id == log.run_id
    assert steps_of(log.path) == [1]


@pytest.mark.process
def test_a_run_that_ends_on_a_full_disk_says_what_it_lost(small_disk: Path) -> None:
    code, _, err = run_python(
        """
from karaoke_train.runlog import sink
sink.CLOSE_WAIT = 0.2
disk = sys.argv[1]
with RunLog.create(disk) as log:
    with open(f"{disk}/ballast", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)): pass
        except OSError: pass
    for step in range(100): log.train(step, 0, {"train/text": "x" * 200})
""",
        small_disk,
    )
    assert code == 0
    assert "Traceback" not in err
    (path,) = small_disk.glob("*.jsonl")
    lines, end = split_lines(path.read_bytes(), Position())
    torn = path.stat().st_size > end.offset
    assert f"{102 - len(lines)} records could not be saved" in err, (len(lines), torn)


@pytest.mark.process
def test_a_writer_killed_on_a_full_disk_is_resumed_behind_its_torn_line(small_disk: Path) -> None:
    code, _, _ = run_python(
        """
log = RunLog.create(sys.argv[1])
with open(f"{sys.argv[1]}/ballast", "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)): pass
    except OSError: pass
for step in range(100): log.train(step, 0, {"train/text": "x" * 200})
os.kill(os.getpid(), 9)
""",
        small_disk,
    )
    assert code == -signal.SIGKILL
    (path,) = small_disk.glob("*.jsonl")
    before = path.read_bytes()
    assert not before.endswith(b"\n")
    (small_disk / "ballast").unlink()
    with RunLog.resume(path) as log:
        log.train(100, 0, {})
    assert path.read_bytes().startswith(before + b"\n")
    assert [line.record is None for line in lines_of(path)].count(True) == 1


@pytest.mark.process
def test_a_read_only_file_system_is_said_in_words(small_disk: Path) -> None:
    RunLog.create(small_disk / "logs").close()
    (path,) = (small_disk / "logs").glob("*.jsonl")
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunLogError, match=r"Read-only file system\. Give another folder"):
        RunLog.create(small_disk / "logs")
    with pytest.raises(RunLogError, match=r"can't be continued: Read-only.*Its records are safe"):
        RunLog.resume(path)
    assert holder_of(lock_path(path)) is None
    assert path.read_bytes() == before


@pytest.mark.process
def test_a_folder_of_somebody_elses_is_refused_in_words() -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        with RunLog.create(folder) as log:
            child = os.fork()
            if child == 0:
                os._exit(_as_nobody(folder, log.path))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


def _as_nobody(folder: Path, path: Path) -> int:
    """0 when another user is refused the folder and its files, and sees who writes."""
    try:
        os.setgroups([])
        os.setuid(NOBODY)
        refused = 0
        for attempt in (lambda: RunLog.create(folder), lambda: RunLog.resume(path)):
            try:
                attempt()
            except RunLogError as error:
                refused += "Permission denied" in str(error)
        holder = holder_of(lock_path(path))
        return 0 if refused == 2 and holder and holder.pid == os.getppid() else 1
    except BaseException:
        return 2


# --- files and folders that go away


def test_a_log_folder_removed_and_made_again_has_the_whole_run(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs")
    log.train(1, 0, {})
    with warned("written again with all its records"):
        shutil.rmtree(log.path.parent)
        (tmp_path / "logs").mkdir()
        log.train(2, 0, {})
        until(log.path.exists)  # by itself
        with pytest.raises(LogBusy):
            RunLog.resume(log.path)
        log.close()
    assert steps_of(log.path) == [1, 2]
    assert [path.name for path in (tmp_path / "logs").glob("*.jsonl")] == [log.path.name]


def test_a_file_moved_while_it_is_written_goes_on_where_it_is(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs")
    log.train(1, 0, {})
    (tmp_path / "kept").mkdir()
    moved = log.path.rename(tmp_path / "kept" / "training_log_mine.jsonl")
    log.train(2, 0, {})
    until(lambda: log.path == moved)
    with pytest.raises(LogBusy):
        RunLog.resume(moved)
    log.close()
    assert steps_of(moved) == [1, 2]
    assert list(tmp_path.rglob("*.jsonl")) == [moved]
    RunLog.resume(moved).close()


# --- other processes


@pytest.mark.process
def test_a_second_writer_is_refused_in_words_and_the_first_goes_on(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        code, out, err = run_python(
            "try: RunLog.resume(sys.argv[1])\nexcept LogBusy as busy: print(busy)", log.path
        )
        assert (code, err) == (0, "")
        assert f"is being written by process {os.getpid()} on " in out
        assert "Its records are safe; stop that process first" in out
        log.train(1, 0, {})
    assert [record["type"] for record in records_of(log.path)] == ["config", "train", "end"]


@pytest.mark.process
def test_eight_runs_started_in_one_second_have_eight_files(tmp_path: Path) -> None:
    code = """
sys.stdin.readline()
with RunLog.create(sys.argv[1]) as log: log.train(int(sys.argv[2]), 0, {})
print(log.path)
"""
    processes = [python(code, tmp_path, number, stdin=subprocess.PIPE) for number in range(8)]
    time.sleep(max(0.0, 0.3 - time.time() % 1))  # not across the end of a second
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=patience(30)) for process in processes]
    assert [err for _, err in results] == [""] * 8
    paths = {Path(out.strip()) for out, _ in results}
    assert len(paths) == 8
    assert sorted(steps_of(path)[0] for path in paths) == list(range(8))
    assert len({records_of(path)[0]["run_id"] for path in paths}) == 8


# --- no locks


TWO_WRITERS = """
from karaoke_train.runlog import reopen
reopen.LOCK_WAIT = 0.1
read, write = os.pipe()
first = os.fork()
if first == 0:
    log = RunLog.create(sys.argv[1])
    os.write(write, str(log.path).encode())
    time.sleep(60)
path = os.read(read, 4096).decode()
try:
    RunLog.resume(path)
except LogBusy as busy:
    print(f"process {first} " in str(busy))
os.kill(first, 9)
os.waitpid(first, 0)
RunLog.resume(path).close()
print("resumed")
"""


@pytest.mark.process
@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS"])
def test_where_there_are_no_locks_a_lease_keeps_the_second_writer_out(
    tmp_path: Path, error: str
) -> None:
    """Real processes whose every flock fails; the lease of the killed one is free at once."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace makes flock fail, and isn't here")
    inject = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"inject=flock:error={error}"]
    probe = subprocess.run([*inject, "true"], capture_output=True, timeout=patience(20))
    if probe.returncode:
        pytest.skip(f"strace can't trace here: {probe.stderr.decode()[:80]}")
    command = [*inject, sys.executable, "-c", IMPORTS + TWO_WRITERS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(60))
    assert (done.stdout.split(), done.stderr) == (["True", "resumed"], "")
    (path,) = tmp_path.glob("*.jsonl")
    kinds = [record["lock"] for record in records_of(path) if record["type"] == "config"]
    assert kinds == ["lease", "lease"]
    assert not list(tmp_path.glob(".locks/*.lease"))


def test_a_lease_is_kept_up_while_its_writer_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(lock, "LEASE", 0.3)
    with RunLog.create(tmp_path) as log:
        marker = lock_path(log.path).with_name(f"{log.path.name}.lock.lease")
        first = marker.stat().st_mtime_ns
        until(lambda: marker.stat().st_mtime_ns > first)
        assert holder_of(lock_path(log.path))
    assert decode(log.path.read_bytes().splitlines()[0])["lock"] == "lease"
