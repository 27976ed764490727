"""A small POST over a connection that is kept alive, and its whole answer.

Nearly all that a live run costs are posts of a few hundred bytes with an answer of two, and urllib3
takes several times as long for one as the request itself: retries, redirects and answers in pieces
are not for these. So the request is written at once, and an answer that is as plain as nearly all
are is taken apart here. Any other one is read by `http.client`, from its first byte.
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

MOST: Final = 64 << 10  # bytes of a request that is small
_TARGET: Final = re.compile(r"/[A-Za-z0-9_.~%/?=&-]*")  # as it is: nothing in it to be escaped
_HOST: Final = re.compile(r"[a-z0-9.-]+")
_SENT: Final = re.compile(r"(?:[!-9;-~]+: [ -~]*\r\n)*")
_READ: Final = 64 << 10  # bytes of an answer at a time
_HEAD: Final = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) [ -~]*\r\n((?:[!-9;-~]+:[ -~]*\r\n)+)\r\n")
_BODILESS: Final = (204, 304)
_NOT_PLAIN: Final = frozenset({"transfer-encoding", "content-encoding"})


class Reply(NamedTuple):
    """A whole answer. headers: by name in lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class FinalAnswer(http.client.HTTPResponse):
    """An answer past those that only announce it (RFC 9110 15.2): `http.client` knows but one of
    these, 100, and takes any other one for the answer."""

    def _read_status(self) -> tuple[str, int, str]:
        # By a private name that is as old as `http.client`
        version, status, reason = super()._read_status()  # type: ignore[misc]
        announces = 100 <= status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if announces else status, reason


class KeepsAlive(urllib3.HTTPConnectionPool):
    """A host's connections, over which small posts go at once. Not for a proxy's."""

    def again(
        self, target: str, body: bytes, headers: Mapping[str, str], most: int
    ) -> Reply | None:
        """POST over one that is open; None where there is none, or the request is not as small and
        plain as that. most: bytes of an answer that are read. Raises HTTPError."""
        request = self._request(target, body, headers)
        if request is None:
            return None
        # By names of urllib3's that are private, and as old as 1.7
        connection: Any = self._get_conn()
        if connection.sock is None:
            self._put_conn(connection)
            return None
        reusable = False
        try:
            connection.send_at_once(request)
            reply, read = _plain(connection.sock, most)
            if reply is not None:
                reusable = not read
                return reply
            begun: Any = _Begun(connection.sock, read)
            answer = FinalAnswer(begun, method="POST")
            answer.begin()
            data = _whole(answer, most)
            whole = len(data) < most and answer.isclosed()
            # What another protocol follows is no answer, and what comes behind is none to us
            reusable = whole and answer.status >= 200 and not answer.will_close
            return Reply(answer.status, urllib3.HTTPHeaderDict(answer.getheaders()), data)
        except TimeoutError:
            raise ReadTimeoutError(self, target, "Read timed out.") from None
        except (OSError, http.client.HTTPException) as error:
            raise ProtocolError("Connection aborted.", error) from error
        finally:
            if not reusable:
                connection.close()
            self._put_conn(connection if reusable else None)

    def _request(self, target: str, body: bytes, headers: Mapping[str, str]) -> bytes | None:
        sent = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        plain = _SENT.fullmatch(sent) and _TARGET.fullmatch(target) and _HOST.fullmatch(self.host)
        if not plain or len(body) > MOST:
            return None
        usual = urllib3.connection.port_by_scheme[self.scheme]
        host = self.host if self.port == usual else f"{self.host}:{self.port}"
        head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"
        return f"{head}Content-Length: {len(body)}\r\n{sent}\r\n".encode() + body


def _plain(sock: Any, most: int) -> tuple[Reply | None, bytes]:
    """The answer, where it is a plain one, with a length and for a connection that goes on, and
    what was read behind it; else None, and what was read of it. Raises OSError."""
    data = sock.recv(_READ)
    if not (head := _HEAD.match(data)):  # or its head comes in pieces
        return None, data
    lines = head[2].decode().split("\r\n")[:-1]
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    length, status = headers.get("content-length", ""), int(head[1])
    odd = len(headers) < len(lines) or _NOT_PLAIN & headers.keys() or status in _BODILESS
    last = headers.get("connection", "keep-alive").lower() != "keep-alive"
    if odd or last or not length.isdecimal() or len(length) > 9 or int(length) >= most:
        return None, data
    end = head.end() + int(length)
    pieces, left = [data], end - len(data)
    while left > 0 and (more := sock.recv(min(left, _READ))):
        pieces.append(more)
        left -= len(more)
    data = b"".join(pieces)
    if left > 0:
        return None, data
    return Reply(status, headers, data[head.end() : end]), data[end:]


class _Begun:
    """A socket for `http.client` of whose answer the first bytes have been read."""

    def __init__(self, sock: Any, read: bytes) -> None:
        self._sock = sock
        self._read = read

    def makefile(self, mode: str) -> io.BufferedReader:
        """The answer from its first byte on."""
        return io.BufferedReader(_Rest(self._read, self._sock.makefile(mode, buffering=0)))


class _Rest(io.RawIOBase):
    def __init__(self, read: bytes, behind: io.RawIOBase) -> None:
        self._read = memoryview(read)
        self._behind = behind

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._read:
            return self._behind.readinto(buffer)
        count = min(len(buffer), len(self._read))
        buffer[:count], self._read = self._read[:count], self._read[count:]
        return count

    def close(self) -> None:
        self._behind.close()
        super().close()


def _whole(answer: http.client.HTTPResponse, most: int) -> bytes:
    if answer.headers.get("Content-Encoding"):  # which nobody asked for
        headers = urllib3.HTTPHeaderDict(answer.getheaders())
        read = urllib3.HTTPResponse(
            answer, headers, answer.status, preload_content=False, original_response=answer
        ).read
        return read(most)
    if answer.length is not None and answer.length < most:
        return answer.read()  # of a part alone it says nothing where bytes are missing
    return answer.read(most)
