"""Decisions about model calls, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from runstead.infra.prices.genai import GenaiPrices
from runstead.infra.storage.run_budgets import Budgets
from runstead.runtime.actor_context import SERVER_ACTOR, ActorContext
from runstead.runtime.runs.budgets import (
    Budget,
    BudgetAnswerRefused,
    BudgetExceeded,
    BudgetLevel,
    BudgetPlace,
    decide,
    may_raise,
    notices_of,
    raise_of,
)
from runstead.runtime.runs.callbacks.budgets import estimate
from runstead.runtime.runs.types import ModelUsage, RunId, ThreadId

DAILY = Budget(("user", "day"), "tokens", Decimal(1000))
PLACE = BudgetPlace("acme", "alice", "agent", date(2026, 3, 4), ThreadId("t"), RunId("r"))


def level(used: int, reserved: int = 0, budget: Budget = DAILY) -> BudgetLevel:
    return BudgetLevel(budget, budget.amount, Decimal(used), Decimal(reserved), budget.resets_at(PLACE))


@pytest.mark.parametrize(
    ("used", "reserved", "kind", "warned"),
    [
        (0, 0, "admitted", False),
        (0, 900, "admitted", False),
        (0, 1000, "waits", False),
        (799, 0, "admitted", False),
        (800, 0, "admitted", True),
        (999, 0, "admitted", True),
        (999, 1, "waits", True),
        (1000, 0, "refused", True),
    ],
)
def test_call_begins_waits_or_is_refused(used: int, reserved: int, kind: str, warned: bool) -> None:
    found = decide([level(used, reserved)])
    assert (found.kind, bool(found.warnings)) == (kind, warned)


def test_call_inside_another_one_does_not_wait_for_it() -> None:
    assert decide([level(0, 5000)], may_wait=False).kind == "admitted"


def test_budget_that_stops_comes_before_one_that_pauses() -> None:
    asking = Budget(("thread",), "tokens", Decimal(10), pauses=True)
    found = decide([level(10, budget=asking), level(1000)])
    assert found.exceeded is not None
    assert found.exceeded.budget is DAILY


STRICT = Budget(("user", "day"), "tokens", Decimal(1000), is_strict=True)


@pytest.mark.parametrize(
    ("used", "reserved", "wanted", "may_wait", "kind"),
    [
        (0, 0, 1000, True, "admitted"),
        (0, 0, 1001, True, "refused"),
        (600, 0, 400, True, "admitted"),
        (600, 200, 400, True, "waits"),
        (600, 200, 400, False, "refused"),
        (600, 200, 200, False, "admitted"),
        (700, 0, 400, True, "refused"),
    ],
)
def test_call_that_may_exceed_a_strict_budget_does_not_begin(
    used: int, reserved: int, wanted: int, may_wait: bool, kind: str
) -> None:
    found = decide([replace(level(used, reserved, STRICT), wanted=Decimal(wanted))], may_wait=may_wait)
    assert found.kind == kind


def test_error_of_a_strict_budget_names_what_the_call_may_use() -> None:
    error = BudgetExceeded(replace(level(700, 0, STRICT), wanted=Decimal(400)))
    assert "too small for the next model call (700 tokens used, and up to 400 tokens for the call)" in str(error)


def test_notices_are_a_warning_and_then_that_the_budget_is_used_up() -> None:
    def kinds(used: int, exceeded: bool = False) -> list[str]:
        found = level(used)
        return [notice.kind for notice in notices_of([found], found if exceeded else None)]

    assert [kinds(799), kinds(800), kinds(1000)] == [[], ["warning"], ["warning", "exceeded"]]
    # A strict budget refuses a call before it is used up.
    assert kinds(10, exceeded=True) == ["warning", "exceeded"]


def test_error_names_the_reset_and_the_seconds_until_it() -> None:
    now = datetime(2026, 3, 4, 23, 59, 30, tzinfo=UTC)
    error = BudgetExceeded(level(1200), now)
    assert "1,000 tokens per user and day is used up (1,200 tokens)" in str(error)
    assert "reset at 2026-03-05T00:00:00Z" in str(error)
    assert error.retry_after == 31
    without = BudgetExceeded(level(9, budget=Budget(("thread",), "usd", Decimal("0.5"))), now)
    assert "0.5000 US dollars per thread" in str(without)
    assert without.retry_after is None


def test_counters_differ_by_what_is_counted_together() -> None:
    other_day = BudgetPlace("acme", "alice", "other", PLACE.day + timedelta(days=1))
    same_name = BudgetPlace("umbrella", "alice", "agent", PLACE.day)
    assert len({DAILY.key(place) for place in (PLACE, other_day, same_name)}) == 3
    assert DAILY.key(PLACE) == DAILY.key(BudgetPlace("acme", "alice", "other", PLACE.day))


def test_budgets_of_others_are_raised_with_a_scope_only() -> None:
    alice = ActorContext("alice", scopes=frozenset({"write"}), auth_source="api_key")
    admin = ActorContext("carol", scopes=frozenset({"admin"}), auth_source="api_key")
    own, scopes = Budget(("thread", "day"), "tokens", Decimal(1)), frozenset({"admin"})
    assert may_raise(alice, own, scopes)
    assert not may_raise(alice, DAILY, scopes)
    assert may_raise(admin, DAILY, scopes)
    assert may_raise(SERVER_ACTOR, DAILY, scopes)
    assert may_raise(ActorContext("default", auth_source="none"), DAILY, frozenset())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"action": "raise"}, "own"),
        ({"action": "raise", "amount": 0.25}, Decimal("0.25")),
        ({"action": "stop"}, "stop"),
    ],
)
def test_answer_raises_by_an_amount_or_stops(answer: Any, expected: Any) -> None:
    assert raise_of(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [None, "yes", {}, *({"action": "raise", "amount": amount} for amount in (-1, "1", True, 1e300, float("inf")))],
)
def test_other_answers_are_refused_with_the_way_out(answer: Any) -> None:
    with pytest.raises(BudgetAnswerRefused, match="answer with"):
        raise_of(answer)


def test_model_without_a_price_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    unpriced = ModelUsage("scripted", None, "all", 1, 10, 10, 20)
    budgets = Budgets([Budget(("run",), "usd", Decimal(1))], GenaiPrices())
    assert [budgets.price(unpriced) for _ in range(2)] == [0, 0]
    assert budgets.price(ModelUsage("gpt-4o", "openai", "all", 1, 1000, 10, 1010)) > 0
    assert [record.getMessage() for record in caplog.records] == [
        "model scripted has no price: budgets in US dollars do not count it; bound its tokens"
    ]


def test_estimate_counts_prompt_tools_and_the_limit_of_the_answer() -> None:
    start = {"invocation_params": {"max_tokens": 50, "tools": ["x" * 296]}, "metadata": {"ls_model_name": "m"}}
    found = estimate([HumanMessage("a" * 300)], start)
    assert (found.model, found.input_tokens, found.output_tokens) == ("m", 100 + 8 + 100, 50)
    assert estimate(["a" * 300], {}).total_tokens == 100 + 8 + 4096
    # A token is at least a character of Chinese, and a third of one in English.
    assert estimate(["\u4e2d" * 300], {}).input_tokens == 300 + 8
    assert estimate(["a"], {"invocation_params": {"max_tokens": 50, "n": 3}}).output_tokens == 150


def test_estimate_counts_the_calls_of_tools_in_the_history() -> None:
    call = {"name": "write", "args": {"text": "x" * 3000}, "id": "1"}
    assert estimate([AIMessage("", tool_calls=[call])], {}).input_tokens > 1000
