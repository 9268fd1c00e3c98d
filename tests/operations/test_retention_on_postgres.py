"""Retention on PostgreSQL: the dry run is exact, and rules apply by graph and tenant."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, text

from runstead.bootstrap.retention import Retention, RetentionRounds
from runstead.infra.checkpoints.retention import CheckpointRetention
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.retention import SqlRetention
from runstead.infra.storage.schema import run_events, runs, threads
from runstead.infra.storage.sweeps import SqlSweep
from runstead.resources.retention import RetentionReport, RetentionRule
from runstead.testing.clock import ManualClock
from tests.servers.rows import run_row

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def a_run(number: int, thread: str, ended: datetime) -> dict[str, Any]:
    return run_row(f"r{number}", ended, thread_id=thread)


def a_thread(name: str, tenant: str) -> dict[str, Any]:
    return {
        "thread_id": name,
        "tenant_id": tenant,
        "user_id": "u",
        "status": "idle",
        "resting": "idle",
        "temporary": False,
        "metadata": json.dumps({"graph_id": "agent"}),
        "config": "{}",
        "created_at": NOW,
        "updated_at": NOW,
        "interrupts": b"{}",
    }


def fill(connection: Connection) -> None:
    connection.execute(insert(threads), [a_thread("one", "trial"), a_thread("two", "acme")])
    old, new = NOW - timedelta(days=9), NOW - timedelta(days=1)
    connection.execute(
        insert(runs),
        [
            a_run(1, "one", old),
            a_run(2, "one", new),
            a_run(3, "two", old),
            a_run(4, "two", new),
        ],
    )
    event = {"event_type": "x", "category": "trace", "created_at": NOW, "metadata": "{}", "content": "{}"}
    connection.execute(
        insert(run_events),
        [
            {"thread_id": "one", "seq": 1, "run_id": "r1", **event},
            {"thread_id": "one", "seq": 2, "run_id": "r2", **event},
        ],
    )
    for thread in ("one", "two"):
        for number in range(4):
            row = {
                "thread": thread,
                "name": str(number),
                "parent": str(number - 1) if number else None,
                "number": number,
                "meta": json.dumps({"step": number}).encode(),
            }
            connection.execute(
                text(
                    "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,"
                    " checkpoint, metadata, position)"
                    " VALUES (:thread, '', :name, :parent, 'json', 'abc', :meta, :number)"
                ),
                row,
            )
        connection.execute(
            text(
                "INSERT INTO writes"
                " (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)"
                " VALUES (:thread, '', '1', 't', '', 0, '__interrupt__', 'json', 'de'),"
                " (:thread, '', '2', 't', '', 0, 'x', 'json', 'f')"
            ),
            {"thread": thread},
        )


async def test_rules_apply_by_tenant_and_the_dry_run_is_exact(postgres_database: PostgresDatabase) -> None:
    await postgres_database.write(fill)
    clock = ManualClock(NOW)
    rules = [RetentionRule(tenant="trial", runs_days=7, checkpoints_per_thread=1)]
    retention = Retention(rules, SqlRetention(postgres_database), CheckpointRetention(postgres_database), clock)
    planned = await retention.run(dry=True)

    def left(connection: Connection) -> dict[str, int]:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("runs", "run_events", "checkpoints", "writes")
        }

    before = await postgres_database.read(left)
    # Two nodes, of which one makes the pass.
    sweeps = [SqlSweep(postgres_database, clock, "retention") for _ in range(2)]
    await asyncio.gather(*(RetentionRounds(retention, sweep, clock).round() for sweep in sweeps))
    progress = await sweeps[0].progress()
    assert progress is not None
    assert (progress.ended_at, progress.next_at) == (NOW, NOW + timedelta(hours=1))
    done = RetentionReport.from_json(progress.deleted)
    after = await postgres_database.read(left)
    assert planned == done
    assert (done.threads, done.runs, done.events, done.checkpoints, done.writes) == (1, 1, 1, 2, 1)
    assert {table: before[table] - after[table] for table in before} == {
        "runs": 1,
        "run_events": 1,
        "checkpoints": 2,
        "writes": 1,
    }
    assert await retention.run(dry=True) == RetentionReport()
