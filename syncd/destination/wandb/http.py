"""One HTTP request to a W&B server -> its answer, or why there is none, in words.

With `requests`, which honours proxies and CA settings, and the one place where it is imported.
Redirects are not followed: a captive portal redirects, a W&B server does not.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from typing import Any, Final

import requests

from syncd.destination.wandb.certificates import ca_bundle
from syncd.errors import Unreachable

CONNECT: Final = 5.0  # seconds to connect; no server is further away than that
MAX_WAIT: Final = 3600.0  # seconds of a Retry-After that are taken seriously

Answer = requests.Response


class TlsRefused(Unreachable):
    """The server's certificate can't be verified, or the authorities' file can't be read."""


class BadRequest(Exception):
    """A key or an address that can't be put into a request."""


def post(url: str, body: Mapping[str, Any], *, key: str, host: str, timeout: float) -> Answer:
    """POST JSON, with the key as the password. Raises Unreachable or BadRequest."""
    return _send("POST", url, host, timeout, json=body, auth=("api", key))


def head(url: str, *, host: str, timeout: float) -> Answer:
    """HEAD, as nobody. Raises Unreachable."""
    return _send("HEAD", url, host, timeout)


def _send(method: str, url: str, host: str, timeout: float, **how: Any) -> Answer:
    try:
        return requests.request(
            method,
            url,
            headers={"User-Agent": "karaoke-syncd"},
            timeout=(min(CONNECT, timeout), timeout),
            verify=ca_bundle() or True,
            allow_redirects=False,
            **how,
        )
    except requests.exceptions.SSLError as error:
        raise TlsRefused(describe(error, host)) from None
    except requests.RequestException as error:
        raise Unreachable(describe(error, host)) from None
    except ValueError as error:
        raise BadRequest(type(error).__name__) from None
    except OSError as error:  # a CA bundle that isn't there: requests raises it bare
        raise TlsRefused(f"the certificate authorities can't be read: {error}"[:200]) from None


def describe(error: requests.RequestException, host: str) -> str:
    """What kept a request from being answered, in words; never with the request in them."""
    text = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy does not let us reach {host}"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"the TLS certificate of {host} can't be verified; if an authority of your own "
            "has signed it, name its file in SSL_CERT_FILE"
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection to {host} within {CONNECT:.0f} s"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return f"{host} does not answer"
    if "NameResolution" in text or "getaddrinfo" in text:
        return f"the name {host} can't be resolved"
    if "refused" in text.lower():
        return f"{host} refuses the connection"
    if "reset" in text.lower() or "aborted" in text.lower():
        return f"the connection to {host} was cut"
    return f"{host} can't be reached ({type(error).__name__})"


def retry_after(header: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3); 0 when it says nothing."""
    if header.strip().isdecimal():
        return min(float(header), MAX_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return 0.0
    return min(max(0.0, moment.timestamp() - now), MAX_WAIT)
