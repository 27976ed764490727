"""The transition table and the choice of actions: no file, no clock, no thread."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome
from syncd.errors import (
    Connection,
    Leased,
    ProblemCode,
    Refused,
    RemoteLostRecords,
    RunRefused,
    RunTrouble,
    Unreachable,
)
from syncd.settings import Limits
from syncd.sync.scheduler import (
    TRANSITIONS,
    Action,
    ActionKind,
    AlreadyComplete,
    Blocked,
    Brought,
    Checked,
    Closed,
    Confirmed,
    Failed,
    FileSize,
    IllegalEvent,
    Opened,
    Phase,
    Retry,
    Run,
    Sent,
    StartOver,
    asleep,
    backoff,
    due_at,
    failure,
    needs_session,
    start,
    transition,
)
from syncd.sync.turns import actions

LIMITS = Limits(confirm_first=1.0)
P0, P3, P9 = Position(0, 0), Position(3, 30), Position(9, 90)
FINISHED = Outcome("finished", 0)
OPEN_IDLE = Run(Phase.OPEN, size=90, scanned_to=90, confirmed=P9, sent=P9)
WAITING = Run(
    Phase.OPEN, size=90, scanned_to=90, confirmed=P3, sent=P9, confirm_at=5.0, confirm_wait=1.0
)
REFUSED = RunRefused(ProblemCode.TRUNCATED, "no")
UNDER_WAY = {phase for phase in Phase if phase.endswith("ing")}
EVENTS = {
    FileSize(50): set(Phase),
    Opened(P3): {Phase.OPENING},
    AlreadyComplete(P9): {Phase.OPENING},
    Sent(P9, 90): {Phase.SENDING},
    Brought(): {Phase.BRINGING},
    Confirmed(P9): {Phase.CONFIRMING},
    Checked(None): {Phase.IDLE, Phase.OPEN},
    Closed(True): {Phase.CLOSING},
    Failed(RunTrouble("no")): UNDER_WAY,
    Blocked(REFUSED): UNDER_WAY,
    Retry(): set(Phase),
    StartOver(Run()): {Phase.IDLE},
}


def fold(run: Run, event: object, now: float = 0.0) -> Run:
    return transition(run, event, now, 0.5, LIMITS)  # type: ignore[arg-type]


def chosen(
    run: Run, now: float = 0.0, limits: Limits = LIMITS, *, online: bool = True
) -> list[ActionKind]:
    return [action.kind for action in actions({"r": run}, online=online, now=now, limits=limits)]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_out_of_turn_raises(event: object, phase: Phase) -> None:
    run = Run(phase, size=90, confirmed=P3, sent=P3)
    if phase in EVENTS[event]:  # type: ignore[index]
        fold(run, event)
    else:
        with pytest.raises(IllegalEvent, match=phase):
            fold(run, event)


@pytest.mark.parametrize("kind", ActionKind)
@pytest.mark.parametrize("phase", Phase)
def test_only_its_own_phase_begins_an_action(kind: ActionKind, phase: Phase) -> None:
    usual = {Phase.OPEN}
    begins = {ActionKind.OPEN: {Phase.IDLE}, ActionKind.CHECK: {Phase.IDLE, Phase.OPEN}}
    if phase in begins.get(kind, usual):
        begun = start(Run(phase), Action(kind, "r"))
        assert (begun.phase is phase) is (kind is ActionKind.CHECK)
    else:
        with pytest.raises(IllegalEvent):
            start(Run(phase), Action(kind, "r"))


def test_every_way_of_the_table_is_gone_or_refused_by_it_alone() -> None:
    """No phase is a dead end, and none is entered but by the table."""
    entered = {after for (before, _), after in TRANSITIONS.items() if before is not after}
    left = {before for (before, _), after in TRANSITIONS.items() if before is not after}
    assert entered == left == set(Phase)


@pytest.mark.parametrize(
    ("event", "moves"),
    [
        (Opened(P3), True),
        (AlreadyComplete(P3), True),
        (Failed(RunTrouble("no")), False),
        (Retry(), False),
    ],
)
def test_only_the_servers_count_moves_what_is_confirmed(event: object, moves: bool) -> None:
    run = fold(Run(Phase.OPENING, size=90, confirmed=P0), event)
    assert (run.confirmed == P3) is moves


def test_a_session_shows_a_run_as_running_so_its_end_is_told_again() -> None:
    ended = Run(Phase.OPENING, size=90, confirmed=P3, sent=P3, outcome=FINISHED, ended=True)
    run = fold(ended, Opened(P9))
    close = Action(ActionKind.CLOSE, "r", FINISHED)
    assert actions({"r": run}, online=True, now=0.0, limits=LIMITS) == [close]


def test_a_session_is_quiet_from_its_opening_on_however_long_the_file_was_before() -> None:
    limits = replace(LIMITS, idle_session_timeout=5.0)
    run = fold(Run(Phase.OPENING, size=90, confirmed=P9), Opened(P9), 99.0)
    assert (chosen(run, 99.0, limits), chosen(run, 105.0, limits)) == ([], [ActionKind.CLOSE])


def test_a_torn_tail_behind_a_complete_run_is_no_reason_for_a_session() -> None:
    run = fold(Run(Phase.OPENING, size=95), AlreadyComplete(P9, scanned_to=95))
    assert not needs_session(run)


def test_a_run_that_had_ended_has_ended_once_its_session_is_parked() -> None:
    run = Run(Phase.CLOSING, size=90, scanned_to=90, outcome=FINISHED, ended=True)
    assert asleep(fold(run, Closed(False)))


def test_sent_does_not_confirm() -> None:
    run = fold(Run(Phase.SENDING, size=90, confirmed=P3, sent=P3), Sent(P9, 90, FINISHED))
    assert (run.confirmed, run.sent, run.outcome) == (P3, P9, FINISHED)


def test_a_count_that_has_lines_at_once_is_asked_at_once_and_again_later_while_it_stands() -> None:
    prompt = replace(LIMITS, confirm_first=0.0)
    run = Run(Phase.SENDING, size=90, confirmed=P3, sent=P3)
    run = transition(run, Sent(P9, 90), 10.0, 0.5, prompt)
    assert chosen(run, 10.0, prompt) == [ActionKind.CONFIRM]
    waits = []
    for _ in range(3):
        run = transition(run._replace(phase=Phase.CONFIRMING), Confirmed(P3), 10.0, 0.5, prompt)
        waits.append(run.confirm_at - 10.0)
    assert waits == [1.0, 2.0, 4.0]


def test_a_failure_leaves_what_a_crash_would() -> None:
    run = fold(WAITING._replace(phase=Phase.CONFIRMING), Failed(RunTrouble("no")), 10.0)
    assert (run.phase, run.sent, run.scanned_to) == (Phase.IDLE, P3, P3.offset)
    assert needs_session(run)


def test_an_end_sent_but_not_confirmed_is_sent_again_after_a_failure() -> None:
    run = fold(Run(Phase.SENDING, size=90, confirmed=P3, sent=P3), Sent(P9, 90))
    run = fold(run._replace(phase=Phase.CLOSING), Failed(RunTrouble("stall")), 10.0)
    assert needs_session(run)
    assert chosen(run, now=1e6) == [ActionKind.OPEN]


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (RunTrouble("no"), Phase.IDLE),
        (Unreachable("no"), Phase.IDLE),
        (Refused("no", kind=Connection.REFUSED, remedy=""), Phase.IDLE),
        (Leased("no"), Phase.IDLE),
        (REFUSED, Phase.BLOCKED),
        (RemoteLostRecords(ProblemCode.LOST_AT_SERVER, "no"), Phase.IDLE),
    ],
)
def test_only_a_refused_run_waits_for_a_decision(error: RunTrouble, phase: Phase) -> None:
    assert fold(Run(Phase.OPENING, size=9), failure(error)).phase is phase


def test_a_blocked_run_does_nothing_until_it_is_retried() -> None:
    run = Run(Phase.BLOCKED, size=90, failures=3, retry_at=1e9)
    assert chosen(run, now=1e12) == []
    assert chosen(fold(run, Retry(), 5.0), now=5.0) == [ActionKind.OPEN]


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.BLOCKED])
def test_retry_asks_the_server_about_a_run_that_seems_done(phase: Phase) -> None:
    done = Run(phase, size=90, scanned_to=90, confirmed=P9, sent=P9, outcome=FINISHED, ended=True)
    assert chosen(fold(done, Retry())) == [ActionKind.OPEN]


def test_a_retry_that_fails_is_tried_again_also_for_a_run_that_seems_done() -> None:
    done = Run(size=90, scanned_to=90, confirmed=P9, sent=P9, outcome=FINISHED, ended=True)
    asked = fold(done, Retry())._replace(phase=Phase.OPENING)
    assert chosen(fold(asked, Failed(RunTrouble("no"))), now=1e6) == [ActionKind.OPEN]


@pytest.mark.parametrize(
    ("run", "now", "expected"),
    [
        (Run(), 0.0, []),
        (Run(size=90), 0.0, [ActionKind.OPEN]),
        (Run(size=90, retry_at=3.0), 2.9, []),
        (Run(size=90, retry_at=3.0), 3.0, [ActionKind.OPEN]),
        (OPEN_IDLE._replace(size=95), 0.0, [ActionKind.SEND]),
        (WAITING, 4.9, []),
        (WAITING, 5.0, [ActionKind.CONFIRM]),
        (WAITING._replace(size=95), 4.0, []),
        (WAITING._replace(size=95), 5.0, [ActionKind.CONFIRM]),
        (WAITING._replace(confirm_at=62.0), 61.0, [ActionKind.ABANDON]),
        (OPEN_IDLE, 0.0, []),
        (OPEN_IDLE, 121.0, [ActionKind.CHECK]),
        (OPEN_IDLE._replace(outcome=FINISHED), 0.0, [ActionKind.CLOSE]),
        (OPEN_IDLE._replace(phase=Phase.IDLE), 121.0, [ActionKind.CHECK]),
        (OPEN_IDLE._replace(phase=Phase.IDLE, ended=True), 121.0, []),
        (OPEN_IDLE._replace(phase=Phase.IDLE, outcome=FINISHED), 0.0, [ActionKind.OPEN]),
        (Run(Phase.SENDING, size=90), 1e9, []),
    ],
)
def test_what_is_done_next(run: Run, now: float, expected: list[ActionKind]) -> None:
    assert chosen(run, now) == expected


def test_nothing_more_is_sent_before_the_last_lines_are_confirmed() -> None:
    grown = WAITING._replace(size=95, confirm_at=99.0)
    assert chosen(grown) == []
    assert chosen(grown._replace(confirmed=grown.sent)) == [ActionKind.SEND]


def test_nothing_is_opened_offline_but_open_sessions_go_on() -> None:
    assert chosen(Run(size=90), online=False) == []
    assert chosen(WAITING, now=5.0, online=False) == [ActionKind.CONFIRM]


def test_a_run_known_to_have_ended_holds_no_session_open() -> None:
    """A torn tail beyond the end of a crashed run is no reason to show it as running."""
    run = OPEN_IDLE._replace(ended=True)
    assert chosen(run, now=1.0) == [ActionKind.CLOSE]
    assert actions({"r": run}, online=True, now=1.0, limits=LIMITS)[0].outcome is None


def test_a_one_shot_upload_leaves_a_live_writer_after_a_while() -> None:
    """Each look at the writer's lock must not count as news of it."""
    limits = Limits(writer_check_after=1e-9, idle_session_timeout=0.5)
    run, now, done = OPEN_IDLE, 0.0, []
    while now < 3 and ActionKind.CLOSE not in done:
        now += 0.25
        for action in actions({"r": run}, online=True, now=now, limits=limits):
            done.append(action.kind)
            if action.kind is ActionKind.CHECK:
                run = transition(run, Checked(None), now, 0.5, limits)
    assert done[-1] is ActionKind.CLOSE


