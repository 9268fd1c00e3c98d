"""The scaled profile's storage on every PostgreSQL from 14 on, and on one with another locale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from runstead.cli.servers.postgres import wheel_binaries
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.resources.assistants import AssistantFilter
from runstead.resources.threads import ThreadFilter
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunStatus, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import ALICE, DONE
from tests.servers.postgres import own_postgres
from tests.servers.postgres_versions import OTHERS, binaries_of
from tests.servers.stores import stores_over


@pytest.mark.parametrize("version", OTHERS)
async def test_every_supported_version_works(version: str) -> None:
    await will_do(binaries_of(version))


async def test_bundled_version_works() -> None:
    await will_do(wheel_binaries())


async def will_do(binaries: Path | None) -> None:
    """All written data can be read again."""
    with own_postgres(binaries) as server:
        async with open_postgres_storage(server.url) as database:
            storage = stores_over(database)
            run = await storage.accept(metadata={"kind": "chat"})
            lease = await storage.begun(run)
            saver = PostgresCheckpoints(database).saver.fenced(lambda: True, lease.holder)
            empty: dict[str, Any] = {"channel_values": {"x": [1]}, "channel_versions": {}, "versions_seen": {}}
            checkpoint: Any = {"v": 4, "id": "c-1", "ts": "2030-01-01T00:00:00+00:00", **empty}
            at = await saver.aput({"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}, checkpoint, {}, {})
            await saver.aput_writes(at, [("x", 2)], "task-1")
            found = await saver.aget_tuple(at)
            assert found is not None
            assert (found.checkpoint["channel_values"], found.pending_writes) == ({"x": [1]}, [("task-1", "x", 2)])
            assert (await storage.leases.settle(lease, DONE)).record.status is RunStatus.SUCCESS
            with acting(ALICE):
                assert await storage.threads.count(ThreadFilter(metadata={"kind": "chat"})) == 1
        # Existing data is found again, and needs no migration.
        async with open_postgres_storage(server.url, migrating=False) as database:
            assert (await stores_over(database).stands(run)).status is RunStatus.SUCCESS


async def test_sort_order_and_case_do_not_depend_on_the_locale(postgres_url: str) -> None:
    """A server that sorts by the rules of a country, and whose "lower" knows only its letters."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        icu = connection.execute("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").fetchone()
        if icu is None or connection.info.server_version < 150000:
            pytest.skip("this PostgreSQL has no ICU")
        connection.execute("DROP DATABASE IF EXISTS runstead_icu WITH (FORCE)")
        connection.execute(
            "CREATE DATABASE runstead_icu LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn' LOCALE 'C' TEMPLATE template0"
        )
    url = postgres_url.replace("/postgres", "/runstead_icu").replace("//runstead_icu:", "//postgres:")
    try:
        async with open_postgres_storage(url) as database:
            storage = stores_over(database)
            for thread_id in ("t-10", "T-9", "t-9", "t_1", "ä"):
                await storage.new_thread(ThreadId(thread_id))
            with acting(ALICE):
                found = await storage.threads.search(ThreadFilter(), sort_by="thread_id", sort_order="asc")
                assert [one.thread_id for one in found] == ["T-9", "t-10", "t-9", "t_1", "ä"]
                assistants = SqlAssistantStore(database, ManualClock())
                await assistants.register_graphs({"ÄRZTE": None})
                assert [one.name for one in await assistants.search(AssistantFilter(name="ärzte"))] == ["ÄRZTE"]
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE runstead_icu WITH (FORCE)")
