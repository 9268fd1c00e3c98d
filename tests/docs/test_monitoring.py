"""The queries of docs/scale.md, on a real PostgreSQL with the current tables, return the documented values."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from sqlalchemy import Connection, text

from runstead.infra.engines.postgres import PostgresDatabase
from tests.docs.pages import ROOT, blocks
from tests.servers.postgres import PostgresSchema

QUERIES: Final = {
    re.match(r"-- (\w+):", block.code)[1]: block.code  # type: ignore[index]  # each says what it is for
    for block in blocks("sql", pages=[ROOT / "docs" / "scale.md"])
}
_RUN: Final = """
INSERT INTO runs (run_id, thread_id, tenant_id, user_id, assistant_id, status, created_at, updated_at, due_at,
                  attempt, lost_attempts, worker, lease_until, ended_at, dead_letter, temporary, actor, metadata, spec)
VALUES (:run, :thread, 't', 'u', 'agent', :status, now(), now(), now() + :due * interval '1 second', 1, 0,
        :worker, now() + :lease * interval '1 second', :ended, :dead, false, '{}', '{}', '{}')
"""
_DELIVERY: Final = """
INSERT INTO webhook_deliveries (delivery_id, tenant_id, user_id, run_id, thread_id, url, status, attempts, claims,
                                created_at, next_attempt_at, ended_at, actor, metadata, body)
VALUES (:id, 't', 'u', 'r', 'h', 'https://example.com', :status, 1, 1,
        now(), now() + :due * interval '1 second', :ended, '{}', '{}', '')
"""
_CRON: Final = """
INSERT INTO crons (cron_id, tenant_id, user_id, assistant_id, schedule, enabled, next_run_date, last_error, created_at,
                   updated_at, actor, metadata, payload)
VALUES (:id, 't', 'u', 'agent', '* * * * *', :enabled,
        now() + :due * interval '1 second', :error, now(), now(), '{}', '{}', '{}')
"""


@pytest.fixture
async def database(postgres_schema: PostgresSchema) -> PostgresDatabase:
    return await postgres_schema.emptied()


async def asked(database: PostgresDatabase, name: str) -> list[dict[str, Any]]:
    """Rows of a query of the page, with this test's schema in place of the documented one."""
    schema = database.options.schema
    query = QUERIES[name].replace("runstead.", f"{schema}.").replace("= 'runstead' O", f"= '{schema}' O")

    def work(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(query)).mappings()]

    return await database.read(work)


async def insert(database: PostgresDatabase, statement: str, *rows: dict[str, Any]) -> None:
    await database.write(lambda connection: connection.execute(text(statement), list(rows)).close())


def a_run(run: str, thread: str, **how: Any) -> dict[str, Any]:
    defaults = {"status": "pending", "due": -5, "worker": None, "lease": None, "ended": None, "dead": False}
    return {"run": run, "thread": thread, **defaults, **how}


@pytest.mark.parametrize("name", QUERIES)
async def test_query_runs(name: str, database: PostgresDatabase) -> None:
    await asked(database, name)


async def test_backlog_counts_runs_waiting_for_a_worker(database: PostgresDatabase) -> None:
    await insert(
        database,
        _RUN,
        a_run("waits", "one", due=-60),
        a_run("behind it", "one", due=-90),
        a_run("held", "two", status="running", worker="w", lease=10),
        a_run("behind a held one", "two"),
        a_run("for later", "three", due=60),
    )
    (row,) = await asked(database, "backlog")
    assert (row["waiting"], row["behind_others"]) == (1, 2)
    assert 59 < row["oldest_seconds"] < 75


async def test_expired_leases_are_listed_with_their_workers(database: PostgresDatabase) -> None:
    await insert(
        database,
        _RUN,
        a_run("one", "one", status="running", worker="alive", lease=10),
        a_run("two", "two", status="running", worker="alive", lease=10),
        a_run("three", "three", status="running", worker="dead", lease=-10),
    )
    rows = await asked(database, "workers")
    assert [(row["worker"], row["runs"], row["expired"]) for row in rows] == [("alive", 2, 0), ("dead", 1, 1)]


async def test_dead_letters_are_listed(database: PostgresDatabase) -> None:
    await insert(database, _RUN, a_run("dead", "one", status="error", dead=True), a_run("alive", "two"))
    assert [row["run_id"] for row in await asked(database, "dead")] == ["dead"]


async def test_pending_deliveries_are_counted(database: PostgresDatabase) -> None:
    await insert(
        database,
        _DELIVERY,
        {"id": "1", "status": "pending", "due": -30, "ended": None},
        {"id": "2", "status": "pending", "due": 30, "ended": None},
        {"id": "3", "status": "delivered", "due": None, "ended": None},
    )
    (row,) = await asked(database, "deliveries")
    assert (row["owed"], row["given_up"]) == (2, 0)
    assert 29 < row["overdue_seconds"] < 45


async def test_crons_that_are_late_or_fail_are_listed(database: PostgresDatabase) -> None:
    rows = [
        ("late", True, -120, None),
        ("fails", True, 60, "busy"),
        ("paused", False, -120, None),
        ("fine", True, 60, None),
    ]
    await insert(
        database, _CRON, *({"id": name, "enabled": on, "due": due, "error": error} for name, on, due, error in rows)
    )
    assert {row["cron_id"] for row in await asked(database, "crons")} == {"late", "fails"}


async def test_jobs_are_counted_by_queue(database: PostgresDatabase) -> None:
    await insert(
        database,
        "INSERT INTO procrastinate_jobs (queue_name, task_name, scheduled_at)"
        " VALUES (:queue, 'x', now() + :due * interval '1 second')",
        {"queue": "gpu", "due": -30},
        {"queue": "gpu", "due": -20},
        {"queue": "default", "due": 90},
    )
    rows = await asked(database, "jobs")
    assert [(row["queue_name"], row["status"], row["jobs"]) for row in rows] == [("gpu", "todo", 2)]


async def test_own_connections_are_distinguished_from_others(database: PostgresDatabase) -> None:
    (row,) = await asked(database, "connections")
    assert 0 < row["pooled_by_us"] <= row["used"] < row["allowed"]
