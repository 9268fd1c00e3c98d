"""The queue's figures for metrics, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert

from runstead.infra.storage.database import Database
from runstead.infra.storage.queue_figures import queue_figures
from runstead.infra.storage.schema import crons, runs, webhook_deliveries
from runstead.infra.storage.sizes import database_sizes
from runstead.runtime.json_types import JsonObject
from tests.servers.rows import run_row

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def a_run(number: int, thread: str, due: datetime, **changed: object) -> JsonObject:
    waits = {"status": "pending", "attempt": 0, "worker": None, "lease_until": None, "ended_at": None}
    return run_row(f"r{number}", due, thread_id=thread, **{**waits, **changed})


def a_delivery(number: int, due: datetime | None, status: str) -> JsonObject:
    return {
        "delivery_id": f"d{number}",
        "tenant_id": "t",
        "user_id": "u",
        "run_id": "r",
        "thread_id": "h",
        "url": "https://example.com",
        "status": status,
        "attempts": 0,
        "claims": 0,
        "created_at": NOW,
        "next_attempt_at": due,
        "actor": "{}",
        "metadata": "{}",
        "body": b"",
    }


def a_cron(number: int, due: datetime, enabled: bool) -> JsonObject:
    return {
        "cron_id": f"c{number}",
        "tenant_id": "t",
        "user_id": "u",
        "assistant_id": "a",
        "schedule": "* * * * *",
        "enabled": enabled,
        "next_run_date": due,
        "created_at": NOW,
        "updated_at": NOW,
        "actor": "{}",
        "metadata": "{}",
        "payload": "{}",
    }


def fill(connection: Connection) -> None:
    held = {"worker": "w", "status": "running", "attempt": 1}
    connection.execute(
        insert(runs),
        [
            a_run(1, "one", ago(60)),
            a_run(2, "one", ago(50)),
            a_run(3, "two", ago(200), **held, lease_until=ago(-5)),
            a_run(4, "two", ago(90)),
            a_run(5, "three", ago(-3600)),
            a_run(6, "four", ago(300), **held, lease_until=ago(1)),
            a_run(7, "five", ago(900), ended_at=ago(800), dead_letter=True, status="error"),
        ],
    )
    connection.execute(
        insert(webhook_deliveries),
        [a_delivery(1, ago(30), "pending"), a_delivery(2, ago(-30), "pending"), a_delivery(3, None, "failed")],
    )
    connection.execute(insert(crons), [a_cron(1, ago(7), True), a_cron(2, ago(99), False), a_cron(3, ago(-9), True)])


async def test_figures_tell_waiting_for_a_worker_from_waiting_behind_a_run(database: Database) -> None:
    await database.write(fill)
    figures = await database.read(lambda connection: queue_figures(connection, NOW))
    assert (figures.due, figures.claimable, figures.delayed, figures.running) == (3, 1, 1, 2)
    assert (figures.oldest_due, figures.median_due, figures.oldest_claimable) == (90, 60, 60)
    assert (figures.expired_leases, figures.dead_letters) == (1, 1)
    assert (figures.webhooks_owed, figures.webhooks_overdue) == (2, 30)
    assert (figures.crons, figures.cron_lateness) == (2, 7)


async def test_figures_of_an_empty_storage_are_zero(database: Database) -> None:
    figures = await database.read(lambda connection: queue_figures(connection, NOW))
    assert {getattr(figures, name) for name in figures.__slots__} == {0}


async def test_size_of_a_database_is_more_than_nothing(database: Database) -> None:
    sizes = await database_sizes([database])
    assert sizes["runs"].used > 0
