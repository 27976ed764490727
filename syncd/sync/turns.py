"""The runs -> what is done for which of them now: who has a place at the server, and who a thread.
Pure: no clock, file or thread. What is to be done for one run is the scheduler's to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from itertools import islice
from typing import Final

from syncd.errors import Leased
from syncd.settings import Limits
from syncd.sync.scheduler import (
    Action,
    ActionKind,
    Phase,
    Run,
    RunKey,
    has_news,
    needs_session,
    next_action,
)

# Actions under way that may wait for more than an answer: for room in the memory, for a count to
# stand still, or for a store that takes files slowly or not at all. Sessions share 16 threads, and
# what takes a moment is not to wait behind these
SLOW_AT_ONCE: Final = 12
LARGE_AT_ONCE: Final = 4  # of them, sends that wait for room: one has it at a time
FILES_AT_ONCE: Final = 6  # of them, those that bring files, as the ends of runs do as well
LARGE: Final = 24 << 10  # bytes of lines that may need it, however short they are
MOST_FILES: Final = 100  # of a run that wait, beyond which its next lines wait for them
# Of the places one in so many is for runs that are being written, where others would take them all:
# a folder of old logs may come at any time, and takes hours
LIVE_SHARE: Final = 4
LIVE_FOR: Final = 300.0  # seconds since its file last grew, for which a run counts as such
# What takes long, by what it waits for
_AT_ONCE: Final[Mapping[ActionKind | None, int]] = {
    ActionKind.OPEN: SLOW_AT_ONCE,
    ActionKind.SEND: LARGE_AT_ONCE,
    ActionKind.BRING: FILES_AT_ONCE,
}


def actions(
    runs: Mapping[RunKey, Run],
    *,
    online: bool,
    now: float,
    limits: Limits,
    among: Iterable[RunKey] | None = None,
) -> list[Action]:
    """What to do now, in order. Sessions are opened only while the server can be reached.

    Runs that are `asleep` may be left out, and make no difference. among: those that may be due.
    """
    looked_at = runs if among is None else [key for key in among if key in runs]
    chosen = [action for key in looked_at if (action := next_action(key, runs[key], now, limits))]
    opens = [action for action in chosen if action.kind is ActionKind.OPEN]
    rest = [action for action in chosen if action.kind is not ActionKind.OPEN]
    if not online or not opens:
        return _few_slow(runs, rest)
    in_use = sum(map(_has_place, runs.values()))
    room = max(0, limits.open_runs - in_use)
    first: Set[RunKey] = frozenset()
    if len(opens) > room:  # runs take turns: who has waited longest is first
        opens.sort(key=lambda action: runs[action.key].waits_since)
        first = _live_ones(runs, opens, now, limits)
        opens.sort(key=lambda action: action.key not in first)
        wanted = sum(_asks_for_a_turn(runs[action.key], now, limits) for action in opens)
        rest = _giving_way(runs, rest, wanted - room, now, limits)
    return _few_slow(runs, rest + opens[:room], first)


def _live_ones(
    runs: Mapping[RunKey, Run], opens: Iterable[Action], now: float, limits: Limits
) -> Set[RunKey]:
    """The runs that go before all others: so many that those which are being written have their
    share of the places."""
    share = limits.open_runs // LIVE_SHARE
    share -= sum(_has_place(run) and _is_live(run, now) for run in runs.values())
    live = (action.key for action in opens if _is_live(runs[action.key], now))
    return set(islice(live, max(0, share)))


def _is_live(run: Run, now: float) -> bool:
    return run.outcome is None and now - run.grew_at < LIVE_FOR


def _has_place(run: Run) -> bool:
    return run.phase not in (Phase.IDLE, Phase.BLOCKED)


def _asks_for_a_turn(run: Run, now: float, limits: Limits) -> bool:
    # Looking whether another daemon still has a run costs a place: not at each look, then
    return not isinstance(run.error, Leased) or now - run.waits_since > limits.turn


def _giving_way(
    runs: Mapping[RunKey, Run], chosen: list[Action], count: int, now: float, limits: Limits
) -> list[Action]:
    """What the sessions do while so many runs wait for a place: those that have had their turn
    send nothing more, and are parked once all they sent is confirmed; the quietest first."""
    # Those that are on their way out count, or each tick would send one more after them
    count -= sum(run.phase is Phase.CLOSING for run in runs.values())
    if count <= 0:
        return chosen
    had_turn = [key for key, run in runs.items() if _had_turn(run, now, limits)]
    had_turn.sort(key=lambda key: _leaves_first(runs[key]))
    leaving = had_turn[:count]
    # A session with lines on their way is never parked: what it has sent would be sent again
    parked = [Action(ActionKind.CLOSE, key) for key in leaving if _all_confirmed(runs[key])]
    away, quiet = {action.key for action in parked}, set(leaving)
    stay = [a for a in chosen if a.key not in away and not (_sends(a) and a.key in quiet)]
    return stay + parked


def _few_slow(
    runs: Mapping[RunKey, Run], chosen: list[Action], first: Set[RunKey] = frozenset()
) -> list[Action]:
    """Without those that would leave too few threads to what takes a moment. Who was served longest
    ago goes first, behind these."""
    slow = [action for action in chosen if _slow_kind(action, runs[action.key])]
    if not slow:  # nearly always
        return chosen
    slow.sort(key=lambda action: (action.key not in first, _served_at(runs[action.key])))
    under_way = Counter(map(_slow_under_way, runs.values()))
    del under_way[None]
    found = [action for action in chosen if not _slow_kind(action, runs[action.key])]
    for action in slow:
        kind, run = _slow_kind(action, runs[action.key]), runs[action.key]
        if under_way.total() < SLOW_AT_ONCE and under_way[kind] < _AT_ONCE[kind]:
            under_way[kind] += 1
            found.append(action)
        elif action.kind is ActionKind.BRING and _goes_before_its_files(run):
            found.append(Action(ActionKind.SEND, action.key))
    return found


def _slow_kind(action: Action, run: Run) -> ActionKind | None:
    if action.kind is ActionKind.SEND:
        return ActionKind.SEND if _is_large(run) else None
    if action.kind is ActionKind.BRING or action.outcome is not None:
        return ActionKind.BRING
    return ActionKind.OPEN if action.kind is ActionKind.OPEN else None


def _slow_under_way(run: Run) -> ActionKind | None:
    match run.phase:
        case Phase.SENDING:
            return ActionKind.SEND if _is_large(run) else None
        case Phase.BRINGING | Phase.CLOSING:
            return ActionKind.BRING
        case Phase.OPENING:
            return ActionKind.OPEN
        case _:
            return None


def _goes_before_its_files(run: Run) -> bool:
    """Whether lines are sent while other runs' files keep those of the run from being brought."""
    return run.files < MOST_FILES and has_news(run) and not _is_large(run)


