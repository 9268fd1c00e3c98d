"""Limits and budgets of a user with their use, from SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from runstead.resources.allowances import Allowances, BudgetUse, LimitLevel
from runstead.runtime.actor_context import ActorContext, across_tenants, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.runs.budgets import BudgetPlace

from .database import Database
from .run_budgets import Budgets
from .run_quota import count_runs


class SqlAllowanceReader:
    """AllowanceReader over a Database. ``graph_ids``: the graphs that budgets for each graph are shown for."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        limits: Sequence[LimitLevel],
        budgets: Budgets | None,
        graph_ids: Sequence[str],
    ) -> None:
        self._database, self._clock = database, clock
        self._limits, self._budgets, self._graph_ids = limits, budgets, graph_ids

    async def read(self) -> Allowances:
        actor = require_actor_context("reading limits")

        def work(connection: Connection) -> Allowances:
            limits = [_used(connection, level, actor) for level in self._limits]
            return Allowances(limits, list(self._uses(connection, actor)))

        # A budget of a graph counts the runs of all tenants.
        with across_tenants():
            return await self._database.read(work)

    def _uses(self, connection: Connection, actor: ActorContext) -> Iterator[BudgetUse]:
        if self._budgets is None:
            return
        day = self._clock.now().date()
        for budget in self._budgets.all:
            if not {"run", "thread"}.isdisjoint(budget.per):
                yield BudgetUse(budget)
                continue
            for graph_id in self._graph_ids if "graph" in budget.per else (None,):
                place = BudgetPlace(actor.tenant_id, actor.user_id, graph_id or "", day)
                (level,) = self._budgets.levels(connection, place, [budget])
                yield BudgetUse(budget, level, graph_id)


def _used(connection: Connection, level: LimitLevel, actor: ActorContext) -> LimitLevel:
    if level.kind not in ("runs", "queued_runs"):
        return level
    return replace(level, used=count_runs(connection, level.limit, actor, queued=level.kind == "queued_runs"))
