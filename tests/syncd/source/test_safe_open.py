"""What others put into a log folder -> nothing but the user's own regular files is opened."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from karaoke_train.runlog.regular_file import READ, UnsafeFile
from syncd.source import openat2, safe_open
from syncd.source.media_folder import MediaFolder, Unusable
from syncd.source.safe_open import (
    moved,
    names_in,
    open_log,
    open_strictly,
    remove_folder,
    resolved,
)

STRANGER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "netrc"
    path.write_bytes(b"password\n")
    return path


@pytest.fixture(params=["by one call", "folder by folder", "the user's own"])
def own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a file has to be the user's own; each way to open one in turn."""
    if request.param != "by one call":
        monkeypatch.setattr(openat2, "descriptor_of", lambda *_: None)
    return bool(request.param == "the user's own")


def read(path: Path, *, own: bool = True) -> bytes:
    with open_log(path, own=own) as file:
        return file.read()


def test_a_regular_file_is_read(logs: Path, own: bool) -> None:
    (logs / "a").write_bytes(b"x\n")
    assert read(logs / "a", own=own) == b"x\n"


def test_a_link_in_a_files_place_is_not_followed(logs: Path, secret: Path, own: bool) -> None:
    (logs / "a").symlink_to(secret)
    with pytest.raises(UnsafeFile, match="symbolic link"):
        read(logs / "a", own=own)


def test_a_link_that_takes_a_files_place_at_the_last_moment_is_not_followed(
    logs: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "a").symlink_to(secret)
    regular = secret.stat()
    monkeypatch.setattr(os, "lstat", lambda *_, **__: regular)
    with pytest.raises(UnsafeFile, match="symbolic link"):
        read(logs / "a", own=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux's")
def test_one_call_opens_what_no_link_leads_to(logs: Path, secret: Path) -> None:
    (logs / "a").write_bytes(b"x\n")
    (logs / "link").symlink_to(secret)
    (logs.parent / "way").symlink_to(logs)
    descriptor = openat2.descriptor_of(f"{logs}/a", READ)
    if descriptor is None:
        pytest.skip("the kernel, or a sandbox, has no openat2")
    with os.fdopen(descriptor, "rb") as file:
        assert file.read() == b"x\n"
        assert not os.get_inheritable(file.fileno())
    for name in ("logs/link", "way/a", "logs/../logs/a", "logs/none", "logs/a\0"):
        assert openat2.descriptor_of(f"{logs.parent}/{name}", READ) is None


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "FIFO"),
        (_socket, "socket"),
        (os.mkdir, "folder"),
        (lambda path: Path(path).symlink_to("/dev/zero"), "symbolic link"),
        pytest.param(
            lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)), "device", marks=as_root
        ),
    ],
)
def test_what_is_no_file_is_named_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[str], None], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is at most 108 bytes long
    try:
        make("a")
    except PermissionError:
        pytest.skip("no device can be made here")
    with pytest.raises(UnsafeFile, match=words):
        read(tmp_path / "a")


def test_a_fifo_that_takes_a_files_place_at_the_last_moment_is_not_waited_for(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "real").touch()
    os.mkfifo(logs / "a")
    looked, regular = [], (logs / "real").stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: looked.append(1) or regular)
    descriptor = os.open(logs, os.O_RDONLY)
    with pytest.raises(UnsafeFile, match="FIFO"):
        safe_open.open_regular("a", dir_fd=descriptor)
    assert looked


def test_a_log_folder_that_is_a_link_is_one_as_it_was_at_first(
    tmp_path: Path, logs: Path, own: bool
) -> None:
    (logs / "a").write_bytes(b"x\n")
    link, other = tmp_path / "link", tmp_path / "other"
    other.mkdir()
    (other / "a").write_bytes(b"secret\n")
    link.symlink_to(logs)
    assert (read(link / "a", own=own), names_in(link), moved(link)) == (b"x\n", ["a"], False)
    link.unlink()
    link.symlink_to(other)
    assert (read(link / "a", own=own), resolved(link), moved(link)) == (b"x\n", logs, True)


def test_a_folder_on_the_way_that_became_a_link_is_not_followed(
    tmp_path: Path, logs: Path, own: bool
) -> None:
    (logs / "a").write_bytes(b"x\n")
    assert read(logs / "a", own=own) == b"x\n"
    logs.rename(tmp_path / "elsewhere")
    logs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFile, match="logs is a symbolic link"):
        read(logs / "a", own=own)
    with pytest.raises(UnsafeFile):
        names_in(logs)


def test_a_folder_that_is_removed_and_made_again_is_the_same(logs: Path) -> None:
    names_in(logs)
    logs.rmdir()
    with pytest.raises(FileNotFoundError):
        names_in(logs)
    logs.mkdir()
    assert names_in(logs) == []


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o777])
def test_ones_own_file_is_read_wherever_it_is(logs: Path, mode: int) -> None:
    (logs / "a").write_bytes(b"x\n")
    logs.chmod(mode)
    assert read(logs / "a") == b"x\n"


