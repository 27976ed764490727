"""Which certificate authorities to trust: one answer for urllib3 and for wandb-core.

Python's programs are told by REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, wandb-core (Go's crypto/x509) by
SSL_CERT_FILE or SSL_CERT_DIR. A company's own authority named to one of them alone would have the
server reached and each record refused, or the other way about.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NAMES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def ca_bundle(env: Mapping[str, str] = os.environ) -> str:
    """The file or folder of certificates in force; empty for the system's own."""
    return next((env[name] for name in NAMES if env.get(name)), "")


def go_settings(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The same for a program in Go, as variables to set."""
    bundle = ca_bundle(env)
    if not bundle:
        return {}
    return {"SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE": bundle}
