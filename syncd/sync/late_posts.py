"""How long a run's end is looked at once more, after it was told; pure.

A post of a session that did not end in order, that of a killed daemon say, may be held by the
network or a proxy, and land once a later session has told the run's end: W&B then shows the run as
running, with the summary of that post. Nobody knows of it but the server, so it is asked again.
"""

from __future__ import annotations

from typing import Final

SETTLED_AFTER: Final = 20  # times the first wait
_WAITS_GROW: Final = 3  # times the time since the end was told


def next_look(age: float, first: float) -> float:
    """Seconds until the server is to be asked whether it still shows an end that was told `age`
    seconds ago; 0.0 once that is long enough. first: seconds before the first look."""
    return max(first, _WAITS_GROW * age) if age < SETTLED_AFTER * first else 0.0
