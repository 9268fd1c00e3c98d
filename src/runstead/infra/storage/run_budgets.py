"""Budgets in SQL: sums of the usage of all runs, and what calls in flight reserve, checked in one transaction.

Transactions that count together take turns, on PostgreSQL by locks of their counters. SQLite has one writer anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, and_, cast, delete, func, literal, select

from runstead.resources.usage import PriceList
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.runs.budgets import (
    Admission,
    Budget,
    BudgetExceeded,
    BudgetLevel,
    BudgetNotice,
    BudgetPlace,
    BudgetScope,
    decide,
    notices_of,
)
from runstead.runtime.runs.types import USAGE_COUNTS, Lease, ModelUsage, RunRecord

from .budget_notices import write_notices
from .database import Database
from .dialect import put_row
from .row_security import lifted_row_security
from .run_predicates import lock_attempt
from .run_usage import write_usage
from .schema import budget_raises, budget_reservations, run_usage, runs

_log = logging.getLogger(__name__)

_SUMS: Final = tuple(cast(func.sum(run_usage.c[name]), BigInteger) for name in USAGE_COUNTS)
_LIVE: Final = (
    select(runs.c.run_id)
    .where(
        runs.c.run_id == budget_reservations.c.run_id,
        runs.c.attempt == budget_reservations.c.attempt,
        runs.c.lease_until.is_not(None),
    )
    .exists()
)


class Budgets:
    """Reads the levels of budgets in a transaction of the caller's."""

    def __init__(self, budgets: Sequence[Budget], prices: PriceList, webhook: str | None = None) -> None:
        """``webhook`` is the address that gets the notices."""
        self.all, self.webhook, self._prices = tuple(budgets), webhook, prices
        self._unpriced: set[str] = set()
        self._has_costs = any(budget.unit == "usd" for budget in self.all)

    def levels(
        self, connection: Connection, place: BudgetPlace, budgets: Iterable[Budget], wanted: ModelUsage | None = None
    ) -> list[BudgetLevel]:
        """Return the levels of ``budgets`` at a place, for a call that wants to use this much."""
        found = []
        for budget in budgets:
            with nullcontext() if budget.is_of_one_tenant else lifted_row_security(connection):
                found.append(self._level(connection, budget, place, wanted))
        return found

    def check_new(
        self, connection: Connection, actor: ActorContext, created: Iterable[RunRecord], now: datetime
    ) -> None:
        """Raise BudgetExceeded if a new run could not call a model. A budget that pauses runs lets them begin."""
        budgets = [one for one in self.all if not one.pauses and "run" not in one.per]
        places = {(run.spec.graph_id, run.thread_id): run for run in created} if budgets else {}
        for graph_id, thread_id in places:
            place = BudgetPlace(actor.tenant_id, actor.user_id, graph_id, now.date(), thread_id)
            for level in self.levels(connection, place, budgets):
                if level.is_used_up:
                    raise BudgetExceeded(level, now)

    def price(self, usage: ModelUsage) -> Decimal:
        """Return the cost in US dollars; zero without a price, which is logged once."""
        if not self._has_costs:
            return Decimal()
        cost = self._prices.cost(usage)
        if cost is None and usage.model not in self._unpriced:
            self._unpriced.add(usage.model)
            _log.warning("model %s has no price: budgets in US dollars do not count it; bound its tokens", usage.model)
        return cost or Decimal()

    def _level(
        self, connection: Connection, budget: Budget, place: BudgetPlace, wanted: ModelUsage | None
    ) -> BudgetLevel:
        in_tokens = budget.unit == "tokens"
        column = budget_reservations.c.tokens if in_tokens else budget_reservations.c.usd
        in_flight = select(func.sum(column)).where(_LIVE, *_at(budget_reservations, budget, place, skips="day"))
        added = select(func.sum(budget_raises.c.amount)).where(budget_raises.c.budget == budget.key(place))
        # Before the usage: a call that ends between the two statements then counts twice, and not at all otherwise.
        reserved = _decimal(connection.execute(in_flight).scalar())
        models = _used(connection, budget, place)
        used = sum((Decimal(one.total_tokens) if in_tokens else self.price(one) for one in models), Decimal())
        return BudgetLevel(
            budget,
            budget.amount + _decimal(connection.execute(added).scalar()),
            used,
            reserved,
            budget.resets_at(place),
            Decimal() if wanted is None else Decimal(wanted.total_tokens) if in_tokens else self.price(wanted),
        )