def test_waiting_runs_take_the_places_of_idle_sessions() -> None:
    limits = Limits(open_runs=2)
    runs = {
        "idle": OPEN_IDLE._replace(grown_at=5.0),
        "quieter": OPEN_IDLE,
        "waits": Run(size=9, waits_since=2.0),
        "waits longer": Run(size=9, waits_since=1.0),
    }
    chosen = actions(runs, online=True, now=10.0, limits=limits)
    assert chosen == [Action(ActionKind.CLOSE, "quieter"), Action(ActionKind.CLOSE, "idle")]
    assert actions(dict(list(runs.items())[1:]), online=True, now=10.0, limits=limits) == [
        Action(ActionKind.CLOSE, "quieter"),
        Action(ActionKind.OPEN, "waits longer"),
    ]


def test_a_session_on_its_way_out_makes_the_place_that_is_waited_for() -> None:
    leaving = OPEN_IDLE._replace(phase=Phase.CLOSING)
    runs = {"leaving": leaving, "idle": OPEN_IDLE, "waits": Run(size=9)}
    assert actions(runs, online=True, now=10.0, limits=Limits(open_runs=2)) == []


def test_busy_sessions_keep_their_places() -> None:
    runs = {"busy": WAITING, "waits": Run(size=9)}
    assert actions(runs, online=True, now=1.0, limits=Limits(open_runs=1)) == []


