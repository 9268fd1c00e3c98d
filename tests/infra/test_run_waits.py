"""Reasons of waiting runs, and held runs, as the database knows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert

from runstead.infra.storage.database import Database
from runstead.infra.storage.held_runs import SqlHeldRuns
from runstead.infra.storage.run_waits import SqlRunWaitReader
from runstead.infra.storage.schema import runs
from runstead.infra.storage.sizes import table_sizes
from runstead.resources.run_waits import RunWait
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunId
from runstead.testing.clock import ManualClock
from runstead.wire.operations import _reasons
from tests.servers.rows import run_row

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TERM = timedelta(seconds=10)
ADA = ActorContext(user_id="ada", tenant_id="acme")
HELD = {"worker": "w", "status": "running", "attempt": 1, "started_at": NOW}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_run(name: str, thread: str, due: float, **changed: object) -> JsonObject:
    waits = {"status": "pending", "attempt": 0, "worker": None, "lease_until": None, "ended_at": None}
    owner = {"tenant_id": "acme", "user_id": "ada", "started_at": None}
    return run_row(name, at(due), thread_id=thread, **{**waits, **owner, **changed})


def fill(connection: Connection) -> None:
    connection.execute(
        insert(runs),
        [
            a_run("held", "busy", -60, **HELD, lease_until=at(9)),
            a_run("second", "busy", -50),
            a_run("silent", "lost", -40, **HELD, lease_until=at(2)),
            a_run("behind", "lost", -30),
            a_run("first", "queue", -20),
            a_run("next", "queue", -10),
            a_run("later", "alone", 3600),
            a_run("foreign", "foreign", -70, **HELD, lease_until=at(9), tenant_id="other", user_id="eve"),
            a_run("over", "queue", -90, status="success", ended_at=at(-80)),
        ],
    )


async def test_wait_names_time_thread_lost_worker_and_slots(database: Database) -> None:
    await database.write(fill)
    reader = SqlRunWaitReader(database, ManualClock(NOW))

    async def found(name: str) -> RunWait | None:
        with acting(ADA):
            return await reader.read(RunId(name))

    async def reasons(name: str) -> list[JsonObject]:
        wait = await found(name)
        assert wait is not None
        return list(_reasons(wait, TERM))

    lost = {"kind": "worker", "run_id": "silent", "worker": "w", "until": at(2)}
    assert await reasons("later") == [{"kind": "delayed", "until": at(3600)}]
    assert await reasons("second") == [{"kind": "thread", "run_id": "held"}]
    assert await reasons("behind") == [{"kind": "thread", "run_id": "silent"}, lost]
    assert await reasons("next") == [{"kind": "thread", "run_id": "first"}]
    assert await reasons("held") == []
    assert await reasons("silent") == [lost]
    # Runs of other users count, and are not named.
    (slots,) = await reasons("first")
    assert (slots["kind"], [run["run_id"] for run in slots["runs"]]) == ("slots", ["silent", "held"])
    wait = await found("first")
    assert wait is not None
    assert wait.held_runs == 3
    assert (await found("foreign"), await found("over"), await found("unknown")) == (None, None, None)


async def test_held_runs_are_those_of_all_users(database: Database) -> None:
    await database.write(fill)
    with acting(ADA):
        assert [run.run_id for run in await SqlHeldRuns(database).read(2)] == ["silent", "held"]
        assert len(await SqlHeldRuns(database).read(10)) == 3


async def test_sizes_of_tables_include_all_tables(database: Database) -> None:
    await database.write(fill)
    sizes = {size.name: size.used for size in await table_sizes([database])}
    assert sizes["runs"] > 0
    assert sizes["threads"] > 0