class SqlRunBudgetStore:
    """RunBudgetStore over a Database."""

    def __init__(self, database: Database, clock: Clock, budgets: Budgets) -> None:
        self._database, self._clock, self._budgets = database, clock, budgets

    async def admit(
        self,
        lease: Lease,
        usage: Sequence[ModelUsage],
        open_calls: Sequence[ModelUsage],
        wanted: ModelUsage,
        *,
        may_wait: bool = True,
    ) -> Admission:
        def work(connection: Connection) -> Admission:
            place = self._place(lease.run)
            self._line_up(connection, place)
            self._write(connection, lease, usage, open_calls)
            levels = self._budgets.levels(connection, place, self._budgets.all, wanted)
            admission = decide(levels, may_wait=may_wait)
            if admission.kind == "admitted":
                self._reserve(connection, lease, [*open_calls, wanted])
            return replace(admission, notices=self._notice(connection, lease, place, levels, admission.exceeded))

        # The reservation need not outlive a power cut, nor does the call.
        return await self._database.write(work, durable=False)

    async def report(
        self, lease: Lease, usage: Sequence[ModelUsage], open_calls: Sequence[ModelUsage]
    ) -> Sequence[BudgetNotice]:
        def work(connection: Connection) -> Sequence[BudgetNotice]:
            place = self._place(lease.run)
            # In turn with all others, or two calls that end at once would each miss the usage of the other.
            self._line_up(connection, place)
            self._write(connection, lease, usage, open_calls)
            levels = self._budgets.levels(connection, place, self._budgets.all)
            return self._notice(connection, lease, place, levels)

        return await self._database.write(work, durable=False)

    async def add(self, lease: Lease, level: BudgetLevel, amount: Decimal) -> None:
        def work(connection: Connection) -> None:
            lock_attempt(connection, lease.holder)
            row = {
                "run_id": lease.run_id,
                "budget": level.budget.key(self._place(lease.run)),
                "amount": float(amount),
                "user_id": lease.run.actor.user_id,
                "at": self._clock.now(),
            }
            put_row(connection, budget_raises, row)

        await self._database.write(work)

    async def levels(self, lease: Lease) -> Sequence[BudgetLevel]:
        place = self._place(lease.run)
        return await self._database.read(lambda connection: self._budgets.levels(connection, place, self._budgets.all))

    def _notice(
        self,
        connection: Connection,
        lease: Lease,
        place: BudgetPlace,
        levels: Sequence[BudgetLevel],
        exceeded: BudgetLevel | None = None,
    ) -> tuple[BudgetNotice, ...]:
        found = tuple(notices_of(levels, exceeded))
        return write_notices(connection, lease.run, place, found, self._budgets.webhook, self._clock.now())

    def _place(self, run: RunRecord) -> BudgetPlace:
        day, actor = self._clock.now().date(), run.actor
        return BudgetPlace(actor.tenant_id, actor.user_id, run.spec.graph_id, day, run.thread_id, run.run_id)

    def _line_up(self, connection: Connection, place: BudgetPlace) -> None:
        if connection.dialect.name != "postgresql":
            return
        # Sorted, so that no two transactions wait for each other.
        for name in sorted({"\x1f".join(("budget", budget.key(place))) for budget in self._budgets.all}):
            turn = select(func.pg_advisory_xact_lock(func.hashtextextended(literal(name), 0)))
            connection.execute(turn).close()

    def _write(
        self, connection: Connection, lease: Lease, usage: Sequence[ModelUsage], open_calls: Sequence[ModelUsage]
    ) -> None:
        lock_attempt(connection, lease.holder)
        write_usage(connection, lease.run, lease.attempt, usage, self._clock.now())
        self._reserve(connection, lease, open_calls)

    def _reserve(self, connection: Connection, lease: Lease, calls: Sequence[ModelUsage]) -> None:
        """Replace what the attempt has reserved, and remove what earlier attempts have."""
        table, actor = budget_reservations, lease.run.actor
        gone = table.c.run_id == lease.run_id
        if calls:
            gone = and_(gone, table.c.attempt != lease.attempt)
        connection.execute(delete(table).where(gone))
        if calls:
            row = {
                "run_id": lease.run_id,
                "attempt": lease.attempt,
                "thread_id": lease.thread_id,
                "tenant_id": actor.tenant_id,
                "user_id": actor.user_id,
                "graph_id": lease.run.spec.graph_id,
                "tokens": sum(one.total_tokens for one in calls),
                "usd": float(sum((self._budgets.price(one) for one in calls), Decimal())),
            }
            put_row(connection, table, row)


def _used(connection: Connection, budget: Budget, place: BudgetPlace) -> Sequence[ModelUsage]:
    """Return the sums of what counts for a budget, by model."""
    by = (run_usage.c.model, run_usage.c.provider)
    rows = connection.execute(select(*by, *_SUMS).where(*_at(run_usage, budget, place)).group_by(*by))
    return [
        ModelUsage(model, provider or None, "all", **dict(zip(USAGE_COUNTS, map(int, counts), strict=True)))
        for model, provider, *counts in rows
    ]


def _at(
    table: Table, budget: Budget, place: BudgetPlace, skips: BudgetScope | None = None
) -> Sequence[ColumnElement[bool]]:
    """Return the conditions of the rows that count for a budget at a place."""
    values: Mapping[BudgetScope, Mapping[str, str]] = {
        "run": {"run_id": place.run_id},
        "thread": {"tenant_id": place.tenant_id, "thread_id": place.thread_id},
        "user": {"tenant_id": place.tenant_id, "user_id": place.user_id},
        "tenant": {"tenant_id": place.tenant_id},
        "graph": {"graph_id": place.graph_id},
        "day": {"day": place.day.isoformat()},
    }
    wanted = {name: value for scope in budget.per if scope != skips for name, value in values[scope].items()}
    return [table.c[name] == value for name, value in wanted.items()]


def _decimal(found: object) -> Decimal:
    return Decimal(str(found)) if found is not None else Decimal()