def test_confirming_slows_down_while_the_count_stands_still() -> None:
    run, waits = WAITING._replace(phase=Phase.CONFIRMING, confirm_wait=1.0), []
    for _ in range(5):
        run = fold(run, Confirmed(P3), 10.0)
        waits.append(run.confirm_at - 10.0)
        run = run._replace(phase=Phase.CONFIRMING)
    assert waits == [2, 4, 8, 8, 8]
    assert fold(run, Confirmed(P9), 10.0).confirm_at == 11.0


def test_a_stall_is_counted_from_the_send_and_from_every_line_that_arrives() -> None:
    sent = fold(Run(Phase.SENDING, size=100), Sent(Position(10, 100), 100), 50.0)
    assert sent.progress_at == 50.0
    asked = sent._replace(phase=Phase.CONFIRMING)
    assert fold(asked, Confirmed(sent.confirmed), 60.0).progress_at == 50.0
    assert fold(asked, Confirmed(P3), 60.0).progress_at == 60.0


def test_an_end_puts_off_no_question_that_is_due_sooner() -> None:
    run = Run(Phase.SENDING, size=99, confirmed=P3, sent=P9, ahead=1000, confirm_at=10.2)
    assert fold(run, Sent(Position(10, 99), 99, FINISHED), 10.0).confirm_at == 10.2


