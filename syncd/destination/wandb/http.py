"""One HTTP request to a W&B server -> its answer, or why there is none, in words.

Over urllib3 with connections that are kept alive; small posts over these go by `kept`. Redirects
are not followed: a captive portal redirects, a W&B server does not.

Every request has one deadline for its whole answer (see `deadlines`).
"""

from __future__ import annotations

import email.utils
import errno
import io
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

import orjson
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from karaoke_train.runlog.regular_file import UnsafeFile, check_not_waited_for
from syncd.destination.wandb.certificates import ca_bundle
from syncd.destination.wandb.deadlines import Deadlines, Watch
from syncd.destination.wandb.kept import FinalAnswer, KeepsAlive
from syncd.errors import Unreachable

CONNECT: Final = 5.0  # seconds to connect; no server is further away than that
SLOWEST: Final = 64 << 10  # bytes per second of what is sent; a slower way counts as none
MAX_WAIT: Final = 3600.0  # seconds of a Retry-After that are taken seriously
MAX_ANSWER: Final = 64 << 20  # bytes of an answer; more is no answer of W&B's
SMALL_ANSWER: Final = 1 << 20  # the same of one that has no rows, names or config in it
# Values in an answer, each of which takes up to 130 bytes once it is parsed: 64 MiB of such answers
# took 2.1 GiB. A run with 100,000 names comes to a third of this number
MAX_VALUES: Final = 2_000_000
_BEGINS: Final = (b",", b"[", b"{")  # what a value is behind
_CONNECTIONS: Final = 32  # kept alive; more are made, and closed after use
_HOSTS: Final = 8  # whose connections are kept: the server's, and those that it has files sent to
_UNREADABLE: Final = (FileNotFoundError, PermissionError, IsADirectoryError, UnsafeFile)
_FRAMING: Final = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te"),
        *("trailer", "keep-alive", "proxy-authorization", "proxy-connection"),
    }
)
_NEVER: Final = urllib3.Retry(False, redirect=False)


class _Part:
    """The first bytes of a file, as many as were announced, for urllib3, which reads it in pieces.
    Where the file has fewer by now, the request has to fail: OSError."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def __len__(self) -> int:
        return self._left

    def read(self, size: int = -1) -> bytes:
        """The next ones, at most `size`; empty once all are read."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        if self._left and not data:
            raise OSError(errno.EIO, "the file became shorter while it was sent")
        self._left -= len(data)
        return data


Body = bytes | _Part | None
Got = TypeVar("Got")
_Way = urllib3.HTTPConnectionPool | urllib3.ProxyManager


class TlsRefused(Unreachable):
    """The server's certificate can't be verified, or the authorities' file can't be read."""


class BadRequest(Exception):
    """A key or an address that can't be put into a request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. headers: to be asked for in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON. Raises ValueError, also where it would take too much memory."""
        if has_too_many_values(self.data):
            raise ValueError("too many values")
        return orjson.loads(self.data)


def has_too_many_values(data: bytes) -> bool:
    """Whether JSON would take too much memory once it is parsed, or its texts are, as JSON."""
    return len(data) > MAX_VALUES and sum(map(data.count, _BEGINS)) > MAX_VALUES


