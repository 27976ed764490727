"""The kernel's word of this machine's addresses: its messages, and a real one in a network of its
own."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from contextlib import closing

import pytest

from syncd.service.network import AddressWatch, scopes
from tests.patience import patience

NEW, GONE, ROUTE = 20, 21, 24
GLOBAL, LINK = 0, 253


def message(kind: int, scope: int) -> bytes:
    """As rtnetlink sends it: an address, with an attribute of three bytes behind it."""
    body = struct.pack("=BBBBI", 2, 24, 0, scope, 1) + struct.pack("=HH3s", 7, 3, b"lo\0")
    head = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0)
    return head + body + b"\0" * (-len(body) % 4)


def test_addresses_that_come_and_go_are_told_with_their_scope() -> None:
    data = message(NEW, GLOBAL) + message(ROUTE, GLOBAL) + message(GONE, LINK)
    assert list(scopes(data)) == [GLOBAL, LINK]


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 16, b"\0" * 64, message(NEW, GLOBAL)[:20], struct.pack("=IHH", 8, NEW, 0) * 4],
)
def test_what_is_no_whole_message_is_none(data: bytes) -> None:
    assert list(scopes(data)) == []


def test_a_machine_on_which_nothing_happens_is_quiet() -> None:
    with closing(AddressWatch()) as watch:
        assert not watch.changed()


def test_where_the_kernel_tells_nothing_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> socket.socket:
        raise PermissionError(1, "not in this sandbox")

    monkeypatch.setattr(socket, "socket", refused)
    with closing(AddressWatch()) as watch:
        assert not watch.changed()


IN_A_NETWORK_OF_ITS_OWN = """
import subprocess
from syncd.service.network import AddressWatch
watch = AddressWatch()
def after(*words):
    subprocess.run(["ip", *words], check=True)
    return watch.changed(), watch.changed()
assert after("link", "set", "lo", "up") == (False, False), "127.0.0.1 is no way out"
assert after("address", "add", "192.0.2.1/32", "dev", "lo") == (True, False)
assert after("address", "del", "192.0.2.1/32", "dev", "lo") == (True, False)
assert after("address", "add", "169.254.0.1/32", "dev", "lo", "scope", "link") == (False, False)
print("seen")
"""


@pytest.mark.process
def test_the_kernel_tells_of_an_address_once() -> None:
    here = ["unshare", "--net", "--map-root-user"]
    try:
        possible = subprocess.run([*here, "ip", "link"], capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no unshare: {error.strerror}")
    if possible.returncode:
        pytest.skip("this account may not make a network of its own, or has no ip")
    done = subprocess.run(
        [*here, sys.executable, "-c", IN_A_NETWORK_OF_ITS_OWN],
        capture_output=True, text=True, check=False, timeout=patience(60),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("seen\n", "")