def test_a_line_after_the_end_takes_the_end_back() -> None:
    ended = Run(Phase.SENDING, size=99, confirmed=P9, sent=P9, outcome=FINISHED, ended=True)
    resumed = fold(ended, Sent(Position(10, 99), 99))
    assert (resumed.outcome, resumed.ended) == (None, False)


def test_looking_at_a_torn_tail_takes_nothing_back() -> None:
    ended = Run(Phase.SENDING, size=99, confirmed=P9, sent=P9, outcome=FINISHED, ended=True)
    looked = fold(ended, Sent(P9, 99))
    assert (looked.outcome, looked.ended) == (FINISHED, True)


def test_news_counts_only_when_the_size_changed() -> None:
    run = Run(size=50, grown_at=1.0)
    assert fold(run, FileSize(50), 9.0) == run
    assert fold(run, FileSize(60), 9.0).grown_at == 9.0


def test_a_run_that_waits_keeps_its_place_while_its_file_grows() -> None:
    waits = Run(size=50, waits_since=1.0)
    assert fold(waits, FileSize(60), 9.0).waits_since == 1.0
    assert fold(waits._replace(scanned_to=50), FileSize(60), 9.0).waits_since == 9.0


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_backoff_stays_within_its_bounds(failures: int, jitter: float) -> None:
    wait = backoff(failures, jitter, LIMITS)
    assert 0 <= wait <= LIMITS.backoff_most
    assert wait <= LIMITS.backoff_first * 2.0 ** min(failures, 20)


def test_failures_in_a_row_wait_longer_and_progress_forgives_them() -> None:
    run = Run(Phase.OPENING, size=9)
    for _ in range(4):
        run = fold(run, Failed(RunTrouble("no")), 100.0)._replace(phase=Phase.OPENING)
    assert (run.failures, run.retry_at) == (4, 108.0)
    assert fold(WAITING._replace(phase=Phase.CONFIRMING, failures=4), Confirmed(P9)).failures == 0


