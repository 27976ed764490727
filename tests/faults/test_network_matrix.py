"""Whatever the network does while records keep coming: `status` says it in its own words while it
lasts, and after it every record is on the server once, with no restart by hand."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Exit
from syncd.report.status import exit_code
from tests.fakes.faults import Seen
from tests.fakes.proxy import Proxy
from tests.fakes.wandb_http import self_signed
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import LANE, LANES, ROOT, Playing, Rig, by_lane, played, write
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience, until

EVERY = 0.05  # seconds between two records


@dataclass(frozen=True)
class Case:
    """A fault of the server, and what `status` says of it.

    reach: `status`'s word for the destination; words: in its sentence, or in the run's problem
    when the destination is fine (`online`). No words: nothing is to be noticed. direct: the words
    on the direct lane, where each post has an answer of its own.
    """

    kind: str
    reach: str
    words: str = ""
    exit: Exit = Exit.OK
    how: dict[str, Any] = field(default_factory=dict)
    direct: str | None = None
    reopen: bool = False  # the session has to be opened anew for the fault to be met


OFFLINE, TROUBLE = partial(Case, exit=Exit.OFFLINE), partial(Case, exit=Exit.OFFLINE)
STREAM = {"endpoint": "file_stream"}
STANDS_STILL = "the server's count stands still"
CASES: dict[str, Case] = {
    # everything the server is asked
    "refused": OFFLINE("refuse", "offline", "127.0.0.1 refuses the connection"),
    "reset": OFFLINE("reset", "offline", "the connection to 127.0.0.1 was cut"),
    "reset in mid-response": OFFLINE(
        "reset_reply", "offline", "the connection to 127.0.0.1 was cut"
    ),
    "applied, response dropped": OFFLINE(
        "drop_reply", "offline", "the connection to 127.0.0.1 was cut"
    ),
    "never answers": OFFLINE("hang", "offline", "127.0.0.1 does not answer"),
    "too slow": OFFLINE("latency", "offline", "does not answer", how={"seconds": patience(4)}),
    "slow": Case("latency", "online", how={"seconds": 0.5}),
    "truncated JSON": OFFLINE("truncate", "captive", "is not a W&B server (HTTP 200, application"),
    "captive portal": OFFLINE("html", "captive", "a network that wants you to log in first"),
    **{
        f"HTTP {code}": TROUBLE("status", "trouble", f"trouble (HTTP {code})", how={"status": code})
        for code in (500, 502, 503)
    },
    "HTTP 429": TROUBLE("status", "trouble", "(HTTP 429)", how={"status": 429, "retry_after": 3.0}),
    "HTTP 401": Case(
        "status", "not_logged_in", "does not accept the API key", Exit.LOGIN, {"status": 401}
    ),
    "HTTP 403": Case(
        "status", "refused", "refuses this account (HTTP 403)", Exit.LOGIN, {"status": 403}
    ),
    **{
        f"somebody else's HTTP {code}": OFFLINE(
            "page", "captive", f"not a W&B server (HTTP {code}, text/html)", how={"status": code}
        )
        for code in (401, 403)
    },
    # only what carries the records: the server seems well, and nothing arrives
    **{
        f"records: HTTP {code}": Case(
            "status", "online", STANDS_STILL, how=STREAM | {"status": code}, direct=words
        )
        for code, words in {
            401: "does not accept the API key",
            403: "refuses this account (HTTP 403)",
            429: "is in trouble (HTTP 429)",
            500: "is in trouble (HTTP 500)",
        }.items()
    },
    "records: one 403": Case(
        # which the SDK never recovers from, and the direct lane by its next post
        "status",
        "online",
        STANDS_STILL,
        how=STREAM | {"status": 403, "times": 1},
        direct="",
    ),
    "records: captive portal": Case(
        "html", "online", STANDS_STILL, how=STREAM, direct="is not a W&B server"
    ),
    "records: never answered": Case(
        "hang", "online", STANDS_STILL, how=STREAM, direct="does not answer"
    ),
    # only what a session asks for when it's opened
    "opening: HTTP 403": Case(
        "status",
        "online",
        "wandb's SDK: ",
        how={"operation": "UpsertBucket", "status": 403},
        direct="refuses this account (HTTP 403)",
        reopen=True,
    ),
    "opening: HTTP 500": Case(
        "status",
        "online",
        "wandb's SDK: ",
        how={"operation": "UpsertBucket", "status": 500},
        direct="is in trouble (HTTP 500)",
        reopen=True,
    ),
    "opening: stale count": Case(
        "stale",
        "online",
        "records; it had confirmed",
        Exit.DECISION,
        {"lag": 10_000, "endpoint": "graphql"},  # more than a count is behind of itself
        reopen=True,
    ),
    "records: truncated JSON": Case("truncate", "online", how=STREAM),
    "records: applied, response dropped": Case("drop_reply", "online", how=STREAM),
}


@contextmanager
def training(rig: Rig) -> Iterator[RunLog]:
    """A run whose records keep coming, some of them uploaded already; it ends in the end."""
    log = RunLog.create(rig.logs, project="songs", config={"lr": 3e-4})
    done = threading.Event()

    def go_on() -> None:
        step = 0
        while not done.wait(EVERY):
            write(log, 1, start=step)
            step += 1

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        yield log
    finally:
        done.set()
        writer.join()
        log.close()


def goes_on(rig: Rig, log: RunLog) -> None:
    """What was written up to now is confirmed in time."""
    written = len(lines_of(log.path))
    try:
        until(lambda: rig.confirmed(log.run_id) >= written, "records are confirmed again")
    except AssertionError:
        raise AssertionError(f"{rig.confirmed(log.run_id)} of {written}; {rig.said()}") from None


def is_well(rig: Rig, log: RunLog, daemon: int) -> None:
    """The run has ended, all of it is there once, and the daemon is the one it was."""
    rig.await_end(log)
    rig.await_all(log)
    assert rig.assert_same(log) > 10
    status = rig.status()
    assert (status.connectivity, status.pending, exit_code(status)) == ("online", 0, Exit.OK)
    assert rig.running
    assert rig.pid == daemon


def disturb(rig: Rig, name: str) -> None:
    """A run is being uploaded; the fault comes, is noticed, and ends."""
    case = CASES[name]
    if rig.direct and case.direct is not None:
        case = replace(case, words=case.direct)
    rig.start()
    daemon = rig.pid
    with training(rig) as log:
        goes_on(rig, log)
        before = len(requests(rig))
        if case.reopen:
            reopen(rig)
        if case.kind == "refuse":
            rig.server.refuse()
        else:
            rig.server.fault(case.kind, **case.how)  # type: ignore[arg-type]
        if case.words:
            is_said(rig, log, case)
        else:
            most = case.how.get("times", 4)
            until(lambda: faulty(rig, before) >= most, "the fault is met")
        if "retry_after" in case.how and not case.how.get("endpoint"):
            is_heeded(rig, before, case.how["retry_after"])
        rig.server.clear()
        goes_on(rig, log)
    is_well(rig, log, daemon)


def reopen(rig: Rig) -> None:
    """The run's session ends, and another one is to begin."""
    if rig.direct:
        rig.server.fault("reset", endpoint="file_stream", times=1)
    for worker in rig.workers():
        os.kill(worker, signal.SIGKILL)


