"""Row-level security of PostgreSQL: without any condition of ours, a transaction sees its tenant's rows only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import conninfo
from sqlalchemy import Connection, delete, func, insert, select, update

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.prices.genai import GenaiPrices
from runstead.infra.storage import checkpoint_tables
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.row_security import ITEM_TABLES, PART_TABLES, TENANT_TABLES, UNLIMITED_TABLES
from runstead.infra.storage.run_budgets import Budgets
from runstead.infra.storage.schema import items, metadata, run_usage, runs, thread_priorities, threads
from runstead.infra.storage.threads import SqlThreadStore
from runstead.resources.item_sharing import own_room
from runstead.resources.storage_errors import StorageUnusable
from runstead.runtime.actor_context import ActorContext, across_tenants, acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.budgets import Budget, BudgetPlace
from runstead.runtime.runs.types import USAGE_COUNTS, ThreadId
from tests.servers.postgres import a_schema, own_postgres

CONFIG = Path(__file__).parents[1] / "auth" / "roles.json"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACME, UMBRELLA = (ActorContext("alice", tenant_id=tenant) for tenant in ("acme", "umbrella' OR 'x"))


@pytest.fixture(scope="module")
def superuser_url() -> Iterator[str]:
    with own_postgres() as server:
        yield server.url


@pytest.fixture(scope="module")
def role_url(superuser_url: str) -> str:
    """The URL of a role that may create schemas, and is no superuser."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE app LOGIN PASSWORD 'app' NOSUPERUSER")
        connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO app")
    given = conninfo.conninfo_to_dict(superuser_url)
    return f"postgresql://app:app@{given['host']}:{given['port']}/{given['dbname']}"


async def add(database: PostgresDatabase, table: Any, row: dict[str, Any]) -> None:
    await database.write(lambda c: c.execute(insert(table).values(row)).close())


def deleted(connection: Connection, table: Any) -> int:
    """Delete all rows, and return their number."""
    return connection.execute(delete(table)).rowcount


async def tenants_in(database: PostgresDatabase, table: Any, *, quick: bool = False) -> list[str]:
    """Return the tenants of all rows, as a statement that forgot its condition sees them."""
    rows = await database.read(
        lambda c: c.execute(select(table.c.tenant_id).distinct().order_by(table.c.tenant_id)).scalars().all(),
        quick=quick,
    )
    return list(rows)


async def test_statement_without_a_condition_sees_and_changes_one_tenant(role_url: str, tmp_path: Path) -> None:
    schema = a_schema()
    async with open_postgres_storage(
        role_url, PostgresOptions(pool_size=4, row_security=True, schema=schema)
    ) as database:
        for actor in (ACME, UMBRELLA):
            with acting(actor):
                await SqlThreadStore(database, SystemClock()).create()
        with acting(ACME):
            for quick in (False, True):
                assert await tenants_in(database, threads, quick=quick) == ["acme"]
            moved = update(threads).values(tenant_id=UMBRELLA.tenant_id)
            with pytest.raises(Exception, match="row-level security"):
                await database.write(lambda c: c.execute(moved).close())
            assert await database.write(lambda c: c.execute(update(threads).values(status="busy")).rowcount) == 1
            assert await database.write(lambda c: c.execute(delete(threads)).rowcount) == 1
            with across_tenants():
                assert await tenants_in(database, threads) == ["umbrella' OR 'x"]
        with acting(UMBRELLA):
            assert await tenants_in(database, threads) == ["umbrella' OR 'x"]
        # The server's own work has no actor, also on a connection that had one before.
        assert await asyncio.gather(*(tenants_in(database, threads) for _ in range(8))) == [["umbrella' OR 'x"]] * 8


async def test_role_that_bypasses_row_security_is_refused(superuser_url: str) -> None:
    options = PostgresOptions(pool_size=2, row_security=True, schema=a_schema())
    with pytest.raises(StorageUnusable, match="superuser"):
        async with open_postgres_storage(superuser_url, options):
            pass


async def test_servers_may_start_at_once(role_url: str) -> None:
    options = PostgresOptions(pool_size=2, row_security=True, schema=a_schema())

    async def start() -> None:
        async with open_postgres_storage(role_url, options):
            pass

    await asyncio.gather(*(start() for _ in range(4)))


def test_every_table_is_limited_or_listed() -> None:
    every = {*metadata.tables, *checkpoint_tables.metadata.tables}
    limited = {table.name for table in (*TENANT_TABLES, *PART_TABLES, *ITEM_TABLES)}
    assert every - limited == set(UNLIMITED_TABLES)
    assert limited.isdisjoint(UNLIMITED_TABLES)