class Http:
    """One server. Thread-safe. key: sent as the password to this server alone, never to the signed
    links that files go to."""

    def __init__(self, base_url: str, key: str, timeout: float) -> None:
        self.base_url = base_url
        parts = urlsplit(base_url)
        self.host = parts.hostname or base_url
        self._place = parts.scheme, parts.netloc
        self._root = f"{parts.scheme}://{parts.netloc}"
        self.timeout = timeout
        self._key = key
        self._deadlines = Deadlines()
        self._timeouts = urllib3.Timeout(connect=min(CONNECT, timeout), read=timeout)
        self._ways: dict[tuple[str, str], _Way] = {}  # by scheme and host
        self._guard = threading.Lock()

    def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        most: int = SMALL_ANSWER,
    ) -> Answer:
        """POST JSON, with the key as the password. most: bytes of the answer that are read: each
        thread may wait for one. Raises Unreachable or BadRequest."""
        try:
            login = urllib3.make_headers(basic_auth=f"api:{self._key}")
        except ValueError as error:  # a key that is no Latin-1
            raise BadRequest(type(error).__name__) from None
        kind = {"Content-Type": "application/json"}
        sent = {**login, **kind, **(headers or {})}
        if len(body) <= SLOWEST:
            return self._send("POST", self.base_url + path, body, sent, most)
        # In pieces: what is sent at once has to be sent within the time for a connection
        sent["Content-Length"] = str(len(body))
        part = _Part(io.BytesIO(body), len(body))
        return self._send("POST", self.base_url + path, part, sent, most)

    def put(self, url: str, body: BinaryIO, headers: Mapping[str, str]) -> Answer:
        """PUT a file, from where it is read to its end, to a link that the server gave, without the
        key. Raises Unreachable."""
        absolute = self.base_url + url if url.startswith("/") else url
        begin = body.tell()
        length = body.seek(0, os.SEEK_END) - begin
        body.seek(begin)
        # Without a length it would go in chunks, which the stores behind such links refuse. What
        # a file has grown by since is left out: it would be taken for the next request
        # Those that say where a request ends, or goes, are not the server's to give: what it has us
        # send, and a picture's bytes behind it, could be a request of its own to any host
        given = {
            name: value for name, value in headers.items() if name.strip().lower() not in _FRAMING
        }
        headers = {**given, "Content-Length": str(length)}
        return self._send("PUT", absolute, _Part(body, length), headers)

    def head(self) -> Answer:
        """HEAD of the server's root, as nobody. Raises Unreachable."""
        return self._send("HEAD", self.base_url, None, {})

    def pause(self, seconds: float) -> None:
        """Wait, unless it is closed meanwhile: raises Unreachable then."""
        closed = self._deadlines.closed
        if closed.is_set() or (seconds > 0 and closed.wait(seconds)):
            raise Unreachable("the daemon is stopping")

    @property
    def closed(self) -> threading.Event:
        """Set once nothing may be asked any more."""
        return self._deadlines.closed

    def close(self) -> None:
        """Cut what is under way; each request fails. Nothing may be asked after."""
        self._deadlines.close()
        with self._guard:
            for way in self._ways.values():
                way.clear() if isinstance(way, urllib3.ProxyManager) else way.close()

    def _send(
        self,
        method: str,
        url: str,
        body: Body,
        headers: Mapping[str, str],
        most: int = SMALL_ANSWER,
    ) -> Answer:
        size = len(body or b"")
        to_send = size / SLOWEST if size > SLOWEST else 0.0
        with self._deadlines.within(self.timeout, to_send) as watch:
            _current.watch = watch
            try:
                answer = self._exchange(method, url, body, headers, most)
            except (Unreachable, BadRequest):
                if watch.was_cut:
                    raise self._unanswered(watch) from None
                raise
            finally:
                _current.watch = None
        if watch.was_cut:  # an answer without a length, which ended where we cut it
            raise self._unanswered(watch)
        return answer

    def _unanswered(self, watch: Watch) -> Unreachable:
        if watch.connected or self.closed.is_set():
            return Unreachable(f"{self.host} does not answer")
        # To connect has a time of its own, and to look a name up has none
        words = "no connection came about, perhaps since no name server answers"
        return Unreachable(f"{self.host} does not answer: {words}")

    def _exchange(
        self, method: str, url: str, body: Body, headers: Mapping[str, str], most: int
    ) -> Answer:
        headers = {"User-Agent": "karaoke-syncd", **headers}
        try:
            way, target = self._way(url)
            if method == "POST" and isinstance(way, KeepsAlive) and isinstance(body, bytes):
                reply = self._read(lambda: way.again(target, body, headers, most))
                if reply is not None:
                    return Answer(reply.status, reply.headers, reply.data)
            response = way.urlopen(
                method,
                target,
                body=body,  # type: ignore[arg-type]  # what reads is enough
                headers=headers,
                redirect=False,
                retries=_NEVER,
                preload_content=False,
                timeout=self._timeouts,
            )
            data = self._read(lambda: response.read(most))
            if len(data) < most:
                response.release_conn()
            else:
                response.close()
        except SSLError as error:
            raise TlsRefused(describe(error, self.host)) from None
        except LocationValueError as error:
            raise BadRequest(type(error).__name__) from None
        except HTTPError as error:
            raise Unreachable(describe(error, self.host)) from None
        except (UnicodeError, ValueError) as error:
            raise BadRequest(type(error).__name__) from None
        except OSError as error:  # a CA bundle that isn't there, a socket that the deadline cut
            if isinstance(error, _UNREADABLE):
                words = f"the certificate authorities can't be read: {error.strerror}"
                raise TlsRefused(words) from None
            raise Unreachable(f"the connection to {self.host} was cut") from None
        return Answer(response.status, response.headers, data)

    def _read(self, read: Callable[[], Got]) -> Got:
        try:
            return read()
        except ValueError:  # pieces of a negative length, say
            raise Unreachable(f"what {self.host} answers is no HTTP") from None

    def _way(self, url: str) -> tuple[_Way, str]:
        """The connections over which an address is asked, and what they are asked for."""
        place, target = self._place_of(url)
        with self._guard:
            # Kept: to read the environment, and find a host's connections among others', takes half
            # of a request
            way = self._ways.get(place) or self._new_way(place, url)
        if isinstance(way, urllib3.ProxyManager):  # which says what a proxy has to be told
            return way, url
        return way, target

    def _place_of(self, url: str) -> tuple[tuple[str, str], str]:
        # Most are the server's own, and each run's another one: more than urlsplit remembers
        if url.startswith(f"{self._root}/") and "#" not in url:
            return self._place, url[len(self._root) :]
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return (parts.scheme, parts.netloc), target

    def _new_way(self, place: tuple[str, str], url: str) -> _Way:
        if len(self._ways) == _HOSTS:  # those of the oldest are closed once nobody uses them
            del self._ways[next(iter(self._ways))]
        way = self._ways[place] = _way_to(url)
        return way


