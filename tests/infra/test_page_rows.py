"""A page ends at its byte limit, on either engine, and rows beyond it are not read."""

from __future__ import annotations

from runstead.infra.storage.database import Database
from runstead.infra.storage.items.store import SqlItemStore
from runstead.runtime.actor_context import acting
from runstead.runtime.page_budget import page_within
from runstead.runtime.runs.types import RunFilter, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import ALICE
from tests.servers.stores import stores_over

LARGE = "x" * 4_000


async def test_page_of_runs_ends_at_its_byte_limit(database: Database) -> None:
    stores = stores_over(database)
    for number in range(3):
        await stores.accept(ThreadId(f"t-{number}"), input={"text": LARGE})
    found = []
    with acting(ALICE):
        for limit in (None, 1, 10_000, 100_000):
            with page_within(limit) as page:
                found.append((len(await stores.query.list_runs(RunFilter(), limit=3)), page.is_cut))
    assert found == [(3, False), (1, True), (2, True), (3, False)]


async def test_page_of_items_ends_at_its_byte_limit(database: Database) -> None:
    store = SqlItemStore(database, ManualClock())
    for number in range(3):
        await store.aput(("notes",), str(number), {"text": LARGE})
    for search in ({}, {"filter": {"text": LARGE}}, {"query": LARGE}):
        with page_within(10_000) as page:
            found = await store.asearch(("notes",), **search)
        assert (len(found), page.is_cut) == (2, True)