async def test_parts_of_rows_of_another_tenant_are_neither_seen_nor_written(role_url: str) -> None:
    schema = a_schema()
    options = PostgresOptions(pool_size=4, row_security=True, schema=schema)
    async with open_postgres_storage(role_url, options) as database:
        for actor, thread_id in ((ACME, "t-acme"), (UMBRELLA, "t-umbrella")):
            with acting(actor):
                await SqlThreadStore(database, SystemClock()).create(ThreadId(thread_id))
        checkpoints, writes = checkpoint_tables.checkpoints, checkpoint_tables.writes
        rows: list[tuple[Any, dict[str, Any]]] = [
            (thread_priorities, {"thread_id": "t-acme", "priority": 1}),
            (checkpoints, {"thread_id": "t-acme", "checkpoint_ns": "", "checkpoint_id": "1", "position": 1}),
            (writes, {"thread_id": "t-acme", "checkpoint_ns": "", "checkpoint_id": "1", "task_id": "1", "idx": 0,
                      "task_path": "", "channel": "c"}),
        ]  # fmt: skip
        for table, row in rows:
            with acting(UMBRELLA), pytest.raises(Exception, match="row-level security"):
                await add(database, table, row)
            with acting(ACME):
                await add(database, table, row)

            def count(connection: Connection, table: Any = table) -> int:
                return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

            for actor, number in ((ACME, 1), (UMBRELLA, 0)):
                with acting(actor):
                    assert (table.name, await database.read(count)) == (table.name, number)
            with acting(UMBRELLA):
                assert await database.write(partial(deleted, table=table)) == 0
            assert await database.read(count) == 1
        # What remains of a deleted thread can be deleted.
        with acting(ACME):
            await database.write(lambda c: c.execute(delete(threads)).close())
            assert await database.write(lambda c: c.execute(delete(checkpoints)).rowcount) == 1


async def test_items_of_another_tenant_are_neither_seen_nor_written(role_url: str) -> None:
    schema = a_schema()
    options = PostgresOptions(pool_size=4, row_security=True, schema=schema)
    dotted = ActorContext("alice", tenant_id="acme.eu")
    async with open_postgres_storage(role_url, options) as database:
        for actor in (ACME, UMBRELLA, dotted):
            with acting(actor):
                place = ".".join((*own_room(actor), "notes"))
                row = {"namespace": place, "key": "key", "created_at": NOW, "updated_at": NOW, "value": "{}"}
                await add(database, items, row)
        for actor in (ACME, UMBRELLA, dotted):
            with acting(actor):
                found = await database.read(lambda c: c.execute(select(items.c.namespace)).scalars().all())
                assert len(found) == 1
                assert await database.write(lambda c: c.execute(update(items).values(key="moved")).rowcount) == 1
                with pytest.raises(Exception, match="row-level security"):
                    await database.write(lambda c: c.execute(update(items).values(namespace="other.alice")).close())


async def test_budget_over_all_tenants_counts_all_of_them(role_url: str) -> None:
    schema = a_schema()
    options = PostgresOptions(pool_size=4, row_security=True, schema=schema)
    budgets = Budgets(
        [Budget(("graph",), "tokens", Decimal(100)), Budget(("user",), "tokens", Decimal(100))], GenaiPrices()
    )
    async with open_postgres_storage(role_url, options) as database:
        for actor in (ACME, UMBRELLA):
            counts = dict.fromkeys((*USAGE_COUNTS, "attempt"), 0)
            names = {"model": "m", "provider": "", "caller": "all", "day": "2026-01-01", "graph_id": "agent"}
            ids = {"run_id": actor.tenant_id, "thread_id": "t", "tenant_id": actor.tenant_id, "user_id": "alice"}
            row = {**counts, **names, **ids, "total_tokens": 30}
            with acting(actor):
                await add(database, run_usage, row)
        place = BudgetPlace("acme", "alice", "agent", date(2026, 1, 1))

        def used(connection: Connection) -> list[int]:
            return [int(level.used) for level in budgets.levels(connection, place, budgets.all)]

        with acting(ACME):
            assert await database.read(used) == [60, 30]
            # The limit holds again after it.
            assert await tenants_in(database, run_usage) == ["acme"]


async def test_runs_of_two_tenants_work_as_without_it(role_url: str, redis_url: str, tmp_path: Path) -> None:
    schema = a_schema()
    application = Application.from_file(
        CONFIG,
        data_dir=tmp_path / "data",
        port=0,
        shutdown_grace_seconds=0.1,
        database_url=role_url,
        database_schema=schema,
        database_pool_size=4,
        database_row_security=True,
        redis_url=redis_url,
        authenticator=str(Path(__file__).parent / "tenant_authenticator.py") + ":ByHeader",
    )
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        for tenant in ("acme", "umbrella"):
            own = {"x-tenant": tenant}
            thread = (await http.post("/threads", json={}, headers=own)).json()["thread_id"]
            inputs: tuple[dict[str, Any], ...] = ({"input": {}}, {"command": {"resume": "yes"}})
            for run in inputs:
                done = await http.post(
                    f"/threads/{thread}/runs/wait", json={"assistant_id": "asker", **run}, headers=own
                )
                assert done.status_code == 200, done.text
            found = (await http.get(f"/threads/{thread}/runs", headers=own)).json()
            assert [one["status"] for one in found] == ["success", "success"]
            cron = {"assistant_id": "asker", "schedule": "0 0 29 2 *"}
            assert (await http.post("/runs/crons", json=cron, headers=own)).status_code == 200
            for path in ("/threads/search", "/assistants/search", "/runs/crons/search"):
                assert len((await http.post(path, json={}, headers=own)).json()) >= 1, path
            assert (await http.delete(f"/threads/{thread}", headers=own)).status_code == 204
    async with open_postgres_storage(
        role_url, PostgresOptions(pool_size=2, row_security=True, schema=schema)
    ) as database:
        assert await tenants_in(database, runs) == []
