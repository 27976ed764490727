"""How long a run's end is looked at once more, after it was told; pure.

A post of a session that did not end in order, that of a killed daemon say, may be held by the
network or a proxy, and land once a later session has told the run's end: W&B then shows the run as
running, with the summary of that post. Nobody knows of it but the server, so it is asked again.
"""

from __future__ import annotations

from typing import Final

# Seconds. How long a post is held on its way has nothing to do with how long its sender waits for
# an answer, `request_timeout`: who sets that to a second is not done looking after two minutes
FIRST_LOOK: Final = 30.0
SETTLED_AFTER: Final = 20 * FIRST_LOOK
_WAITS_GROW: Final = 3  # times the time since the end was told


def next_look(age: float) -> float:
    """Seconds until the server is to be asked whether it still shows an end that was told `age`
    seconds ago; 0.0 once that is long enough."""
    return max(FIRST_LOOK, _WAITS_GROW * age) if age < SETTLED_AFTER else 0.0