def test_a_time_that_the_server_names_wins_over_the_backoff() -> None:
    busy = RunTrouble("no")
    busy.retry_after = 77.0
    assert fold(Run(Phase.OPENING, size=9), Failed(busy), 100.0).retry_at == 177.0


@pytest.mark.parametrize("phase", Phase)
def test_a_retry_forgives_the_failures_before_it(phase: Phase) -> None:
    assert fold(Run(phase, size=9, failures=4, retry_at=1e9), Retry(), 5.0).failures == 0


def test_starting_over_takes_what_is_known_there_and_the_size_that_is_seen() -> None:
    done = OPEN_IDLE._replace(phase=Phase.IDLE, ended=True, size=95)
    assert fold(done, StartOver(Run(grown_at=7.0)), 7.0) == Run(size=95, grown_at=7.0)


def test_lines_run_ahead_of_the_count_up_to_a_bound() -> None:
    run = WAITING._replace(size=95, confirm_at=99.0, ahead=7)  # six are on their way
    assert chosen(run) == [ActionKind.SEND]
    assert chosen(run._replace(ahead=6)) == []
    assert chosen(run._replace(confirm_at=0.0)) == [ActionKind.CONFIRM]
    assert chosen(run._replace(size=90)) == []


def test_a_server_that_wants_no_more_now_is_sent_none() -> None:
    grown = OPEN_IDLE._replace(size=95)
    paused = fold(grown._replace(phase=Phase.SENDING), Sent(P9, 90, pause=2.0), 10.0)
    assert chosen(paused._replace(size=99), now=11.9) == []
    assert chosen(paused._replace(size=99), now=12.0) == [ActionKind.SEND]


def test_sending_on_puts_off_neither_the_question_nor_the_stall() -> None:
    """A server that takes every post and counts none has to be found out."""
    run = Run(Phase.SENDING, size=999, confirmed=P3, sent=P3, ahead=1000)
    first = fold(run, Sent(P9, 90), 10.0)
    more = fold(first._replace(phase=Phase.SENDING), Sent(Position(20, 200), 200), 12.0)
    assert (more.confirm_at, more.progress_at) == (10.0 + LIMITS.confirm_lazy, 10.0)
    ended = fold(more._replace(phase=Phase.SENDING), Sent(Position(21, 210), 210, FINISHED), 12.5)
    assert ended.confirm_at == 12.5 + LIMITS.confirm_first
    late = 10.0 + LIMITS.stall + 1
    assert chosen(more._replace(size=999, confirm_at=late + 1), late) == [ActionKind.ABANDON]


def test_a_run_that_logs_on_and_on_is_asked_for_seldom_and_a_backlog_or_an_end_soon() -> None:
    """Counts lag: whenever one comes, there are newer lines that it does not have."""
    live = WAITING._replace(phase=Phase.CONFIRMING, ahead=1000)
    p5 = Position(5, 50)
    asked = fold(live, Confirmed(p5, 1000), 9.0)
    assert asked.confirm_at == 9.0 + LIMITS.confirm_live
    gone_on = fold(asked._replace(phase=Phase.SENDING), Sent(Position(10, 100), 100), 9.5)
    assert gone_on.confirm_at == asked.confirm_at
    for other in (live._replace(ahead=40), live._replace(ahead=0), live._replace(outcome=FINISHED)):
        assert fold(other, Confirmed(p5, 1000), 9.0).confirm_at == 9.0 + LIMITS.confirm_first


RUNS = st.builds(
    Run,
    phase=st.sampled_from(Phase),
    size=st.sampled_from([0, 30, 90]),
    scanned_to=st.sampled_from([0, 30, 90]),
    confirmed=st.sampled_from([P0, P3, P9]),
    sent=st.sampled_from([P0, P3, P9]),
    outcome=st.sampled_from([None, FINISHED]),
    ended=st.booleans(),
    retry_at=st.sampled_from([0.0, 50.0]),
    grown_at=st.sampled_from([0.0, 900.0]),
    opened_at=st.sampled_from([0.0, 900.0]),
    error=st.sampled_from([None, Unreachable("down"), RunTrouble("no")]),
)


