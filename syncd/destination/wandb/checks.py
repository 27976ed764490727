"""What could keep records from arriving at a W&B server, for `doctor`: key, proxy, network, TLS,
clock, account."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from syncd import paths
from syncd.destination.base import Finding
from syncd.destination.wandb.api import TIMEOUT, Api
from syncd.destination.wandb.certificates import ca_bundle
from syncd.destination.wandb.credentials import Login, login_remedy
from syncd.destination.wandb.http import Http, TlsRefused, moment_of
from syncd.errors import Refused, Unreachable

MEASURED: Final = (0, 31)  # the wandb whose behaviour in trouble was measured
SKEW: Final = 60.0  # seconds


def checks(login: Login, timeout: float = TIMEOUT) -> Iterator[Finding]:
    """All findings, as they come. timeout: seconds that the server may take to answer."""
    yield from _package()
    yield from _credentials(login)
    yield from _proxy(login)
    yield from _network(login, timeout)


def _package() -> Iterator[Finding]:
    try:
        installed = version("wandb")
    except PackageNotFoundError:
        return  # `doctor` itself names what is missing
    known = tuple(int(part) for part in installed.split(".")[:2] if part.isdigit())
    if known != MEASURED:
        what = f"wandb {installed} is not the version whose behaviour in trouble is known"
        wanted = ".".join(map(str, MEASURED))
        yield Finding("packages", "warning", what, f"pip install 'wandb=={wanted}.*'")


def _credentials(login: Login) -> Iterator[Finding]:
    if login.key:
        yield Finding("credentials", "ok", f"a key from {login.source}, for {login.base_url}")
    else:
        remedy = login_remedy(login.base_url)
        yield Finding("credentials", "error", "nobody is logged in", remedy)
    if login.warning:
        what, _, remedy = login.warning.rpartition(": ")
        yield Finding("credentials", "warning", what, remedy)


def _proxy(login: Login) -> Iterator[Finding]:
    host = urlsplit(login.base_url).hostname or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(urlsplit(login.base_url).scheme)
    if not proxy:
        yield Finding("proxy", "ok", "none")
    elif urllib.request.proxy_bypass(host):
        yield Finding("proxy", "ok", f"none for {host}, by no_proxy")
    else:
        place = urlsplit(proxy)
        words = f"{place.hostname}:{place.port} for {host}"  # never its password
        yield Finding("proxy", "ok", words)
    bundle = ca_bundle()
    if bundle and not Path(bundle).exists():
        remedy = "Correct or unset REQUESTS_CA_BUNDLE, SSL_CERT_FILE and the like"
        yield Finding("proxy", "error", f"the CA bundle {bundle} does not exist", remedy)


def _network(login: Login, timeout: float) -> Iterator[Finding]:
    """Name, TLS and HTTP of the server, then whether it knows us."""
    host = urlsplit(login.base_url).hostname or login.base_url
    begun = time.time()
    try:
        answer = Http(login.base_url, login.key, timeout).head()
    except TlsRefused as error:
        remedy = (
            "Check this machine's clock; SSL_CERT_FILE=/path names an authority's file, in the "
            f"environment, or in {paths.env_file()} for the service, too"
        )
        yield Finding("tls", "error", error.what, remedy)
        return
    except Unreachable as error:
        remedy = "Check network and proxy; records wait safely on disk meanwhile"
        yield Finding("network", "error", error.what, remedy)
        return
    took = time.time() - begun
    words = f"{host} answers in {took * 1000:.0f} ms ({ssl.OPENSSL_VERSION})"
    yield Finding("network", "ok", words)
    yield from _clock(answer.headers.get("date", ""), begun, took)
    yield _server(login, timeout)


def _clock(date: str, begun: float, took: float) -> Iterator[Finding]:
    theirs = moment_of(date)
    if theirs is None:
        return
    skew = begun + took / 2 - theirs
    if abs(skew) > SKEW:
        way = "ahead of" if skew > 0 else "behind"
        remedy = "Turn on time synchronisation: timedatectl set-ntp true"
        words = f"this machine's clock is {abs(skew):,.0f} s {way} the server's"
        yield Finding("clock", "warning", words, remedy)
    else:
        yield Finding("clock", "ok", "agrees with the server's")


def _server(login: Login, timeout: float) -> Finding:
    try:
        words = f"{login.base_url} knows us; runs go to {Api(login, timeout).viewer()}"
        return Finding("server", "ok", words)
    except (Refused, Unreachable) as error:
        remedy = error.by_hand or "Nothing to do: records wait safely on disk meanwhile"
        return Finding("server", "error", error.what, remedy)
