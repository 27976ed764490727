"""Which runs may leave this disk, and that no other one ever does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Lock
from syncd.cli import main
from syncd.destination.base import Identity, RemoteRun, Row, RunRef
from syncd.errors import (
    Connection,
    Exit,
    Refused,
    RunTrouble,
    SyncError,
    Unreachable,
    UploadError,
)
from syncd.paths import destination_folder
from syncd.settings import Settings
from syncd.source.scanner import LogFile, LogScanner
from syncd.state import cursor, daemon_report, lease
from syncd.state.daemon_report import DaemonReport
from syncd.sync.prune import Look, Target, compress, delete, look_at, why_kept
from tests.fakes.unreadable import unreadable
from tests.fakes.uploads import ENTITY, URL, FakeServer
from tests.syncd.sync.test_run_once import Rig
from tests.syncd.world import end_line, train_line

NOW = 1_800_000_000.0
DAY = 86_400.0


class Pruned(Rig):
    """A folder whose runs were uploaded long ago."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.state = destination_folder(self.settings.state_dir, URL)
        self.store = FakeServer(Identity("trackio", str(folder / "store"), ENTITY))

    def uploaded(self, name: str = "a") -> Path:
        path = self.log(name, train_line(1), end_line())
        assert self.sync() is Exit.OK
        self.aged(path)
        return path

    def aged(self, path: Path, days: float = 40) -> None:
        os.utime(path, (NOW - days * DAY, NOW - days * DAY))

    def connected(self, settings: Settings) -> list[tuple[Settings, FakeServer]]:
        servers = {"wandb": self.server, "trackio": self.store}
        return [(settings, servers[kind]) for kind in settings.destinations]

    def file(self, path: Path) -> LogFile:
        found = LogScanner().look(path)
        assert isinstance(found, LogFile)
        return found

    def why(self, path: Path, days: float = 30) -> str:
        at = Target(self.server, ENTITY, "", self.state)
        return why_kept(self.file(path), at, days * DAY, NOW)


@pytest.fixture
def rig(tmp_path: Path) -> Pruned:
    return Pruned(tmp_path)


def compressed(file: LogFile) -> int:
    return compress(file, look_at(file))


def test_a_run_that_is_there_whole_and_old_may_go(rig: Pruned) -> None:
    path = rig.uploaded()
    assert rig.why(path) == ""
    assert rig.why(path, days=50) == "it is not old enough"


def test_one_that_was_never_uploaded_stays(rig: Pruned) -> None:
    path = rig.log("a", end_line())
    rig.aged(path)
    assert rig.why(path) == "it was not uploaded there"


def test_one_that_has_grown_since_stays(rig: Pruned) -> None:
    path = rig.uploaded()
    with path.open("ab") as file:
        file.write(train_line(2))
    rig.aged(path)
    assert rig.why(path) == "not all of its records are confirmed"
    with path.open("ab") as file:
        file.write(b'{"torn')
    rig.aged(path)
    assert rig.why(path) == "not all of its records are confirmed"


def test_a_crashed_one_stays_as_it_may_be_resumed(rig: Pruned) -> None:
    path = rig.log("a", train_line(1))
    assert rig.sync() is Exit.OK
    rig.aged(path)
    assert rig.why(path) == "it has no end: it may be resumed"


def test_one_whose_end_was_not_told_stays(rig: Pruned) -> None:
    path = rig.uploaded()
    known = cursor.load(rig.state / "cursors", "a")
    assert known
    cursor.save(rig.state / "cursors", known._replace(ended=False))
    assert rig.why(path) == "how it ended is not confirmed"
    cursor.save(rig.state / "cursors", known._replace(unsettled=1.0))
    assert "looked at once more" in rig.why(path)
    cursor.save(rig.state / "cursors", known)
    rig.server.runs["a"].shown = "running"
    assert rig.why(path) == "the server does not show how it ended"


def test_one_that_is_in_other_hands_stays(rig: Pruned) -> None:
    path = rig.uploaded()
    for lock, words in (
        (Lock(lock_path(path)), "its writer lives"),
        (lease.run_lease(path, "a", rig.state.name), "it is being uploaded"),
        (lease.run_lease(path, "a", "another"), "it is being uploaded"),  # to somewhere else
    ):
        lock.acquire()
        assert rig.why(path) == words
        lock.release()
    assert rig.why(path) == ""


def test_one_that_the_server_lost_or_holds_otherwise_stays(rig: Pruned) -> None:
    path = rig.uploaded()
    row = rig.server.runs["a"].rows[1]
    rig.server.runs["a"].rows[1] = row | {"train/loss": 7.0}
    assert rig.why(path) == "the server has other records"
    rig.server.runs["a"].rows[1] = row
    rig.server.lose("a", 2)
    assert rig.why(path) == "the server has other records"
    del rig.server.runs["a"]
    assert rig.why(path) == "the server does not show how it ended"


