"""Notices of budgets are found once, whichever process finds them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from runstead.infra.prices.genai import GenaiPrices
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_budgets import Budgets, SqlRunBudgetStore
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.schema import budget_notices, webhook_deliveries
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.budgets import Budget, BudgetNotice
from runstead.runtime.runs.types import Lease, ModelUsage, ThreadId, WorkerId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import ALICE, TERM, a_spec, decide

DAILY = Budget(("user", "day"), "tokens", Decimal(100))


class Deployment:
    """Runs of one user, and the budgets of two processes over one database."""

    def __init__(self, database: Any) -> None:
        self.clock, self.database = ManualClock(), database
        self.create = SqlRunCreateStore(database, self.clock, lambda: None)
        self.leases = SqlRunLeaseStore(database, self.clock, lambda: None)
        budgets = Budgets([DAILY], GenaiPrices(), "https://example.org/budgets")
        self.processes = [SqlRunBudgetStore(database, self.clock, budgets) for _ in range(2)]

    async def begun(self, thread_id: str) -> Lease:
        with acting(ALICE):
            (created,) = await self.create.create_runs([a_spec(thread_id=ThreadId(thread_id))], decide)
        lease = await self.leases.claim(created.record.run_id, WorkerId("w"), TERM)
        assert lease is not None
        return await self.leases.begin(lease, None)

    async def count(self, table: Any) -> int:
        statement = select(func.count()).select_from(table)
        return int(await self.database.read(lambda connection: connection.execute(statement).scalar_one()))


@pytest.fixture
def deployment(database: Database) -> Deployment:
    return Deployment(database)


def used(tokens: int) -> list[ModelUsage]:
    return [ModelUsage("m", None, "all", 1, tokens, 0, tokens)]


async def reported(deployment: Deployment, leases: list[Lease], tokens: int) -> list[str]:
    """Return the kinds of notices when all runs report at once that they have used this much."""
    found: list[Any] = await asyncio.gather(
        *(deployment.processes[n % 2].report(lease, used(tokens), []) for n, lease in enumerate(leases))
    )
    notices: list[BudgetNotice] = [notice for part in found for notice in part]
    return [notice.kind for notice in notices]


async def test_calls_that_end_at_once_in_two_processes_give_one_notice(deployment: Deployment) -> None:
    leases = [await deployment.begun(f"t-{number}") for number in range(8)]
    assert await reported(deployment, leases, 9) == []
    assert await reported(deployment, leases, 10) == ["warning"]
    assert await reported(deployment, leases, 11) == []
    assert await reported(deployment, leases, 13) == ["exceeded"]
    assert await reported(deployment, leases, 14) == []
    assert await deployment.count(webhook_deliveries) == 2
    # Another day is another window.
    await deployment.clock.advance(timedelta(days=1))
    later = await deployment.begun("t-9")
    assert await reported(deployment, [later], 80) == ["warning"]


async def test_notices_are_deleted_long_after_their_window(deployment: Deployment) -> None:
    await reported(deployment, [await deployment.begun("t-1")], 100)
    assert await deployment.count(budget_notices) == 2
    sweeper = StorageSweeper(deployment.database, deployment.clock)
    for days, left in ((20, 2), (20, 0)):
        await deployment.clock.advance(timedelta(days=days))
        await sweeper.sweep(timedelta(days=1))
        assert await deployment.count(budget_notices) == left