def requests(rig: Rig) -> list[Seen]:
    assert isinstance(rig.server, WandbServer)
    return rig.server.requests()


def faulty(rig: Rig, before: int) -> int:
    return sum(bool(seen.fault) for seen in requests(rig)[before:])


def is_said(rig: Rig, log: RunLog, case: Case) -> None:
    """`status` says it, and its exit code, too."""

    alone = case.reach == "online" and case.words and case.exit is Exit.OK
    code = Exit.TROUBLE if alone else case.exit  # the run's own trouble, the server is fine

    def said() -> bool:
        status = rig.status()
        words = status.connectivity_words
        if case.reach == "online":
            words = rig.run_status(log.run_id).problem
        if status.connectivity == case.reach and case.words in words and exit_code(status) == code:
            return True
        heard.add(f"{status.connectivity}: {words} ({exit_code(status).name})")
        return False

    heard: set[str] = set()
    try:
        until(said, case.words, every=0.2)  # it reads every file
    except AssertionError:
        raise AssertionError(f"not {case}, but {heard}; {rig.said()}") from None


def is_heeded(rig: Rig, before: int, seconds: float) -> None:
    """The daemon asks who it is no sooner than it was told to."""

    def asked() -> list[float]:
        seen = requests(rig)[before:]
        return [item.at for item in seen if item.operation == "Viewer" and item.fault]

    until(lambda: len(asked()) >= 3, "the daemon asks again")
    times = asked()
    assert min(late - early for early, late in itertools.pairwise(times)) >= seconds


