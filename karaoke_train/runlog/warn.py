"""How a run log warns its user while training goes on."""

from __future__ import annotations

import sys
import warnings


def warn(text: str) -> None:
    """Warn; where warnings are errors, print instead: no trouble of the log may end training."""
    from karaoke_train.runlog.plain_text import one_line  # not on each import of RunLog

    text = one_line(text)
    try:
        warnings.warn(text, stacklevel=2)
    except UserWarning:  # `python -W error`, or a test suite's filter
        print(f"warning: {text}", file=sys.stderr)