@as_root
@pytest.mark.parametrize(("mode", "taken"), [(0o755, True), (0o775, False), (0o777, False)])
def test_a_strangers_file_is_read_only_where_no_stranger_could_put_it(
    logs: Path, mode: int, taken: bool
) -> None:
    (logs / "a").write_bytes(b"x\n")
    os.chown(logs / "a", STRANGER, STRANGER)
    os.chown(logs, 0, STRANGER)
    logs.chmod(mode)
    assert read(logs / "a", own=False) == b"x\n"  # the user named it
    if taken:
        assert read(logs / "a") == b"x\n"
    else:
        with pytest.raises(UnsafeFile, match=f"belongs to user {STRANGER}"):
            read(logs / "a")


@pytest.mark.parametrize(("mode", "taken"), [(0o755, True), (0o777, False)])
def test_a_second_name_may_be_a_file_elsewhere_where_others_write(
    logs: Path, secret: Path, mode: int, taken: bool
) -> None:
    os.link(secret, logs / "a")
    logs.chmod(mode)
    if taken:
        assert read(logs / "a") == b"password\n"
    else:
        with pytest.raises(UnsafeFile, match="hard link"):
            read(logs / "a")


def test_a_group_of_ones_own_is_nobody_else(
    logs: Path, monkeypatch: pytest.MonkeyPatch, secret: Path
) -> None:
    os.link(secret, logs / "a")
    logs.chmod(0o775)
    monkeypatch.setattr(safe_open, "_is_private", lambda group: group == logs.stat().st_gid)
    assert read(logs / "a") == b"password\n"


# --- media


@pytest.fixture
def media(logs: Path) -> MediaFolder:
    folder = logs / "media" / "run-1"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"PNG")
    return MediaFolder(folder, largest=10)


def test_a_runs_picture_is_read(media: MediaFolder) -> None:
    (media.path / "sub").mkdir()
    (media.path / "sub" / "b.png").write_bytes(b"PNG")
    assert media.digest("a.png")[1] == media.digest("sub/b.png")[1] == 3


@pytest.mark.parametrize("place", ["logs", "logs/media", "logs/media/run-1"])
def test_no_folder_on_the_way_to_a_picture_may_be_a_link(
    tmp_path: Path, media: MediaFolder, place: str
) -> None:
    (tmp_path / place).rename(tmp_path / "aside")
    (tmp_path / place).symlink_to(tmp_path / "aside")
    with pytest.raises(UnsafeFile):
        media.digest("a.png")


@pytest.mark.parametrize("name", ["sub/b.png", "b.png"])
def test_no_link_in_a_media_folder_is_followed(media: MediaFolder, secret: Path, name: str) -> None:
    (media.path / "sub").symlink_to(secret.parent)
    (media.path / "b.png").symlink_to(media.path / "a.png")
    (secret.parent / "b.png").touch()
    with pytest.raises(UnsafeFile):
        media.digest(name)


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "sub/../a.png", ".."])
def test_a_path_that_leads_out_of_the_media_folder_is_none(media: MediaFolder, name: str) -> None:
    with pytest.raises(Unusable, match="outside"):
        media.digest(name)


@pytest.mark.parametrize("size", [11, 5 << 30, 1 << 40])
def test_a_file_over_the_limit_is_not_read(media: MediaFolder, size: int) -> None:
    with (media.path / "big.png").open("wb") as file:
        file.truncate(size)  # sparse: it takes no room
    with pytest.raises(Unusable, match="larger"):
        media.digest("big.png")


def test_a_file_that_grows_while_it_is_read_is_read_to_the_limit(media: MediaFolder) -> None:
    with media.open("a.png") as file, (media.path / "a.png").open("ab") as more:
        more.write(b"x" * 100)
        more.flush()
        with pytest.raises(Unusable, match="larger"):
            list(media.pieces(file))


@pytest.mark.parametrize("name", ["", ".", "sub"])
def test_a_folder_is_no_picture(media: MediaFolder, name: str) -> None:
    (media.path / "sub").mkdir()
    with pytest.raises(UnsafeFile, match="folder"):
        media.digest(name)


@pytest.mark.parametrize("place", ["logs", "logs/media", "logs/media/run-1"])
def test_no_folder_is_removed_behind_a_link(tmp_path: Path, media: MediaFolder, place: str) -> None:
    (tmp_path / place).rename(tmp_path / "aside")
    (tmp_path / place).symlink_to(tmp_path / "aside")
    remove_folder(media.path)
    assert [path.name for path in (tmp_path / "aside").rglob("*.png")] == ["a.png"]


def test_a_folder_is_removed_and_none_beside_it(media: MediaFolder) -> None:
    (media.path.parent / "run-2").mkdir()
    remove_folder(media.path)
    remove_folder(media.path)
    assert [path.name for path in media.path.parent.iterdir()] == ["run-2"]


def test_a_path_is_taken_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UnsafeFile, match="leads out"):
        open_strictly(tmp_path / "x" / ".." / "a", own=False)


@pytest.mark.parametrize("name", ["log.jsonl", "./log.jsonl", "sub/../sub/log.jsonl"])
def test_a_relative_path_is_the_one_from_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(safe_open, "resolved", lambda folder: folder.resolve(strict=True))
    safe_open._resolved.cache_clear()
    path = Path(name)
    (tmp_path / path).resolve().parent.mkdir(exist_ok=True)
    (tmp_path / path).resolve().write_bytes(b"line\n")
    try:
        with safe_open.open_log(path) as file:
            assert file.read() == b"line\n"
    finally:
        safe_open._resolved.cache_clear()
