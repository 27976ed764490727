"""A small request over a connection that is kept alive, and its whole answer.

Nearly all that a live run costs are posts of a few hundred bytes with an answer of two. `http` and
urllib3 take three times as long for one as for its bytes to be sent and read: a head of headers
alone is parsed as a mail would be. So an answer that is plain, of one length and nothing else, is
read here. All others are read by `http` and urllib3, from their first byte on: what is no HTTP, has
no end, or is too long, is for them to say.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

MOST: Final = 64 << 10  # bytes of a request that is small, and of an answer's head
_WITHOUT_BODY: Final = (204, 304)
_TARGET: Final = re.compile(r"/[A-Za-z0-9_.~%/?=&-]*")  # as it is: nothing in it to be escaped
_HOST: Final = re.compile(r"[a-z0-9.-]+")
_SENT: Final = re.compile(r"(?:[!-9;-~]+: [ -~]*\r\n)*")
_BEGIN: Final = b"HTTP/1.1 "
_HEADS_END: Final = re.compile(rb"\n\r?\n")  # http takes bare newlines as well
_FOLD: Final = re.compile(r"\r?\n[ \t]*")
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d)(?: [^\r\n\0]*)?\r\n((?:[!-9;-~]+:[^\r\n\0]*\r\n)+)\r\n"
)


class Reply(NamedTuple):
    """An answer. headers: by name, in lower case. reusable: whether its connection is as before."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    reusable: bool


class KeepsAlive(urllib3.HTTPConnectionPool):
    """A host's connections, over which small requests go at once. Not for a proxy's."""

    def again(
        self, target: str, body: bytes, headers: Mapping[str, str], most: int
    ) -> Reply | None:
        """POST over one that is open; None where there is none, or the request is not as small and
        plain as that. most: bytes of an answer that are read. Raises HTTPError."""
        request = self._request(target, body, headers)
        # By names of urllib3's that are private, and as old as 1.7
        connection: Any = self._get_conn() if request else None
        if request is None or connection.sock is None:
            if connection is not None:
                self._put_conn(connection)
            return None
        reply = None
        try:
            connection.send_at_once(request)
            reply = _read(connection.sock, most)
        except TimeoutError:
            raise ReadTimeoutError(self, target, "Read timed out.") from None
        except (OSError, http.client.HTTPException) as error:
            raise ProtocolError("Connection aborted.", error) from error
        finally:
            reusable = reply is not None and reply.reusable
            if not reusable:
                connection.close()
            self._put_conn(connection if reusable else None)
        return reply

    def _request(self, target: str, body: bytes, headers: Mapping[str, str]) -> bytes | None:
        sent = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        plain = _SENT.fullmatch(sent) and _TARGET.fullmatch(target) and _HOST.fullmatch(self.host)
        if not plain or len(body) > MOST:
            return None
        usual = urllib3.connection.port_by_scheme[self.scheme]
        host = self.host if self.port == usual else f"{self.host}:{self.port}"
        head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"
        return f"{head}Content-Length: {len(body)}\r\n{sent}\r\n".encode() + body


def _read(sock: socket.socket, most: int) -> Reply:
    data = b""
    while not (end := _HEADS_END.search(data)) and len(data) < MOST:
        if not (more := sock.recv(MOST)):
            break
        data += more
        if not data.startswith(_BEGIN[: len(data)]):
            break
    plain = _plain(data) if end else None
    if end is None or plain is None or plain[2] >= most:
        return _read_any(sock, data, most)
    status, headers, length = plain
    whole = end.end() + length
    pieces, left = [data], whole - len(data)
    while left > 0 and (more := sock.recv(min(left, MOST))):
        pieces.append(more)
        left -= len(more)
    data = b"".join(pieces)
    if left > 0:
        return _read_any(sock, data, most)
    return Reply(status, headers, data[end.end() : whole], reusable=left == 0)


def _plain(data: bytes) -> tuple[int, dict[str, str], int] | None:
    """Status, headers and length of an answer that says no more about itself than that."""
    head = _HEAD.match(data)
    if head is None:
        return None
    status = int(head[1])
    lines = head[2].decode("latin-1").split("\r\n")[:-1]
    headers = _by_name((name, value) for name, _, value in (line.partition(":") for line in lines))
    length = headers.get("content-length", "")
    if (
        status in _WITHOUT_BODY
        or not length.isdecimal()
        or "transfer-encoding" in headers
        or "content-encoding" in headers
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    return status, headers, int(length[:20])


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
    return found


def _read_any(sock: socket.socket, begun: bytes, most: int) -> Reply:
    """Any answer, of which some is read already."""
    answer = http.client.HTTPResponse(_Replayed(sock, begun), method="POST")  # type: ignore[arg-type]
    answer.begin()
    headers = _by_name((name, _FOLD.sub(" ", value)) for name, value in answer.msg.items())
    response = urllib3.HTTPResponse(
        body=answer,
        headers=headers,
        status=answer.status,
        preload_content=False,
        original_response=answer,
        request_method="POST",
    )
    data = response.read(most)
    reusable = len(data) < most and answer.isclosed() and not answer.will_close
    return Reply(answer.status, headers, data, reusable)


class _Replayed(io.RawIOBase):
    """What was read from a socket, and then what is still to be read."""

    def __init__(self, sock: socket.socket, begun: bytes) -> None:
        self._sock = sock
        self._begun = begun

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http` takes of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._begun:
            return self._sock.recv_into(buffer)
        piece = self._begun[: len(buffer)]
        buffer[: len(piece)] = piece
        self._begun = self._begun[len(piece) :]
        return len(piece)
