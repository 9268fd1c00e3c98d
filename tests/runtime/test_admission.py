"""Admission is a pure decision: checked for every strategy and any runs in flight."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstead.runtime.runs.internal.admission import decide
from runstead.runtime.runs.store import Admit, Refuse
from runstead.runtime.runs.types import MultitaskStrategy, RunId, StopReason

STRATEGIES: tuple[MultitaskStrategy, ...] = get_args(MultitaskStrategy)
RUNS = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=6)
IN_FLIGHT = RUNS.filter(bool)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_decide_admits_on_an_idle_thread(strategy: MultitaskStrategy) -> None:
    assert decide(strategy, []) == Admit()


@given(IN_FLIGHT)
def test_reject_refuses_and_names_the_runs_in_flight(in_flight: list[RunId]) -> None:
    assert decide("reject", in_flight) == Refuse(busy_with=tuple(in_flight))


@given(IN_FLIGHT)
def test_enqueue_admits_and_stops_no_run(in_flight: list[RunId]) -> None:
    assert decide("enqueue", in_flight) == Admit()


@given(IN_FLIGHT)
def test_interrupt_stops_runs_in_flight_without_rollback(in_flight: list[RunId]) -> None:
    assert decide("interrupt", in_flight) == Admit(stopping=tuple(in_flight), reason=StopReason.SUPERSEDED)
    assert not StopReason.SUPERSEDED.rolls_back


@given(IN_FLIGHT)
def test_rollback_stops_and_rolls_back_runs_in_flight(in_flight: list[RunId]) -> None:
    assert decide("rollback", in_flight) == Admit(stopping=tuple(in_flight), reason=StopReason.SUPERSEDED_ROLLBACK)
    assert StopReason.SUPERSEDED_ROLLBACK.rolls_back


@given(st.sampled_from(STRATEGIES), RUNS)
def test_decide_stops_only_runs_in_flight_and_gives_a_reason(
    strategy: MultitaskStrategy, in_flight: list[RunId]
) -> None:
    decision = decide(strategy, in_flight)
    assert decision == decide(strategy, in_flight), "it depends on something else than its arguments"
    if isinstance(decision, Admit):
        assert set(decision.stopping) <= set(in_flight)
        assert (decision.reason is not None) == bool(decision.stopping)
        assert decision.reason is None or decision.reason.is_terminal
    else:
        assert in_flight
