"""Allowances of a user: the limits and budgets that apply to them, and how much of each is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from runstead.runtime.limits import Limit
from runstead.runtime.runs.budgets import Budget, BudgetLevel

LimitKind: TypeAlias = Literal["requests", "streams", "runs", "queued_runs"]


@dataclass(frozen=True, slots=True)
class LimitLevel:
    """A limit and its use; ``used`` is None where only the limiter itself counts."""

    kind: LimitKind
    limit: Limit
    used: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """A budget and its level; None if the budget is for each run or thread. ``graph_id``: the graph it counts for."""

    budget: Budget
    level: BudgetLevel | None = None
    graph_id: str | None = None


@dataclass(frozen=True, slots=True)
class Allowances:
    """All limits and budgets that apply to a user."""

    limits: Sequence[LimitLevel] = field(default_factory=tuple)
    budgets: Sequence[BudgetUse] = field(default_factory=tuple)


class AllowanceReader(Protocol):
    """Reader of Allowances."""

    async def read(self) -> Allowances:
        """Return those of the actor."""
        ...


class NoAllowances:
    """AllowanceReader of a server without limits and budgets."""

    async def read(self) -> Allowances:
        return Allowances()
