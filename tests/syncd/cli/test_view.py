"""`view` as it's called: a page on this machine, and what is written while it is open."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest

from syncd.cli import main
from tests.patience import patience, until
from tests.syncd.viewer import Viewer, needs_trackio
from tests.syncd.world import config_line, end_line, train_line


def test_without_trackio_it_says_what_to_install(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("syncd.destination.trackio.store.installed", lambda: "")
    assert main(["view", "--no_open"]) == 5
    assert "pip install 'karaoke-train[local]'" in capsys.readouterr().out


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A log, whose run isn't to be uploaded: nothing leaves this machine."""
    path = tmp_path / "logs" / "training_log_a.jsonl"
    path.parent.mkdir()
    secret = {"config": {"api_key": "s3cret"}, "argv": ["train", "--api_key=s3cret"]}
    path.write_bytes(config_line(upload=False, **secret) + train_line(1))
    return path


@needs_trackio
def test_what_is_written_while_it_is_open_is_there_when_it_has_ended(
    first: Path, tmp_path: Path
) -> None:
    # of no use for an address of this machine, and there is nothing that it needs other ones for
    with Viewer(tmp_path, HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="socks5://x") as viewer:
        address = viewer.address()
        assert address.startswith("http://127.0.0.1:")
        assert address.endswith("?project=songs")
        with urllib.request.urlopen(address, timeout=patience(30)) as page:
            assert b"<html" in page.read()
        with pytest.raises(OSError, match="refused"):  # every other address, as of the network
            urllib.request.urlopen(address.replace("127.0.0.1", "127.0.0.2"), timeout=patience(30))
        with first.open("ab") as file:
            file.write(train_line(2) + end_line())
        first.with_name("training_log_b.jsonl").write_bytes(config_line("run-2") + end_line())
        cursors = tmp_path / ".local/state/karaoke-syncd/servers"
        until(lambda: list(cursors.glob("*/cursors/run-2.json")), viewer.said())
        viewer.end()
        assert "All 6 records of 2 runs are in the local dashboard" in viewer.said()
        kept = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert any(b"api_key" in data for data in kept)
        assert not any(b"s3cret" in data for data in kept)
        assert [line for line in viewer.said().splitlines() if line.isspace()] == []


@needs_trackio
def test_it_ends_with_its_input_and_has_uploaded_what_came_last(
    first: Path, tmp_path: Path
) -> None:
    with Viewer(tmp_path, "--until_eof") as viewer:
        assert "Ctrl-C" not in viewer.said().partition(viewer.address())[2]
        with first.open("ab") as file:
            file.write(train_line(2) + end_line())
        assert viewer.process.stdin
        viewer.process.stdin.close()
        viewer.ends_well()
        assert "All 4 records of 1 run are in the local dashboard" in viewer.said()


@needs_trackio
def test_a_port_that_is_taken_is_named(first: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Viewer(tmp_path, "--port", str(port)) as viewer:
            assert viewer.process.wait(patience(60)) == 1
    assert f"the dashboard does not start: port {port} is taken" in viewer.said()
    assert "Name a free port with --port" in viewer.said()
