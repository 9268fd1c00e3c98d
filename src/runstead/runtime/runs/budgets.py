"""Budgets of what runs may use of models, per run, thread, user, tenant, graph and day: types and decisions. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

from ..actor_context import ActorContext
from ..json_types import JsonObject
from .exceptions import RunError
from .types import RunId, ThreadId

BudgetScope: TypeAlias = Literal["run", "thread", "user", "tenant", "graph", "day"]
BUDGET_SCOPES: Final[tuple[BudgetScope, ...]] = get_args(BudgetScope)
BudgetUnit: TypeAlias = Literal["tokens", "usd"]
INTERRUPT_TYPE: Final = "budget_exceeded"
"""The ``type`` in the value of an interrupt that asks to raise a budget."""
_MOST: Final = 2**53
"""Tokens or US dollars by which one answer can raise a budget."""
ANSWER_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "action": {"enum": ["raise", "stop"]},
        "amount": {"type": "number", "exclusiveMinimum": 0},
    },
    "required": ["action"],
}
"""The answer to such an interrupt. Without an ``amount``, a budget is raised by its own size."""


@dataclass(frozen=True, slots=True)
class BudgetPlace:
    """The place at which a model call counts. ``run_id`` and ``thread_id`` are empty before there is a run."""

    tenant_id: str
    user_id: str
    graph_id: str
    day: date
    thread_id: ThreadId = ThreadId("")
    run_id: RunId = RunId("")


@dataclass(frozen=True, slots=True)
class Budget:
    """At most ``amount`` tokens or US dollars for each combination of ``per``; users and threads are those of one
    tenant. ``pauses``: a run that finds it used up asks a human to raise it, instead of failing. ``warn_at`` is the
    part at which runs warn. ``is_strict``: a call whose estimate does not fit into what is left is refused.
    """

    per: tuple[BudgetScope, ...]
    unit: BudgetUnit
    amount: Decimal
    pauses: bool = False
    warn_at: Decimal = Decimal("0.8")
    is_strict: bool = False

    def __str__(self) -> str:
        return f"{shown_amount(self.unit, self.amount)} per {' and '.join(self.per)}"

    @property
    def is_of_others(self) -> bool:
        """True if it bounds more than a run or a thread, so that its users may not raise it themselves."""
        return not {"user", "tenant", "graph"}.isdisjoint(self.per)

    @property
    def is_of_one_tenant(self) -> bool:
        """False if it counts calls of all tenants together."""
        return not {"run", "thread", "user", "tenant"}.isdisjoint(self.per)

    def key(self, place: BudgetPlace) -> str:
        """Return what names the counter of this budget at a place: equal for calls that count together."""
        values = {
            "run": place.run_id,
            "thread": place.thread_id,
            "user": [place.tenant_id, place.user_id],
            "tenant": place.tenant_id,
            "graph": place.graph_id,
            "day": place.day.isoformat(),
        }
        return json.dumps([self.unit, *([scope, values[scope]] for scope in self.per)])

    def resets_at(self, place: BudgetPlace) -> datetime | None:
        """Return the end of the day (UTC); None if the budget is for no day."""
        if "day" not in self.per:
            return None
        return datetime.combine(place.day + timedelta(days=1), time(), UTC)


@dataclass(frozen=True, slots=True)
class BudgetLevel:
    """The state of a budget at a place. ``limit`` is its amount with what humans added; ``reserved`` is an estimate of
    the calls in flight, and ``wanted`` of the call that is decided about.
    """

    budget: Budget
    limit: Decimal
    used: Decimal
    reserved: Decimal = Decimal()
    resets_at: datetime | None = None
    wanted: Decimal = Decimal()

    @property
    def is_used_up(self) -> bool:
        return self.used >= self.limit

    @property
    def is_nearly_used_up(self) -> bool:
        """True from the part on at which runs warn."""
        return self.used >= self.limit * self.budget.warn_at

    @property
    def refuses(self) -> bool:
        """True if the wanted call may not begin, whatever the calls in flight use."""
        return self.is_used_up or (self.budget.is_strict and self.used + self.wanted > self.limit)

    @property
    def is_tight(self) -> bool:
        """True if the calls in flight may leave nothing; in a strict budget, too little for the wanted call."""
        if self.budget.is_strict:
            return self.used + self.reserved + self.wanted > self.limit
        return bool(self.reserved) and self.used + self.reserved >= self.limit

    @property
    def part(self) -> float:
        """The used part, 1.0 for all of it."""
        return float(self.used / self.limit) if self.limit else 1.0

    def to_json(self) -> JsonObject:
        """Return it as clients see it in events, errors and interrupts."""
        return {
            "per": list(self.budget.per),
            "unit": self.budget.unit,
            "limit": _number(self.limit),
            "used": _number(self.used),
            "resets_at": None if self.resets_at is None else self.resets_at.isoformat(),
        }

    def to_notice(self) -> JsonObject:
        """Return the content of events and webhooks about this level."""
        return {"budget": self.to_json(), "part": round(self.part, 4)}

    def __str__(self) -> str:
        limit = shown_amount(self.budget.unit, self.limit)
        return f"{limit} per {' and '.join(self.budget.per)}"


@dataclass(frozen=True, slots=True)
class Admission:
    """Decision about a model call: begin it, wait for calls in flight, or refuse it for the level ``exceeded``.

    ``warnings`` are the levels that are nearly used up, and ``notices`` what is found for the first time in its window.
    """

    kind: Literal["admitted", "waits", "refused"]
    exceeded: BudgetLevel | None = None
    warnings: tuple[BudgetLevel, ...] = ()
    notices: tuple[BudgetNotice, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetNotice:
    """A budget that is nearly used up (``warning``) or used up (``exceeded``), once for each of its limits in a
    window: a run, thread, user or day, as the budget counts."""

    kind: Literal["warning", "exceeded"]
    level: BudgetLevel


def notices_of(levels: Sequence[BudgetLevel], exceeded: BudgetLevel | None = None) -> Iterator[BudgetNotice]:
    """Yield what is to be noticed about levels, found before or not. ``exceeded`` is the one that refuses a call."""
    for level in levels:
        if level.is_nearly_used_up or level is exceeded:
            yield BudgetNotice("warning", level)
        if level.is_used_up or level is exceeded:
            yield BudgetNotice("exceeded", level)


def decide(levels: Sequence[BudgetLevel], *, may_wait: bool = True) -> Admission:
    """Decide about a model call.

    A call begins while no budget is used up, so that the last one may exceed it. Another one beside it waits if the
    calls in flight may use up what is left: budgets are then exceeded by one call, not by all that run at once. With
    strict budgets it begins only if its estimate fits as well. A budget that stops runs comes before one that pauses
    them.
    """

    def by_pausing(found: Iterable[BudgetLevel]) -> list[BudgetLevel]:
        return sorted(found, key=lambda level: level.budget.pauses)

    used_up = by_pausing(level for level in levels if level.refuses)
    warnings = tuple(level for level in levels if level.is_nearly_used_up)
    if used_up:
        return Admission("refused", used_up[0], warnings)
    tight = by_pausing(level for level in levels if level.is_tight)
    if tight and may_wait:
        return Admission("waits", None, warnings)
    # A call inside another one cannot wait for it.
    strict = [level for level in tight if level.budget.is_strict]
    return Admission("refused", strict[0], warnings) if strict else Admission("admitted", None, warnings)


class BudgetExceeded(RunError):
    """A budget is used up. ``retry_after`` is in seconds; None if the budget is for no day."""

    def __init__(self, level: BudgetLevel, now: datetime | None = None) -> None:
        self.level = level
        self.retry_after = None
        if level.resets_at is not None and now is not None:
            self.retry_after = max(1, int((level.resets_at - now).total_seconds()) + 1)
        used = shown_amount(level.budget.unit, level.used)
        end = "it has no reset" if level.resets_at is None else f"it is reset at {level.resets_at:%Y-%m-%dT%H:%M:%SZ}"
        if level.is_used_up:
            super().__init__(f"The budget of {level} is used up ({used}); {end}, and an operator can raise it")
        else:
            wanted = shown_amount(level.budget.unit, level.wanted)
            super().__init__(
                f"The budget of {level} is too small for the next model call ({used} used, and up to {wanted} for the "
                f"call); {end}. Send less, set max_tokens of the model, or let an operator raise the budget"
            )


class BudgetAnswerRefused(RunError):
    """The answer to an interrupt of a budget is invalid, or its user may not raise the budget. The thread still
    waits."""


def may_raise(actor: ActorContext, budget: Budget, scopes: frozenset[str]) -> bool:
    """Return whether an actor may raise a budget: a user that of their run or thread, one of the ``scopes`` any."""
    is_single = not actor.is_authenticated or actor.is_server
    return is_single or not budget.is_of_others or not scopes.isdisjoint(actor.scopes)


def interrupt_value(level: BudgetLevel) -> JsonObject:
    """Return the value of the interrupt that asks to raise a budget."""
    return {
        "type": INTERRUPT_TYPE,
        "message": f"The budget of {level} is used up. Raise it, or stop?",
        "budget": level.to_json(),
    }


def is_budget_interrupt(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == INTERRUPT_TYPE and isinstance(value.get("budget"), dict)


def raise_of(answer: Any) -> Decimal | Literal["own", "stop"]:
    """Return the amount by which an answer raises a budget, ``own`` for its own size. Raises BudgetAnswerRefused."""
    match answer:
        case {"action": "stop"}:
            return "stop"
        case {"action": "raise", "amount": int() | float() as amount} if _is_amount(amount):
            return Decimal(str(amount))
        case {"action": "raise"} if "amount" not in answer:
            return "own"
        case _:
            raise BudgetAnswerRefused(
                'answer with {"action": "raise"}, {"action": "raise", "amount": 1000} or {"action": "stop"}'
            )


def _is_amount(amount: float) -> bool:
    # True is a number, and JSON can write one that is infinite.
    return not isinstance(amount, bool) and 0 < amount <= _MOST


def shown_amount(unit: BudgetUnit, amount: Decimal) -> str:
    return f"{int(amount):,} tokens" if unit == "tokens" else f"{amount:.4f} US dollars"


def _number(amount: Decimal) -> int | float:
    return int(amount) if amount == amount.to_integral_value() else float(amount)