def test_what_the_server_has_as_a_placeholder_alone_is_not_deleted(rig: Pruned) -> None:
    path = rig.log("a", b"no record\n", end_line())
    assert rig.sync() is Exit.OK
    rig.aged(path)
    assert rig.why(path).startswith("1 of its lines, pictures and sounds could not be uploaded")
    at = Target(rig.server, ENTITY, "", rig.state)
    assert why_kept(rig.file(path), at, 0, NOW, compressed=True) == ""


def test_deleting_takes_the_log_and_its_media_and_nothing_else(rig: Pruned) -> None:
    path, other = rig.uploaded("a"), rig.uploaded("b")
    file = rig.file(path)
    file.media.path.mkdir(parents=True)
    (file.media.path / "roll_1.png").write_bytes(b"x" * 10)
    assert delete(file, look_at(file)) == file.size + 10
    assert not path.exists()
    assert not file.media.path.exists()
    assert other.exists()
    assert rig.sync() is Exit.OK  # nothing is missed, and nothing sent again
    assert rig.server.violations == []


@pytest.mark.parametrize("installed", [True, False])
def test_the_media_of_a_run_stay_while_a_part_of_it_is_here_compressed(
    rig: Pruned, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    pytest.importorskip("zstandard")
    path = rig.log("b", train_line(2), end_line(), run_id="job-7")
    assert rig.sync() is Exit.OK
    rig.aged(path)
    for name, run_id in (("a", "job-7"), ("c", "other")):
        compressed(rig.file(rig.log(name, end_line(), run_id=run_id)))
    assert rig.why(path) == ""  # there are no media
    rig.file(path).media.path.mkdir(parents=True)
    if not installed:
        monkeypatch.setitem(sys.modules, "zstandard", None)
    assert rig.why(path).startswith(
        "training_log_a.jsonl.zst "
        + ("is of the same run, and needs" if installed else "may be of the same run and need")
    )
    at = Target(rig.server, ENTITY, "", rig.state)
    assert why_kept(rig.file(path), at, 0, NOW, compressed=True) == ""
    for copy in rig.logs.glob("*_a.*.zst"):
        copy.rename(rig.logs.parent / "elsewhere")
    if installed:
        assert rig.why(path) == ""


def test_the_media_of_a_run_stay_while_a_copy_that_is_a_run_of_its_own_is_here(
    rig: Pruned,
) -> None:
    path = rig.uploaded("original")
    file = rig.file(path)
    file.media.path.mkdir(parents=True)
    assert rig.why(path) == ""
    rig.log("copy", train_line(7), run_id="original")
    at = Target(rig.server, ENTITY, "", rig.state)
    its_own = file._replace(header=file.header._replace(run_id="abcdefghijkl"))
    known = cursor.load(rig.state / "cursors", "original")
    assert known
    cursor.save(rig.state / "cursors", known._replace(run_id="abcdefghijkl"))
    words = "its run is in several files, which share its pictures and sounds"
    assert why_kept(its_own, at, 0, NOW) == words


def test_a_link_in_the_place_of_media_is_not_followed(rig: Pruned, tmp_path: Path) -> None:
    path, precious = rig.uploaded(), tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_bytes(b"1")
    file = rig.file(path)
    file.media.path.parent.mkdir(parents=True)
    file.media.path.symlink_to(precious)
    delete(file, look_at(file))
    assert (precious / "x").exists()


def test_a_compressed_log_is_the_log(rig: Pruned) -> None:
    pytest.importorskip("zstandard")
    path = rig.uploaded()
    data, file = path.read_bytes(), rig.file(path)
    copy = path.with_name(f"{path.name}.zst")
    assert compressed(file) == len(data) - copy.stat().st_size
    assert not path.exists()
    assert copy.stat().st_mtime == NOW - 40 * DAY
    import zstandard

    with copy.open("rb") as back:
        assert zstandard.ZstdDecompressor().stream_reader(back).read() == data
    path.write_bytes(data)  # as `zstd -d` would
    sent = rig.server.sent
    assert rig.sync() is Exit.OK
    assert (rig.server.sent, rig.server.violations) == (sent, [])


@pytest.mark.parametrize("there", [b"another log\n", b"", None])
def test_what_has_the_compressed_logs_name_already_is_not_written_over(
    rig: Pruned, there: bytes | None
) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = rig.uploaded()
    target = path.with_name(f"{path.name}.zst")
    target.write_bytes(b"no such file" if there is None else zstandard.compress(there))
    before = target.read_bytes()
    with pytest.raises(SyncError, match="is there already, and is no copy of it"):
        compressed(rig.file(path))
    assert (path.exists(), target.read_bytes()) == (True, before)
    assert not list(path.parent.glob(".*.part"))
    target.write_bytes(zstandard.compress(path.read_bytes()[:-20]))  # before it was resumed, say
    compressed(rig.file(path))
    assert not path.exists()


def test_a_link_that_takes_the_place_of_what_is_compressed_is_left_as_it_is(
    rig: Pruned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zstandard = pytest.importorskip("zstandard")
    path, precious = rig.uploaded(), tmp_path / "precious"
    precious.touch(0o600)
    path.chmod(0o644)
    really = zstandard.ZstdDecompressor

    def swapped() -> object:
        (part,) = path.parent.glob(".*.part")
        part.unlink()
        part.symlink_to(precious)
        return really()

    monkeypatch.setattr(zstandard, "ZstdDecompressor", swapped)
    before = precious.stat()
    with pytest.raises(SyncError, match="its compressed copy was replaced"):
        compressed(rig.file(path))
    assert (before.st_mode, before.st_mtime) == (precious.stat().st_mode, precious.stat().st_mtime)
    assert path.exists()


@pytest.mark.parametrize("act", [delete, compress])
def test_a_run_that_somebody_resumed_meanwhile_stays(
    rig: Pruned, act: Callable[[LogFile, Look], int]
) -> None:
    path = rig.uploaded()
    file = rig.file(path)
    compared = look_at(file)
    with RunLog.resume(path), pytest.raises(SyncError, match="somebody goes on with it"):
        act(file, compared)
    with pytest.raises(SyncError, match="it has changed since it was compared"):
        act(file, compared)
    assert path.exists()
    assert not list(path.parent.glob("*.zst")) + list(path.parent.glob(".*.part"))


@pytest.mark.parametrize("act", [delete, compress])
def test_a_file_of_equal_size_that_took_its_place_meanwhile_stays(
    rig: Pruned, act: Callable[[LogFile, Look], int]
) -> None:
    path = rig.uploaded()
    file = rig.file(path)
    compared, was = look_at(file), path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(bytes(was.st_size))
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(path)
    with pytest.raises(SyncError, match="it has changed since it was compared"):
        act(file, compared)
    assert path.read_bytes() == bytes(was.st_size)
    assert not list(path.parent.glob("*.zst")) + list(path.parent.glob(".*.part"))


# --- the command


@pytest.fixture
def command(rig: Pruned, monkeypatch: pytest.MonkeyPatch) -> Pruned:
    monkeypatch.setattr("syncd.cli.prune.connect_all", rig.connected)
    monkeypatch.setattr("syncd.logging_setup.set_up", lambda level: None)
    monkeypatch.setenv("KARAOKE_SYNCD_STATE_DIR", str(rig.settings.state_dir))
    monkeypatch.setenv("KARAOKE_SYNCD_LOG_DIR", str(rig.logs))
    monkeypatch.setenv("COLUMNS", "200")
    return rig


def test_without_being_told_how_it_changes_nothing(
    command: Pruned, capsys: pytest.CaptureFixture[str]
) -> None:
    old, young = command.uploaded("a"), command.uploaded("b")
    os.utime(old, (0, 0))
    os.utime(young)
    for words in ([], ["--dry_run", "--delete"]):
        assert main(["prune", *words]) == Exit.OK
        said = capsys.readouterr().out
        assert "could go  name of a (training_log_a.jsonl)" in said
        assert "stays  name of b (training_log_b.jsonl): it is not old enough" in said
        assert "1 run with 0.0 MB could go; 1 stay. Nothing was changed" in said
    assert old.exists()
    assert main(["prune", "--delete"]) == Exit.OK
    assert (old.exists(), young.exists()) == (False, True)
    assert "Deleted: 1 run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"), [("12h", Exit.OK), ("2w", Exit.OK), ("0", Exit.OK), ("soon", Exit.USAGE)]
)
def test_an_age_is_a_number_with_a_unit(command: Pruned, words: str, code: Exit) -> None:
    assert main(["prune", "--older_than", words]) == code


