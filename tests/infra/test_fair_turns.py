"""Runs in fair order, on both databases."""

from __future__ import annotations

import pytest

from runstead.infra.storage.database import Database
from runstead.infra.storage.fair_queue import group_by_user
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.fair_turns import group_of
from runstead.runtime.runs.types import ThreadId
from runstead.testing.conformance.fair_turns import FairTurnsConformance, in_group
from runstead.testing.conformance.run_storage import DONE, RunStorage
from tests.servers.stores import stores_over


@pytest.fixture
def storage(database: Database) -> RunStorage:
    return stores_over(database, by_turns=True)


class TestFairTurns(FairTurnsConformance):
    pass


async def test_runs_from_before_there_were_turns_join_the_groups_of_their_users(
    storage: RunStorage, database: Database
) -> None:
    ended = await stores_over(database).accept(ThreadId("t-0"))
    await storage.leases.settle(await storage.begun(ended), DONE)
    for number in range(3):
        await storage.accept(ThreadId(f"t-{number}"), run_id=f"old-{number}")
    assert await storage.leases.list_claimable(10) == []
    assert await group_by_user(database) == 3
    await storage.accept(ThreadId("t-4"), run_id="new", scheduling=in_group(group_of(storage.actor)))
    await storage.accept(ThreadId("t-5"), run_id="other", scheduling=in_group(group_of(ActorContext("bob"))))
    assert await storage.leases.list_claimable(10) == ["old-0", "other", "old-1", "old-2", "new"]
