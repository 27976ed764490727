"""A small POST over a connection that is kept alive, and its whole answer.

Nearly all that a live run costs are posts of a few hundred bytes with an answer of two, and urllib3
takes twice to three times as long for one as `http.client`, which it is built upon: retries,
redirects and answers in pieces are not for these. So the request is written at once, and the answer
read by `http.client` alone.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

MOST: Final = 64 << 10  # bytes of a request that is small
_TARGET: Final = re.compile(r"/[A-Za-z0-9_.~%/?=&-]*")  # as it is: nothing in it to be escaped
_HOST: Final = re.compile(r"[a-z0-9.-]+")
_SENT: Final = re.compile(r"(?:[!-9;-~]+: [ -~]*\r\n)*")


class Reply(NamedTuple):
    """A whole answer. headers: by name, in whichever case."""

    status: int
    headers: Mapping[str, str]
    data: bytes


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
            answer = http.client.HTTPResponse(connection.sock, method="POST")
            answer.begin()
            data = _whole(answer, most)
            reusable = len(data) < most and answer.isclosed() and not answer.will_close
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