def test_a_server_out_of_reach_leaves_everything(command: Pruned) -> None:
    path = command.uploaded()
    command.server.down = Unreachable("no network")
    assert main(["prune", "--delete", "--older_than", "0"]) == Exit.OFFLINE
    assert path.exists()


@pytest.mark.parametrize(
    ("error", "code", "left"),
    [
        (Refused("not yours", kind=Connection.REFUSED, remedy="Ask for it"), Exit.FAILED, "a"),
        (Unreachable("in trouble", kind=Connection.TROUBLE), Exit.FAILED, "a"),
        (Unreachable("no answer"), Exit.OFFLINE, "ab"),
    ],
    ids=["its project is closed", "trouble with it alone", "no answer"],
)
def test_a_run_that_the_server_does_not_show_keeps_no_other_here(
    command: Pruned,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: UploadError,
    code: Exit,
    left: str,
) -> None:
    paths = {name: command.uploaded(name) for name in "ab"}
    for path in paths.values():
        os.utime(path, (0, 0))
    really = command.server.remote_run

    def remote_run(run: RunRef) -> RemoteRun | None:
        if run.run_id == "a":
            raise error
        return really(run)

    monkeypatch.setattr(command.server, "remote_run", remote_run)
    assert main(["prune", "--delete", "--older_than", "0"]) == code
    assert [name for name, path in paths.items() if path.exists()] == [*left]
    said = " ".join(capsys.readouterr().out.split())
    assert error.what in said
    assert "Nothing to do" not in said