# --- names, certificates, proxies: a daemon of their own each

_NO_NAMES = """
import os, socket
_find = socket.getaddrinfo
def getaddrinfo(host, *more, **named):
    if host == "localhost" and os.path.exists({flag!r}):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _find(host, *more, **named)
socket.getaddrinfo = getaddrinfo
"""


def no_names(rig: Rig) -> None:
    """The resolver fails in the middle of a run. Python's alone: wandb-core has its own."""
    folder = rig.folder / f"names-{rig.environment[LANE]}"
    flag = folder / "no-dns"
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "sitecustomize.py").write_text(_NO_NAMES.format(flag=str(flag)))
    with WandbServer(folder / "server") as server:
        path = os.pathsep.join([str(folder / "site"), str(ROOT)])
        url = server.url.replace("127.0.0.1", "localhost")
        lane = {LANE: rig.environment[LANE]}
        with Rig(folder, server, PYTHONPATH=path, WANDB_BASE_URL=url, **lane) as own:
            own.start()
            daemon = own.pid
            with training(own) as log:
                goes_on(own, log)
                flag.touch()
                server.refuse()  # a connection that is kept alive needs no name
                server.clear()
                case = OFFLINE("names", "offline", "the name localhost can't be resolved")
                is_said(own, log, case)
                flag.unlink()
                goes_on(own, log)
            is_well(own, log, daemon)


def wrong_certificate(rig: Rig) -> None:
    """A certificate that doesn't verify, until the CA bundle is put right in its place."""
    folder = rig.folder / f"tls-{rig.environment[LANE]}"
    bundle = folder / "ca.pem"
    with WandbServer(folder / "server", tls=True) as server:
        assert server.ca_file
        bundle.write_bytes(self_signed(folder / "other")[0].read_bytes())
        lane = {LANE: rig.environment[LANE]}
        with Rig(folder, server, REQUESTS_CA_BUNDLE=str(bundle), **lane) as own:
            own.start()
            daemon = own.pid
            with training(own) as log:
                words = "the TLS certificate of 127.0.0.1 can't be verified"
                is_said(own, log, OFFLINE("tls", "offline", words))
                draft = bundle.with_suffix(".new")
                draft.write_bytes(server.ca_file.read_bytes())
                draft.replace(bundle)
                goes_on(own, log)
            is_well(own, log, daemon)


def only_by_proxy(rig: Rig, tls: bool) -> None:
    """A server that only the proxy knows; the proxy goes and comes back."""
    folder = rig.folder / f"proxy-{tls}-{rig.environment[LANE]}"
    with Proxy() as proxy, WandbServer(folder / "server", tls=tls) as server:
        url = server.url.replace("127.0.0.1", "wandb.test")
        where = {"HTTPS_PROXY" if tls else "HTTP_PROXY": proxy.url, "WANDB_BASE_URL": url}
        where[LANE] = rig.environment[LANE]
        if server.ca_file:
            where["REQUESTS_CA_BUNDLE"] = str(server.ca_file)
        with Rig(folder, server, **where) as own:
            own.start()
            daemon = own.pid
            with training(own) as log:
                goes_on(own, log)
                proxy.down()
                words = "the proxy on the way to wandb.test can't be reached"
                is_said(own, log, OFFLINE("proxy", "offline", words))
                proxy.up()
                goes_on(own, log)
            is_well(own, log, daemon)
        method = "CONNECT" if tls else "POST"
        assert {*proxy.carried} >= {f"{method} wandb.test:{server.port}"}


ANYWHERE: dict[str, Callable[[Rig], None]] = {
    **{name: partial(disturb, name=name) for name in CASES},
    "DNS failure": no_names,
    "wrong certificate": wrong_certificate,
    "proxy": partial(only_by_proxy, tls=False),
    "proxy and TLS": partial(only_by_proxy, tls=True),
}
SCENARIOS = {
    f"{name}, {lane}": by_lane(lane, scenario)
    for lane in LANES
    for name, scenario in ANYWHERE.items()
}
under_way = played(SCENARIOS, width=8, REQUEST_TIMEOUT=str(patience(2)))


@pytest.mark.parametrize("case", SCENARIOS)
def test_after_the_fault_every_record_is_on_the_server_once(under_way: Playing, case: str) -> None:
    under_way.result(case)
