"""The unit's sandbox, each directive by what it forbids, and systemd's own opinion of the unit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.service import unit_file
from tests.measured import MEASURED
from tests.patience import patience
from tests.service.sandbox import ROOT, Sandbox

EXPOSURE = 1.8  # of 10, by systemd 252; what is left is the network, AF_UNIX and the user's name

# directive -> what succeeds when it is not in force; run within the service
FORBIDDEN = {
    "NoNewPrivileges": "assert 'NoNewPrivs:\\t0' in STATUS",
    "SystemCallFilter": "assert 'Seccomp:\\t0' in STATUS",
    "SystemCallFilter=~@privileged": "os.chroot('/')",
    "SystemCallFilter=~@resources": "libc(libc_.setpriority(0, 0, 12))",
    "LockPersonality": "libc(libc_.personality(0x0008))",
    "MemoryDenyWriteExecute": "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "RestrictAddressFamilies": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "RestrictNamespaces": "libc(libc_.unshare(0x10000000))",
    "RestrictRealtime": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "RestrictSUIDSGID": "os.chmod(MINE, 0o4755)",
    "LimitCORE": "assert resource.getrlimit(resource.RLIMIT_CORE)[1] != 0",
    "PrivateUsers": "assert '4294967295' in Path('/proc/self/uid_map').read_text()",
    "ProtectSystem": "assert not os.statvfs('/usr').f_flag & os.ST_RDONLY",
    "ProtectHome": "Path(HOME, 'new').touch()",
    "InaccessiblePaths": "Path(HOME, '.ssh/id').read_text()",
    "InaccessiblePaths: passwords": "Path(HOME, '.git-credentials').read_text()",
    "TemporaryFileSystem: the session bus": "connect(RUNTIME + '/bus')",
    "TemporaryFileSystem: the user manager": "connect(RUNTIME + '/systemd/private')",
    "TemporaryFileSystem: systemd-run --user": "run('systemd-run', '--user', '--no-block', 'true')",
    "TemporaryFileSystem: write": "Path(RUNTIME, 'new').touch()",
    "UnsetEnvironment": "assert 'DBUS_SESSION_BUS_ADDRESS' in os.environ",
    "SystemCallFilter: ptrace": "libc(libc_.ptrace(0, 0, 0, 0))",
    "PrivateUsers: another process's files": "os.listdir(f'/proc/{os.getppid()}/root')",
    "PrivateUsers: another process's memory": "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "ProtectHome: a unit of its own": "Path(HOME, '.config/systemd/user/mine.service').touch()",
    "ProtectHome: a shell's start": "Path(HOME, '.bashrc').touch()",
    "PrivateTmp": "Path(OUTSIDE).read_text()",
    "PrivateDevices": "assert len(os.listdir('/dev')) > 20",
    "ProtectControlGroups": "assert not os.statvfs('/sys/fs/cgroup').f_flag & os.ST_RDONLY",
    "ProtectKernelTunables": "assert not os.statvfs('/proc/sys').f_flag & os.ST_RDONLY",
    "ProtectKernelModules": "os.listdir('/usr/lib/modules')",
    "ProtectHostname": "socket.sethostname('other')",
    "ProtectClock": "time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "ProtectKernelLogs": "libc(libc_.klogctl(3, ctypes.create_string_buffer(9), 9))",
    "CapabilityBoundingSet": "assert 'CapBnd:\\t0000000000000000' not in STATUS",
}
ALLOWED = {
    "write in a log folder": "Path(LOGS, 'new').touch()",
    "write state": "Path(HOME, '.local/state/new').touch()",
    "read the login": "Path(HOME, '.netrc').read_text()",
    "inotify": "libc(libc_.inotify_init1(0))",
    "names and connections": "socket.getaddrinfo('localhost', 80); socket.socket()",
    "tell the manager": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'STATUS=here', "
    "os.environ['NOTIFY_SOCKET'])",
    # what a user manager can't take from it: SECURITY.md says so
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "run programs": "subprocess.run([sys.executable, '-c', ''], check=True)",
}
PROBE = """
import ctypes, json, mmap, os, resource, socket, subprocess, sys, time
from pathlib import Path
HOME, LOGS, OUTSIDE, OUT, WHAT = sys.argv[1:6]  # then "start"
STATUS = Path("/proc/self/status").read_text()
MINE = Path(LOGS, "mine"); MINE.touch()
libc_ = ctypes.CDLL(None, use_errno=True)
def libc(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
RUNTIME = os.environ["XDG_RUNTIME_DIR"]
def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)
def run(*words):
    assert subprocess.run(words, capture_output=True, timeout=LIMIT).returncode == 0