@given(st.lists(RUNS, max_size=8), st.booleans(), st.sampled_from([0.0, 40.0, 1000.0, 1e9]))
def test_runs_that_are_asleep_make_no_difference(runs: list[Run], online: bool, now: float) -> None:
    every = {str(number): run for number, run in enumerate(runs)}
    awake = {key: run for key, run in every.items() if not asleep(run)}
    limits = replace(LIMITS, open_runs=2)
    expected = actions(every, online=online, now=now, limits=limits)
    assert actions(awake, online=online, now=now, limits=limits) == expected


def test_files_are_brought_before_the_next_lines_and_before_the_end() -> None:
    run = fold(Run(Phase.SENDING, size=300, ahead=99), Sent(P9, 90, pause=0.5, files=2))
    assert (chosen(run, 0.4), chosen(run, 0.5)) == ([], [ActionKind.BRING])
    run = fold(start(run, Action(ActionKind.BRING, "r")), Brought(pause=0.2), now=0.6)
    assert (chosen(run, 0.7), chosen(run, 0.8)) == ([], [ActionKind.SEND])
    ended = OPEN_IDLE._replace(outcome=FINISHED, files=1)
    assert chosen(ended) == [ActionKind.BRING]
    assert chosen(ended._replace(files=0)) == [ActionKind.CLOSE]


@pytest.mark.parametrize("event", [Failed(RunTrouble("no")), Blocked(REFUSED)])
def test_files_of_a_session_that_failed_are_left_to_the_runs_end(event: object) -> None:
    assert fold(OPEN_IDLE._replace(phase=Phase.BRINGING, files=3), event).files == 0
    assert fold(OPEN_IDLE._replace(files=3), Retry()).files == 0


def test_a_count_is_asked_once_more_before_a_session_is_dropped_that_brought_files_for_long() -> (
    None
):
    late = LIMITS.stall + 1
    run = fold(WAITING._replace(phase=Phase.BRINGING), Brought(), now=late)
    assert chosen(run, late) == [ActionKind.CONFIRM]
    run = fold(start(run, Action(ActionKind.CONFIRM, "r")), Confirmed(P3), now=late)
    assert chosen(run, late) == [ActionKind.ABANDON]


def test_a_run_whose_end_may_be_undone_is_opened_when_that_is_due_until_it_is_settled() -> None:
    closing = Run(Phase.CLOSING, size=90, scanned_to=90, confirmed=P9, sent=P9, outcome=FINISHED)
    run = fold(closing, Closed(True, 30.0), now=100.0)
    assert (needs_session(run), asleep(run), due_at(run, LIMITS)) == (False, False, 130.0)
    assert chosen(run, 129.0) == []
    assert chosen(run, 130.0) == [ActionKind.OPEN]
    opening = start(run, Action(ActionKind.OPEN, "r"))
    failed = fold(opening, Failed(RunTrouble("no")), now=130.0)
    assert chosen(failed, failed.retry_at) == [ActionKind.OPEN]
    again = fold(opening, AlreadyComplete(P9, look_in=90.0), now=130.0)
    assert due_at(again, LIMITS) == 220.0
    settled = fold(opening, AlreadyComplete(P9), now=130.0)
    assert asleep(settled)


MOMENTS = st.integers(0, 400).map(float)


@given(
    st.builds(
        Run,
        phase=st.sampled_from(Phase),
        size=st.sampled_from([0, 90, 95]),
        scanned_to=st.sampled_from([0, 90]),
        confirmed=st.sampled_from([P3, P9]),
        sent=st.just(P9),
        outcome=st.sampled_from([None, FINISHED]),
        ended=st.booleans(),
        ahead=st.sampled_from([0, 100]),
        files=st.integers(0, 1),
        **{f"{name}_at": MOMENTS for name in ("retry", "grown", "checked", "progress")},
        send_at=MOMENTS,
        confirm_at=MOMENTS,
        look_at=st.one_of(st.just(math.inf), MOMENTS),
    ),
    MOMENTS,
)
@example(WAITING._replace(confirm_at=300.0, sent=P9), LIMITS.stall + 1)
def test_nothing_is_done_for_a_run_before_it_is_due_and_something_is_from_then_on(
    run: Run, now: float
) -> None:
    limits = replace(LIMITS, idle_session_timeout=100.0)
    due = due_at(run, limits)
    if now != due:  # at that very moment some things are done, and some are not yet
        assert bool(chosen(run, now, limits)) is (now > due)