def test_of_several_destinations_each_has_to_have_what_is_deleted(
    command: Pruned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = command.uploaded()
    os.utime(path, (0, 0))
    both = ["--destination", "wandb", "--destination", "trackio"]
    words = ["prune", "--delete", "--older_than", "0"]
    assert main([*words, *both]) == Exit.OK
    assert "stays  name of a (training_log_a.jsonl): trackio: it was not uploaded there" in (
        capsys.readouterr().out
    )
    # a daemon that was started with both is asked for, too
    report = DaemonReport(log_dir=(str(command.logs),), destinations=("wandb", "trackio"))
    daemon_report.save(command.settings.state_dir, report)
    daemon = lease.state_lock(command.settings.state_dir)
    daemon.acquire()
    assert main(words) == Exit.OK
    assert "trackio: it was not uploaded there" in capsys.readouterr().out
    daemon.release()
    command.server, wandb = command.store, command.server
    assert command.sync() is Exit.OK
    command.server = wandb
    assert main([*words, *both, "a"]) == Exit.OK
    assert not path.exists()


def test_a_run_that_another_prune_takes_meanwhile_is_gone_and_no_failure(
    command: Pruned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = command.uploaded("a"), command.uploaded("b")
    for path in (first, second):
        os.utime(path, (0, 0))
    really = command.server.history

    def history(run: RunRef) -> Iterator[Row]:
        (first if run.run_id == "a" else second).unlink()
        return really(run)

    monkeypatch.setattr(command.server, "history", history)
    assert main(["prune", "--delete", "--older_than", "0"]) == Exit.OK
    said = capsys.readouterr().out
    assert "gone  name of a (training_log_a.jsonl): somebody has moved or deleted it" in said
    assert "Deleted: 0 runs, 0.0 MB freed; 0 stay" in said


def test_a_run_that_cannot_be_compared_is_a_failure_and_holds_back_no_other(
    command: Pruned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd, fine = command.uploaded("a"), command.uploaded("b")
    for path in (odd, fine):
        os.utime(path, (0, 0))
    really = command.server.remote_run

    def remote_run(run: RunRef) -> RemoteRun | None:
        if run.run_id == "a":
            raise RunTrouble("its history does not come")
        return really(run)

    monkeypatch.setattr(command.server, "remote_run", remote_run)
    assert main(["prune", "--delete", "--older_than", "0"]) == Exit.FAILED
    assert (odd.exists(), fine.exists()) == (True, False)
    assert "stays  name of a (training_log_a.jsonl): its history" in capsys.readouterr().out


def test_a_folder_that_cannot_be_looked_into_is_a_failure(
    command: Pruned, capsys: pytest.CaptureFixture[str]
) -> None:
    command.uploaded()
    with unreadable(command.logs):
        assert main(["prune"]) == Exit.FAILED
    assert f"stays  {command.logs}: can't be read" in capsys.readouterr().out


def test_a_name_with_a_globs_characters_means_its_run_alone_and_an_empty_one_none(
    command: Pruned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, run_name in (("a", "base*"), ("b", "base[1]"), ("c", "base-2")):
        command.log(name, end_line(), run_name=run_name)
    for word, found in (("base*", "a"), ("base[1]", "b"), ("base?*", "abc"), ("base-[2]", "c")):
        assert main(["prune", word]) == Exit.OK
        said = capsys.readouterr().out
        assert [name for name in "abc" if f"training_log_{name}" in said] == [*found], word
    monkeypatch.chdir(command.logs)
    assert main(["prune", "", "--delete", "--older_than", "0"]) == Exit.USAGE
    assert "'' is no run that is known here" in capsys.readouterr().err