done = {}
for name, code in json.loads(Path(WHAT).read_text()).items():
    try:
        exec(code)
        done[name] = "done"
    except (OSError, AssertionError, ValueError, subprocess.TimeoutExpired) as error:
        done[name] = f"{error!r}"
Path(OUT).write_text(json.dumps(done))
"""


def test_each_directive_forbids_what_it_says_and_the_daemons_work_is_allowed(
    box: Sandbox, tmp_path: Path
) -> None:
    logs = box.folder("logs")
    box.write(".netrc", "machine x login y password z\n")
    box.write(".ssh/id", "secret")
    box.write(".git-credentials", "https://me:secret@example.org")
    probe = box.write("probe.py", f"LIMIT = {patience(20)}\n{PROBE}")
    what = box.write("what.json", json.dumps({**FORBIDDEN, **ALLOWED}))
    box.folder(".local/state")
    outside = Path("/tmp", f"{box.home.name}-outside")
    outside.write_text("seen")
    out = logs / "out.json"
    arguments = [box.home, logs, outside, out, what]
    installation = unit_file.Installation(
        command=[sys.executable, str(probe), *map(str, arguments)],
        writable=[box.home / ".local/state", logs],
        program=unit_file.program(),
    )
    text = unit_file.render(unit_file.template(), installation)
    text = text.replace("Type=notify", "Type=oneshot").replace("Restart=on-failure", "Restart=no")
    box.write(".config/systemd/user/probe.service", text)
    try:
        box.systemctl("start", "probe")
    finally:
        outside.unlink()
    done = json.loads(out.read_text())
    assert [name for name in FORBIDDEN if done[name] == "done"] == []
    assert {name: done[name] for name in ALLOWED} == dict.fromkeys(ALLOWED, "done")


def test_every_sandbox_directive_is_probed_or_can_not_be_seen_from_inside() -> None:
    sandbox = unit_file.template().partition("# Sandbox")[2].partition("[Install]")[0]
    there = set(re.findall(r"^(\w+)=", sandbox, re.MULTILINE))
    unseen = {"SystemCallArchitectures", "SystemCallErrorNumber", "KeyringMode", "PrivateMounts",
              "DevicePolicy", "AmbientCapabilities", "ReadWritePaths", "BindPaths",
              "BindReadOnlyPaths"}  # fmt: skip
    assert there - {re.split("[=:]", name)[0] for name in FORBIDDEN} == unseen


def test_systemd_has_no_word_against_the_unit_and_finds_it_tight(box: Sandbox) -> None:
    path = box.write(".config/systemd/user/karaoke-syncd.service", unit_file.template())
    verified = box.run("systemd-analyze", "--user", "verify", path)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    said = box.ok("systemd-analyze", "--user", "security", "--offline=yes", path)
    found = re.search(r"exposure level for .*: (\d+\.\d)", said)
    assert found, said
    assert float(found.group(1)) <= EXPOSURE, said


def test_installed_unit_has_odd_names_as_systemd_reads_them(box: Sandbox) -> None:
    name = 'a "b" $HOME 100% \\d; #e'
    installation = unit_file.Installation(
        command=["/bin/true"],
        arguments=[f"--log_dir={name}"],
        writable=[box.folder("x y"), box.folder("50%")],
        environment={"NAME": name},
        env_file=box.home / "50% env",
    )
    path = box.write(
        ".config/systemd/user/odd.service", unit_file.render(unit_file.template(), installation)
    )
    assert box.run("systemd-analyze", "--user", "verify", path).stderr == ""
    box.systemctl("daemon-reload")
    assert f"--log_dir={name}" in box.show("ExecStart", "odd").replace("$$", "$")
    assert f"{box.home}/50%" in box.show("ReadWritePaths", "odd")
    assert f"{box.home}/x y" in box.show("ReadWritePaths", "odd")


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="what it says names systemd")
def test_without_a_user_manager_it_says_what_to_use_instead(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **MEASURED}
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "service", "install", "--log_dir", tmp_path / "logs"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=patience(60),
    )  # fmt: skip
    assert done.returncode == 1
    assert "start --detach" in done.stderr
    assert "@reboot" in done.stderr
    assert "container" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".config").exists()
