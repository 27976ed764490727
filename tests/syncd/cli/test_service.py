"""`service …`: what is asked of the user manager, and what people are told; the real one is in
tests/service."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd import paths
from syncd.cli import main
from syncd.errors import Exit
from syncd.service import launch, systemd, unit_file
from syncd.settings import Settings
from syncd.state import daemon_report, lease
from syncd.state.daemon_report import DaemonReport
from tests.fakes.user_manager import UserManager
from tests.patience import patience

START = ["daemon-reload", f"enable {unit_file.NAME}", f"start {unit_file.NAME}"]


@pytest.fixture
def manager(home: Path, monkeypatch: pytest.MonkeyPatch) -> UserManager:
    return UserManager(home / "manager", monkeypatch)


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What was printed since the last time, without the line breaks of a terminal."""

    def take() -> str:
        out, err = capsys.readouterr()
        return " ".join((out + err).split())

    return take


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of the program that takes the place of this one."""
    words: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, given: words.extend(given))
    return words


def install(*words: str) -> int:
    return main(["service", "install", *words])


# --- install


def test_install_writes_enables_and_starts_and_says_what_is_watched(
    manager: UserManager, home: Path, said: Said
) -> None:
    (home / "here").mkdir()
    assert install(f"--log_dir={home}/here", f"--log_dir={home}/later") == Exit.OK
    assert manager.asked() == START
    unit = manager.unit.read_text()
    assert f"start --log_dir={home}/here --log_dir={home}/later\n" in unit
    words = said()
    assert f"Wrote {manager.unit}" in words
    assert f"Uploads from {home}/here Uploads from {home}/later (watched as soon as it exists)" in (
        words
    )
    assert systemd.LINGER_HINT in words
    assert words.endswith("Running. See karaoke-syncd status, karaoke-syncd service logs -f")


def test_install_again_changes_nothing_and_with_other_folders_restarts(
    manager: UserManager, home: Path, said: Said
) -> None:
    install(f"--log_dir={home}/a")
    said()
    assert install(f"--log_dir={home}/a") == Exit.OK
    assert manager.asked() == [*START, *START]
    assert f"Unchanged: {manager.unit}" in said()
    assert install(f"--log_dir={home}/b") == Exit.OK
    assert manager.asked()[-1] == f"restart {unit_file.NAME}"
    assert "Wrote" in said()


def test_install_after_another_folder_while_stopped_starts_it(
    manager: UserManager, home: Path
) -> None:
    install(f"--log_dir={home}/a")
    manager.set(active="failed")
    assert install(f"--log_dir={home}/b") == Exit.OK
    assert manager.asked()[-1] == f"start {unit_file.NAME}"


def test_install_says_that_the_service_does_not_see_this_shells_key(
    manager: UserManager, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install() == Exit.OK
    assert "does not see this shell's WANDB_API_KEY" in said()
    monkeypatch.delenv("WANDB_API_KEY")
    install()
    assert "The service has no API key" in said()
    netrc = Path(os.environ["NETRC"])
    netrc.write_text("machine 127.0.0.1 login user password 0123456789\n")
    netrc.chmod(0o600)
    install()
    assert "API key" not in said()


def test_linger_is_asked_for_once_and_a_refusal_is_told(manager: UserManager, said: Said) -> None:
    (manager.place / "no-linger").touch()
    assert install("--linger") == Exit.OK
    assert "Lingering was refused: Access denied. Ask an administrator." in said()
    (manager.place / "no-linger").unlink()
    assert install("--linger") == Exit.OK
    assert "log out" not in said()
    assert install("--linger") == Exit.OK
    assert manager.asked().count("loginctl enable-linger") == 2


def test_install_beside_a_daemon_of_ones_own_is_refused(
    manager: UserManager, home: Path, said: Said
) -> None:
    lock = lease.state_lock(home / "state" / "karaoke-syncd")
    lock.acquire()
    try:
        assert install() == Exit.FAILED
    finally:
        lock.release()
    words = said()
    assert f"a daemon is running already: process {os.getpid()}" in words
    assert "karaoke-syncd stop" in words
    assert not manager.unit.exists()
    assert manager.asked() == []


@pytest.mark.parametrize("active", ["active", "reloading"])
def test_install_over_the_services_own_daemon_is_no_rivalry(
    manager: UserManager, home: Path, active: str
) -> None:
    install()
    manager.set(pid=str(os.getpid()), active=active)
    lock = lease.state_lock(home / "state" / "karaoke-syncd")
    lock.acquire()
    try:
        assert install() == Exit.OK
    finally:
        lock.release()


@pytest.mark.parametrize("unsigned", [True, False])
def test_a_daemon_that_is_not_known_to_be_the_services_is_a_rival(
    manager: UserManager, home: Path, said: Said, monkeypatch: pytest.MonkeyPatch, unsigned: bool
) -> None:
    """Its lock does not name its process, or names one of this id on another machine."""
    install()
    manager.set(pid="0" if unsigned else str(os.getpid()))
    lock = lease.state_lock(home / "state" / "karaoke-syncd")
    lock.acquire()
    if unsigned:
        lock.path.write_bytes(b"")
    else:
        monkeypatch.setattr(systemd, "this_host", lambda: "another")
    try:
        assert install() == Exit.FAILED
    finally:
        lock.release()
    assert "a daemon is running already" in said()


def test_a_masked_unit_stays_masked(manager: UserManager, said: Said) -> None:
    manager.unit.parent.mkdir(parents=True)
    manager.unit.symlink_to("/dev/null")
    assert install() == Exit.FAILED
    assert "the unit is masked or a link of yours" in said()
    assert manager.unit.readlink() == Path("/dev/null")
    assert manager.asked() == []


@pytest.mark.parametrize("verb", ["daemon-reload", "enable", "start"])
def test_what_systemd_refuses_is_said_with_its_own_words(
    manager: UserManager, said: Said, verb: str
) -> None:
    manager.refuse(verb)
    assert install() == Exit.FAILED
    words = said()
    assert f"systemctl --user {verb}" in words
    assert "Job failed. See the journal." in words
    assert "No data is touched" in words


def test_where_users_have_no_namespaces_the_unit_asks_for_none(manager: UserManager) -> None:
    install()
    assert "PrivateUsers=yes" in manager.unit.read_text()
    manager.program("systemd-run", "#!/bin/sh\nexit 1\n")
    install()
    assert "PrivateUsers=yes" not in manager.unit.read_text()


# --- without a manager


def no_systemctl(manager: UserManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(manager.place))


def not_booted(manager: UserManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "BOOTED", manager.place / "none")


def no_session(manager: UserManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")


def unreachable(manager: UserManager, monkeypatch: pytest.MonkeyPatch) -> None:
    (manager.place / "unreachable").touch()


@pytest.mark.parametrize(
    ("lack", "reason"),
    [
        (no_systemctl, "this machine has no systemd"),
        (not_booted, "was not started with systemd"),
        (no_session, "XDG_RUNTIME_DIR is not set"),
        (unreachable, "your user manager can't be reached"),
    ],
)
@pytest.mark.parametrize("command", ["install", "uninstall", "restart", "reload", "status"])
def test_without_a_manager_each_command_says_what_to_do_instead(
    manager: UserManager, said: Said, monkeypatch: pytest.MonkeyPatch,
    lack: Callable[[UserManager, pytest.MonkeyPatch], None], reason: str, command: str,
) -> None:  # fmt: skip
    lack(manager, monkeypatch)
    assert main(["service", command]) == Exit.FAILED
    words = said()
    assert reason in words
    assert "karaoke-syncd start --detach" in words
    assert f"@reboot {shlex.join(launch.command())} start --detach" in words


def test_the_advice_repeats_the_flags(
    manager: UserManager, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_booted(manager, monkeypatch)
    assert install("--log_dir=/data/my logs", "--project=mine") == Exit.FAILED
    assert "start --detach '--log_dir=/data/my logs' --project=mine" in said()


# --- the others


def test_uninstall_stops_and_removes_once(manager: UserManager, said: Said) -> None:
    install()
    said()
    assert main(["service", "uninstall"]) == Exit.OK
    assert "Stopped and removed" in said()
    assert not manager.unit.exists()
    removed = [f"disable --now {unit_file.NAME}", "daemon-reload", f"reset-failed {unit_file.NAME}"]
    assert manager.asked()[-3:] == removed
    assert main(["service", "uninstall"]) == Exit.OK
    assert "no service to remove" in said()
    assert manager.asked()[-3:] == removed


@pytest.mark.process
@pytest.mark.parametrize(
    ("active", "code"),
    [
        ("active", Exit.OK),
        ("reloading", Exit.OK),
        ("activating", Exit.NOT_RUNNING),
        ("failed", Exit.NOT_RUNNING),
        ("inactive", Exit.NOT_RUNNING),
    ],
)
def test_status_says_how_it_is_and_its_exit_code_whether_it_runs(
    manager: UserManager, said: Said, active: str, code: Exit
) -> None:
    assert main(["service", "status"]) == Exit.NOT_RUNNING
    assert "Not installed: karaoke-syncd service install" in said()
    install()
    said()
    manager.set(active=active, says="online; [1] run", restarts="2")
    assert main(["service", "status"]) == code
    words = said()
    process = ", process 4321" if code is Exit.OK else ""
    assert f"Active {active}{process}, restarted 2 times" in words
    assert "Says online; [1] run" in words
    assert f"Unit {manager.unit} Enabled yes" in words
    assert "Linger no: systemd stops" in words


@pytest.mark.process
def test_status_of_a_service_that_does_not_start_by_itself(
    manager: UserManager, said: Said
) -> None:
    install()
    (manager.place / "enabled").unlink()
    (manager.place / "linger" / "singer").touch()
    said()
    assert main(["service", "status"]) == Exit.OK
    words = said()
    assert "Enabled no: karaoke-syncd service install" in words
    assert "Linger yes" in words


@pytest.mark.process
def test_status_sees_that_the_units_program_is_gone_and_says_how_it_is_mended(
    manager: UserManager, home: Path, said: Said
) -> None:
    install(f"--log_dir={home}/my logs")
    program = launch.command()[0]
    assert main(["service", "status"]) == Exit.OK
    assert "Program" not in said()
    manager.unit.write_text(manager.unit.read_text().replace(program, f"{home}/gone"))
    manager.set(active="activating", restarts="12")
    assert main(["service", "status"]) == Exit.NOT_RUNNING
    words = said()
    assert f"Program {home}/gone is gone. Install it again, from where it is now: " in words
    assert f"{program} service install '--log_dir={home}/my logs'" in words


@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_restart_and_reload_are_the_managers(manager: UserManager, said: Said, verb: str) -> None:
    assert main(["service", verb]) == Exit.OK
    assert manager.asked() == [f"{verb} {unit_file.NAME}"]
    assert f"Asked to {verb}" in said()
    manager.refuse(verb)
    assert main(["service", verb]) == Exit.FAILED
    assert "the service is not installed. karaoke-syncd service install" in said()
    manager.unit.parent.mkdir(parents=True)
    manager.unit.touch()
    assert main(["service", verb]) == Exit.FAILED
    assert "Job failed" in said()


@pytest.fixture
def answers(manager: UserManager, home: Path) -> Iterator[Callable[[float, str], None]]:
    """What the daemon that runs says of its settings: when it read them, and what is wrong."""
    state = home / "state" / "karaoke-syncd"
    lock = lease.state_lock(state)
    lock.acquire()
    yield lambda at, problem: daemon_report.save(
        state, DaemonReport(settings_read=at, settings_problem=problem)
    )
    lock.release()


def test_reload_says_that_the_settings_are_in_force_or_why_not(
    answers: Callable[[float, str], None], said: Said
) -> None:
    later = time.monotonic() + patience(1000)  # than it is asked for
    answers(later, "")
    assert main(["service", "reload"]) == Exit.OK
    assert said().endswith("The settings are read, and in force.")
    answers(later, "log_dir = 7 is no folder.")
    assert main(["service", "reload"]) == Exit.FAILED
    assert "log_dir = 7 is no folder. What that is about stays as it was." in said()


def test_reload_that_a_daemon_does_not_answer_is_not_waited_for_without_end(
    answers: Callable[[float, str], None], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.cli.service.ANSWER", 0.0)
    answers(time.monotonic(), "")
    assert main(["service", "reload"]) == Exit.FAILED
    assert "it has not said within 0 s that it has read its settings" in said()
    answers(0.0, "")  # a version that never does
    assert main(["service", "reload"]) == Exit.OK
    assert "see karaoke-syncd service logs" in said()


def test_restart_of_a_daemon_that_systemd_runs_is_left_to_systemd(
    manager: UserManager, home: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    manager.set(pid=str(os.getpid()))
    monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail("systemd is to stop it"))
    lock = lease.state_lock(home / "state" / "karaoke-syncd")
    lock.acquire()
    try:
        assert main(["restart"]) == Exit.OK
    finally:
        lock.release()
    assert manager.asked()[-1] == f"restart {unit_file.NAME}"
    assert "The service was restarted" in said()


def test_restart_says_that_a_service_does_not_take_its_flags(
    manager: UserManager, home: Path, said: Said
) -> None:
    install()
    manager.set(pid=str(os.getpid()))
    lock = lease.state_lock(home / "state" / "karaoke-syncd")
    lock.acquire()
    try:
        assert main(["restart", f"--log_dir={home}/my songs"]) == Exit.OK
    finally:
        lock.release()
    assert f"karaoke-syncd service install '--log_dir={home}/my songs'" in said()


def test_restart_after_a_stop_of_the_service_is_left_to_systemd(
    manager: UserManager, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(launch, "start_in_background", lambda its: started.append(its) or 1)
    install()
    manager.set(active="inactive")
    assert main(["restart"]) == Exit.OK
    assert manager.asked()[-1] == f"restart {unit_file.NAME}"
    assert started == []
    manager.set(active="inactive")
    assert main(["restart", f"--log_dir={home}/others"]) == Exit.OK
    assert [its.log_dir for its in started] == [(home / "others",)]


@pytest.mark.parametrize(
    ("words", "handed_on"),
    [
        ([], ["--lines=100"]),
        (["-n", "20", "-f"], ["--lines=20", "--follow"]),
        (["--follow", "--lines=1"], ["--lines=1", "--follow"]),
    ],
)
def test_logs_are_the_journals(
    manager: UserManager, executed: list[str], words: list[str], handed_on: list[str]
) -> None:
    main(["service", "logs", *words])
    journalctl = [str(manager.bin / "journalctl"), "--no-hostname"]
    assert executed == [*journalctl, f"--user-unit={unit_file.NAME}", *handed_on]


@pytest.mark.process
def test_a_mistake_in_the_settings_is_said_and_does_not_hide_the_service(
    manager: UserManager, said: Said, home: Path, executed: list[str]
) -> None:
    assert install(f"--log_dir={home}") == Exit.OK
    file = paths.config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('log_dir = ["here"')
    said()
    assert main(["service", "status"]) == Exit.OK
    words = said()
    assert "config.toml: can't be read: Unclosed array" in words
    assert "Active active" in words
    assert main(["service", "reload"]) == Exit.USAGE
    assert main(["service", "uninstall"]) == Exit.OK
    assert not manager.unit.exists()
    said()
    main(["service", "logs"])
    assert "Unclosed array" in said()
    assert "--no-hostname" in executed


def no_journalctl(manager: UserManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(manager.place))


@pytest.mark.parametrize("lack", [no_journalctl, not_booted])
def test_without_a_journal_a_detached_daemons_log_is_named(
    manager: UserManager, home: Path, said: Said, monkeypatch: pytest.MonkeyPatch,
    executed: list[str], lack: Callable[[UserManager, pytest.MonkeyPatch], None],
) -> None:  # fmt: skip
    lack(manager, monkeypatch)
    assert main(["service", "logs", "-f", "-n", "5"]) == Exit.FAILED
    words, log = said(), home / "state" / "karaoke-syncd" / "daemon.log"
    assert "this machine has no journal" in words
    assert f"tail -f -n 5 {log}" in words
    assert executed == [], "the journal would say that it has no entries"


@pytest.mark.parametrize(("installed", "detached"), [(False, True), (True, True), (False, False)])
def test_without_a_service_the_log_of_a_detached_daemon_is_named_beside_the_journal(
    manager: UserManager, home: Path, said: Said, executed: list[str],
    installed: bool, detached: bool,
) -> None:  # fmt: skip
    log = home / "state" / "karaoke-syncd" / "daemon.log"
    for path, there in ((log, detached), (manager.unit, installed)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if there:
            path.touch()
    main(["service", "logs"])
    assert f"--user-unit={unit_file.NAME}" in executed
    assert (f"A detached daemon's log is {log}" in said()) == (detached and not installed)


def test_a_manager_that_does_not_answer_in_time_is_one_that_cannot_be_reached(
    manager: UserManager, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.program("systemctl", "#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(systemd, "TIMEOUT", 0.2)
    assert install() == Exit.FAILED
    assert "your user manager can't be reached" in said()


def test_an_account_without_a_name_does_not_linger(
    manager: UserManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(systemd.getpass, "getuser", nobody)
    assert not systemd.state().linger