def _proxy_for(url: str) -> str:
    """The proxy that the environment names for an address; empty for none."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc) or urllib.request.proxy_bypass(
        parts.hostname or ""
    ):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _way_to(url: str) -> _Way:
    proxy, bundle = _proxy_for(url), ca_bundle()
    how: dict[str, Any] = {"maxsize": _CONNECTIONS, "block": False, "blocksize": SLOWEST}
    if bundle and Path(bundle).is_dir():
        how["ca_cert_dir"] = bundle
    elif bundle:
        with suppress(FileNotFoundError, PermissionError):  # found out where there is TLS at all
            check_not_waited_for(Path(bundle))  # OpenSSL would wait for a FIFO without an end
        how["ca_certs"] = bundle
    if not proxy:
        return _of_ours(urllib3.PoolManager(**how)).connection_from_url(url)
    login = urlsplit(proxy)
    if login.username:
        words = f"{login.username}:{login.password or ''}"
        how["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=words)
    return _of_ours(urllib3.ProxyManager(proxy, **how))


Manager = TypeVar("Manager", bound=urllib3.PoolManager)


def _of_ours(manager: Manager) -> Manager:
    """With connections that can be cut."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager


class _Current(threading.local):
    watch: Watch | None = None


_current = _Current()


class _Watched:
    """A connection that says which socket a request goes over."""

    response_class: Any = FinalAnswer
    sock: Any

    def request(self, *arguments: Any, **how: Any) -> Any:
        """Theirs; a connection that was kept alive is known before."""
        watch = _current.watch
        if watch is not None and self.sock is not None:
            watch.on(self.sock)
        done = super().request(*arguments, **how)  # type: ignore[misc]
        if watch is not None:
            watch.sent()
        return done

    def send_at_once(self, request: bytes) -> None:
        """Send a small request over the connection, which is open."""
        if _current.watch is not None:
            _current.watch.on(self.sock)
        with suppress(BrokenPipeError):  # who refuses it may have answered before it was all there
            self.sock.sendall(request)

    def _new_conn(self) -> socket.socket:
        """Theirs, before a proxy and TLS have their say. By a private name of urllib3's that is as
        old as 1.7: below it there is but one socket for all of a connection's stages."""
        make: Callable[[], socket.socket] = super()._new_conn  # type: ignore[misc]
        return _current.watch.connect(make) if _current.watch is not None else make()


class _WatchedHttp(_Watched, HTTPConnection):
    pass


class _WatchedHttps(_Watched, HTTPSConnection):
    pass


class _HttpPool(KeepsAlive):
    ConnectionCls = _WatchedHttp


class _HttpsPool(KeepsAlive, urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedHttps


def describe(error: HTTPError, host: str) -> str:
    """What kept a request from being answered, in words; never with the request in them."""
    text = str(error).lower().replace(host.lower(), "")  # which may be called closed.example
    if isinstance(error, ProxyError):
        if isinstance(error.original_error, NewConnectionError | ConnectTimeoutError):
            return f"the proxy on the way to {host} can't be reached"
        return f"the proxy does not let us reach {host}"
    if isinstance(error, SSLError):
        return (
            f"the TLS certificate of {host} can't be verified; if an authority of your own "
            "has signed it, name its file in SSL_CERT_FILE"
        )
    if isinstance(error, NameResolutionError):
        return f"the name {host} can't be resolved"
    if isinstance(error, ReadTimeoutError):
        return f"{host} does not answer"
    if "refused" in text:
        return f"{host} refuses the connection"
    if isinstance(error, ConnectTimeoutError):
        return f"no connection to {host} within {CONNECT:.0f} s"
    if "reset" in text or "aborted" in text or "closed" in text:
        return f"the connection to {host} was cut"
    return f"{host} can't be reached ({type(error).__name__})"


def retry_after(header: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3); 0 when it says nothing."""
    if header.strip().isdecimal():
        return min(float(header), MAX_WAIT)
    moment = moment_of(header)
    return 0.0 if moment is None else min(max(0.0, moment - now), MAX_WAIT)


def moment_of(header: str) -> float | None:
    """Seconds since 1970 of a header's date (RFC 9110 5.6.7); None for what is none."""
    try:
        return email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError):  # of years and offsets that no clock has
        return None
