"""What a run log has to tell its user while training goes on."""

from __future__ import annotations

import sys
import warnings


def notice(text: str) -> None:
    """Warn, also where warnings are made errors: no trouble of the log's may stop training."""
    try:
        warnings.warn(text, stacklevel=2)
    except UserWarning:
        print(f"warning: {text}", file=sys.stderr)
