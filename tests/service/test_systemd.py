"""The service under a real `systemd --user`: start, crash, hang, reload, stop, remove."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.format import encode
from syncd.errors import Exit
from tests.fakes.wandb_server import WandbServer
from tests.patience import patience, until
from tests.service.sandbox import Sandbox

UNIT = ".config/systemd/user/karaoke-syncd.service"
RECORD: dict[str, Any] = {"type": "train", "timestamp": "2024-01-15T14:30:22+00:00"}


def lines(first: int, end: int, run_id: str = "run") -> str:
    """The lines `first` to `end` of a run's log; line 0 is its config."""
    config = {"type": "config", "schema": 1, "run_id": run_id, "run_name": run_id,
              "project": "karaoke", "created": RECORD["timestamp"], "config": {},
              "upload": True}  # fmt: skip
    records = [config] + [{**RECORD, "step": step, "train/loss": 0.5} for step in range(1, end)]
    return b"".join(map(encode, records[first:end])).decode()


def log_in(box: Sandbox, server: WandbServer) -> None:
    """As the user would for a service: its environment file."""
    text = f"WANDB_API_KEY={server.key}\nWANDB_BASE_URL={server.url}\n"
    box.write(".config/karaoke-syncd/env", text)


def install(box: Sandbox, *arguments: object) -> None:
    done = box.syncd("service", "install", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def drop_in(box: Sandbox, text: str) -> None:
    """What a user changes with `systemctl --user edit`."""
    box.write(f"{UNIT}.d/test.conf", f"[Service]\n{text}\n")


@pytest.fixture(autouse=True)
def _no_waiting(box: Sandbox) -> None:
    """For other tests on this machine, or for a server to make up its mind."""
    words = "Nice=0\nCPUSchedulingPolicy=other\nEnvironment=KARAOKE_SYNCD_SETTLE=0.3\n"
    box.write(f"{UNIT}.d/now.conf", f"[Service]\n{words}")


def arrived(server: WandbServer, count: int, run_id: str = "run") -> bool:
    try:
        return len(server.history(run_id)) >= count
    except KeyError:
        return False


def assert_exactly_once(server: WandbServer, count: int) -> None:
    until(lambda: arrived(server, count), f"{count} lines arrive")
    run = server.run("run")
    assert [row["_step"] for row in run["history"]] == list(range(count))
    assert run["errors"] == []
    assert run["overwrites"] == []


def test_install_start_upload_twice_other_folder_uninstall(
    box: Sandbox, server: WandbServer
) -> None:
    log_in(box, server)
    logs = box.folder("my logs")
    install(box, f"--log_dir={logs}")
    assert box.show("ActiveState") == "active"
    assert box.show("UnitFileState") == "enabled"
    pid = box.show("MainPID")
    box.append("my logs/training_log_20240115_143022.jsonl", lines(0, 50))
    assert_exactly_once(server, 50)
    until(lambda: box.show("StatusText") == "online; 1 run; all uploaded")
    until(lambda: "caught up" in box.journal("-o", "cat", "SYNCD_RUN_ID=run"))
    story = box.journal("-o", "cat", "SYNCD_RUN_ID=run").splitlines()
    assert ["opened" in story[0], "arrive" in story[1], "caught up" in story[2]] == [True] * 3

    again = box.syncd("service", "install", f"--log_dir={logs}")
    assert (again.returncode, box.show("MainPID")) == (0, pid)
    assert "Unchanged" in again.stdout
    second = box.syncd("start", f"--log_dir={logs}")
    assert second.returncode == Exit.BUSY
    assert "running already" in second.stderr
    assert box.syncd("service", "status").returncode == Exit.OK
    assert_secret(box, server.key)

    install(box, f"--log_dir={logs}", f"--log_dir={box.folder('100% more')}")
    assert box.show("MainPID") != pid
    watched = json.loads((box.home / ".local/state/karaoke-syncd/daemon.json").read_text())
    assert watched["log_dir"] == [str(logs), str(box.home / "100% more")]

    assert box.syncd("service", "uninstall").returncode == 0
    assert not (box.home / UNIT).exists()
    assert box.show("ActiveState") == "inactive"
    assert "no service" in box.syncd("service", "uninstall").stdout
    assert box.syncd("service", "status").returncode == Exit.NOT_RUNNING


def assert_secret(box: Sandbox, key: str) -> None:
    """The key is in nothing that anybody else may see, or that is kept."""
    state = box.home / ".local/state/karaoke-syncd"
    kept = [path for path in state.rglob("*") if path.is_file()]
    commands = Path(f"/proc/{box.pid}/root/proc").glob("[0-9]*/cmdline")
    seen = {
        "journal": box.as_root("journalctl", "--sync") + box.as_root("journalctl", "-o", "export"),
        "systemctl status": box.systemctl("status", "karaoke-syncd"),
        "systemctl show": box.systemctl("show", "karaoke-syncd"),
        "status": box.syncd("status").stdout + box.syncd("status", "--json").stdout,
        "doctor": box.syncd("doctor", "--json").stdout,
        "state": "".join(path.read_text() for path in kept),
        "process arguments": "".join(path.read_text() for path in commands),
    }
    for place, text in seen.items():
        assert text, f"nothing to search: {place}"
        assert key not in text, f"the key is in: {place}"


def test_key_that_is_refused_at_debug_level_is_in_no_message(
    box: Sandbox, server: WandbServer
) -> None:
    wrong = "f" * 40
    text = f"WANDB_API_KEY={wrong}\nWANDB_BASE_URL={server.url}\n"
    box.write(".config/karaoke-syncd/env", text, mode=0o644)
    install(box, f"--log_dir={box.folder('logs')}", "--log_level=debug")
    until(lambda: "does not accept the API key" in box.show("StatusText"))
    assert_secret(box, wrong)
    assert "chmod 600" in box.syncd("status").stdout


def test_key_from_a_systemd_credential(box: Sandbox, server: WandbServer) -> None:
    key = box.write("key", server.key)
    drop_in(box, f"LoadCredential=wandb-api-key:{key}\nEnvironment=WANDB_BASE_URL={server.url}")
    install(box, f"--log_dir={box.folder('logs')}")
    until(lambda: box.show("StatusText").startswith("online"))
    shown = box.syncd("status", WANDB_BASE_URL=server.url)
    assert "systemd credential wandb-api-key (the daemon's)" in shown.stdout
    assert_secret(box, server.key)


def test_killed_and_stopped_in_the_middle_it_goes_on_exactly_once(
    box: Sandbox, server: WandbServer
) -> None:
    log_in(box, server)
    drop_in(box, "RestartSec=100ms")
    install(box, f"--log_dir={box.folder('logs')}")
    name = "logs/training_log_20240115_143022.jsonl"
    box.append(name, lines(0, 2000))
    until(lambda: arrived(server, 1))
    box.systemctl("kill", "-s", "SIGKILL", "karaoke-syncd")
    until(lambda: box.show("NRestarts") == "1" and box.show("ActiveState") == "active")
    box.append(name, lines(2000, 4000))
    until(lambda: arrived(server, 2001))
    begun = time.monotonic()
    box.systemctl("stop", "karaoke-syncd")
    assert time.monotonic() - begun < patience(25)
    assert box.show("Result") == "success"
    box.systemctl("start", "karaoke-syncd")
    assert_exactly_once(server, 4000)


def test_hung_loop_is_ended_by_the_watchdog_and_restarted(
    box: Sandbox, server: WandbServer
) -> None:
    log_in(box, server)
    drop_in(box, "RestartSec=100ms\nWatchdogSec=3\nTimeoutAbortSec=1")
    install(box, f"--log_dir={box.folder('logs')}")
    box.systemctl("kill", "-s", "SIGSTOP", "--kill-whom=main", "karaoke-syncd")
    until(lambda: box.show("NRestarts") == "1" and box.show("ActiveState") == "active")
    assert "Watchdog timeout" in box.journal()
    time_at_restart = box.show("ActiveEnterTimestampMonotonic")
    box.append("logs/training_log_20240115_143022.jsonl", lines(0, 50))
    assert_exactly_once(server, 50)
    until(lambda: time.monotonic() > int(time_at_restart) / 1e6 + 3.5)
    assert box.show("NRestarts") == "1", "a loop that passes was taken for a hung one"


def test_settings_are_reloaded_without_a_restart(box: Sandbox, server: WandbServer) -> None:
    log_in(box, server)
    logs = box.folder("logs")
    config = ".config/karaoke-syncd/config.toml"
    box.write(config, f'log_dir = ["{logs}"]\n')
    install(box)
    pid = box.show("MainPID")
    box.write(config, f'log_dir = ["{logs}"]\nproject = "elsewhere"\n')
    assert box.syncd("service", "reload").returncode == 0
    box.append("logs/training_log_20240115_143022.jsonl", lines(0, 20))
    assert_exactly_once(server, 20)
    assert list(server.dump()[server.entity]) == ["elsewhere"]

    box.write(config, "log_dir = 7 =\n")
    assert box.syncd("service", "reload").returncode == Exit.USAGE
    # a shell with settings of its own, which are well
    refused = box.syncd("service", "reload", XDG_CONFIG_HOME=f"{box.home}/another")
    assert refused.returncode == Exit.FAILED
    assert "config.toml" in refused.stderr
    assert "stays as it was" in refused.stderr
    box.append("logs/training_log_20240115_143022.jsonl", lines(20, 40))
    assert_exactly_once(server, 40)
    assert (box.show("MainPID"), box.show("NRestarts")) == (pid, "0")
    assert box.show("ActiveState") == "active"


def test_log_folder_that_is_missing_at_boot_is_written_to_once_it_comes(
    box: Sandbox, server: WandbServer
) -> None:
    log_in(box, server)
    drop_in(box, "RestartSec=100ms")
    install(box, f"--log_dir={box.home}/project/logs")
    assert box.show("ActiveState") == "active"
    box.folder("project/logs")
    box.append("project/logs/training_log_20240115_143022.jsonl", lines(0, 50))
    assert_exactly_once(server, 50)
    until(lambda: list((box.home / "project/logs/.locks").glob("run.*.lease")))
    assert int(box.show("NRestarts")) == 1


def test_wrong_settings_are_not_tried_for_ever(box: Sandbox, server: WandbServer) -> None:
    log_in(box, server)
    drop_in(box, "RestartSec=100ms")
    install(box, f"--log_dir={box.folder('logs')}")
    box.systemctl("stop", "karaoke-syncd")
    box.write(".config/karaoke-syncd/config.toml", "nonsense = 1\n")
    assert box.run("systemctl", "--user", "start", "karaoke-syncd").returncode
    assert box.show("ActiveState") == "failed"
    assert box.show("ExecMainStatus") == str(int(Exit.USAGE))
    assert box.show("NRestarts") == "0"
    assert "nonsense" in box.journal()


def test_journal_has_fields_and_no_second_time(box: Sandbox, server: WandbServer) -> None:
    box.write(".config/karaoke-syncd/env", f"WANDB_BASE_URL={server.url}\n")
    install(box, f"--log_dir={box.folder('logs')}")
    until(lambda: "nobody is logged in" in box.journal("-o", "cat"))
    entries = [json.loads(line) for line in box.journal("-o", "json").splitlines()]
    entry = next(entry for entry in entries if entry.get("SYNCD_ERROR"))
    assert entry["SYNCD_ERROR"] == "Refused"
    assert entry["PRIORITY"] == "4"
    assert entry["SYNCD_REMEDY"].startswith("Run `wandb login")
    assert entry["MESSAGE"].startswith("nobody is logged in")
    assert "nobody is logged in" in box.syncd("service", "logs").stdout


def test_where_users_have_no_namespaces_the_service_runs_without(
    box: Sandbox, server: WandbServer
) -> None:
    log_in(box, server)
    box.write("bin/systemd-run", "#!/bin/sh\nexit 1\n", mode=0o755)  # as where userns are denied
    path = f"{box.home}/bin:/usr/bin:/bin"
    done = box.syncd("service", "install", f"--log_dir={box.folder('logs')}", PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PrivateUsers" not in [
        line.partition("=")[0] for line in (box.home / UNIT).read_text().splitlines()
    ]
    box.append("logs/training_log_20240115_143022.jsonl", lines(0, 50))
    assert_exactly_once(server, 50)