def _is_large(run: Run) -> bool:
    return run.size - run.sent.offset > LARGE


def _served_at(run: Run) -> float:
    return max(run.waits_since, run.send_at, run.progress_at)


def _had_turn(run: Run, now: float, limits: Limits) -> bool:
    """Whether the session has brought what was there when it was opened, or has had its time.
    One whose run is to be ended keeps its place: that is all it wants of it."""
    if run.phase not in (Phase.OPEN, Phase.SENDING, Phase.CONFIRMING) or _to_be_ended(run):
        return False
    # By what was there then, not by what is there now: a live run always has something more
    caught_up = run.confirmed.offset >= run.opened_for or not needs_session(run)
    return caught_up or now - run.opened_at > limits.turn


def _leaves_first(run: Run) -> tuple[bool, bool, float]:
    """Who can be parked now, the quietest first; then who has had its place for longest."""
    # Without the first of these the choice fell on another session with each tick, whichever
    # waited for an answer at the time, and nobody ever left
    busy = needs_session(run)
    return not _all_confirmed(run), busy, run.opened_at if busy else run.grown_at


def _to_be_ended(run: Run) -> bool:
    return run.outcome is not None and not run.ended and run.size == run.scanned_to


def _all_confirmed(run: Run) -> bool:
    return run.phase is Phase.OPEN and run.sent == run.confirmed and not run.files


def _sends(action: Action) -> bool:
    return action.kind is ActionKind.SEND
