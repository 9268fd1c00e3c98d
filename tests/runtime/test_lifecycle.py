"""The lifecycle of a run's status: one transition table, tested by all walks through it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstead.runtime.runs.exceptions import IllegalTransition
from runstead.runtime.runs.internal.lifecycle import TRANSITIONS, check, is_legal, status_after
from runstead.runtime.runs.types import RunId, RunStatus, StopReason

STATUSES = list(RunStatus)
ENDS = [status for status in STATUSES if status.is_terminal]
_P, _S, _R = RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING


def test_transition_table_covers_every_status() -> None:
    assert set(TRANSITIONS) == set(RunStatus)


@pytest.mark.parametrize("end", ENDS)
def test_terminal_status_has_no_transition(end: RunStatus) -> None:
    assert TRANSITIONS[end] == frozenset()


@given(st.lists(st.sampled_from(STATUSES), max_size=12))
def test_walk_through_the_table_reaches_one_terminal_status(choices: list[RunStatus]) -> None:
    walk = [_P]
    for choice in choices:
        if is_legal(walk[-1], choice):
            walk.append(choice)
    assert not any(status.is_terminal for status in walk[:-1])


@given(st.sampled_from(STATUSES), st.sampled_from(STATUSES))
def test_transition_is_refused_exactly_when_not_in_the_table(before: RunStatus, after: RunStatus) -> None:
    if is_legal(before, after):
        check(RunId("r1"), before, after)
        return
    with pytest.raises(IllegalTransition, match=f"r1 cannot go from {before.value} to {after.value}"):
        check(RunId("r1"), before, after)


@pytest.mark.parametrize("status", [_P, _S, _R])
def test_every_status_reaches_a_terminal_status(status: RunStatus) -> None:
    seen, ahead = {status}, [status]
    while ahead:
        for after in TRANSITIONS[ahead.pop()] - seen:
            seen.add(after)
            ahead.append(after)
    assert set(ENDS) <= seen


def test_run_starts_only_after_a_claim_and_lost_runs_become_pending() -> None:
    assert not is_legal(_P, _R)
    assert not is_legal(_P, RunStatus.SUCCESS)
    assert is_legal(_S, _P)
    assert is_legal(_R, _P)
    assert not is_legal(_R, _S)


@pytest.mark.parametrize("stop", StopReason)
def test_terminal_stop_reason_has_an_outcome_and_others_raise(stop: StopReason) -> None:
    if not stop.is_terminal:
        with pytest.raises(ValueError, match="does not end a run"):
            status_after(stop)
        return
    expected = RunStatus.TIMEOUT if stop is StopReason.TIMED_OUT else RunStatus.INTERRUPTED
    assert status_after(stop) is expected
    assert is_legal(_S, expected)
    assert is_legal(_R, expected)


def test_stop_reasons_that_roll_back_are_terminal() -> None:
    assert all(stop.is_terminal for stop in StopReason if stop.rolls_back)
