"""Whether an address of this machine has come or gone: the kernel says so by itself.

By rtnetlink(7), which costs nothing while nothing happens. Where there is none (macOS, a sandbox
that denies it) nothing is noticed, and a server out of reach is asked again by the backoff alone.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

_GROUPS: Final = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NEWS: Final = (20, 21)  # RTM_NEWADDR, RTM_DELADDR
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, process
_ADDRESS: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, interface
_GLOBAL: Final = 0  # RT_SCOPE_UNIVERSE; each container that starts has an address of its link's
_READ: Final = 1 << 16  # bytes


class AddressWatch:
    """Listens to the kernel."""

    def __init__(self) -> None:
        self._socket = _listening()

    def changed(self) -> bool:
        """Whether an address that reaches beyond its link has come or gone since this was last
        asked. Never waits."""
        news = False
        while self._socket is not None:
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                break
            except OSError:  # more was said than the kernel keeps (ENOBUFS): something has changed
                return True
            news = news or any(scope == _GLOBAL for scope in scopes(data))
        return news

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.close()


def scopes(data: bytes) -> Iterator[int]:
    """The scopes of the addresses that the kernel's messages say have come or gone."""
    least = _HEADER.size + _ADDRESS.size
    while len(data) >= least:
        length, kind, *_ = _HEADER.unpack_from(data)
        if kind in _NEWS and length >= least:
            yield _ADDRESS.unpack_from(data, _HEADER.size)[3]
        if length < _HEADER.size:
            return
        data = data[(length + 3) & ~3 :]  # NLMSG_ALIGN


def _listening() -> socket.socket | None:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except (AttributeError, OSError):  # AttributeError: not Linux
        return None
    try:
        opened.bind((0, _GROUPS))
        opened.setblocking(False)
    except OSError:
        opened.close()
        return None
    return opened
