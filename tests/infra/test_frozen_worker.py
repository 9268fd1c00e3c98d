"""A process that holds a run is stopped (SIGSTOP) in the middle of a write, loses the run, and is woken again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from datetime import timedelta
from typing import Any, Final

from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.resources.items import ActorScopedStore
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.types import ThreadId, WorkerId
from runstead.testing.conformance.run_storage import ALICE, DONE, a_spec, decide
from tests.servers.postgres import PostgresSchema

_TERM: Final = timedelta(seconds=1)
_WORKER: Final = """
import asyncio, json, sys
from datetime import UTC, datetime, timedelta
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.resources.items import ActorScopedStore
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.store import RunEvent
from runstead.testing.conformance.run_storage import ALICE, DONE

url, schema, run_id = sys.argv[1:]
ROOT = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}

def say(**words):
    print(json.dumps(words), flush=True)

def a_checkpoint(checkpoint_id):
    empty = {"channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    return {"v": 4, "id": checkpoint_id, "ts": "2030-01-01T00:00:00+00:00", **empty}

async def main():
    async with open_postgres_storage(url, PostgresOptions(pool_size=4, schema=schema, idle_timeout=0.3)) as database:
        leases = SqlRunLeaseStore(database, SystemClock(), lambda: None)
        lease = await leases.claim(run_id, "frozen", timedelta(seconds=1))
        lease = await leases.begin(lease, None)
        paused = []

        def pause():
            # The database has said that the run is ours, and waits for what we write.
            if not paused:
                paused.append(True)
                say(inside=True)
                sys.stdin.readline()

        saver = PostgresCheckpoints(database).saver
        items = ActorScopedStore(SqlItemStore(database, SystemClock()))
        event = RunEvent(run_id, "t-1", "custom", "trace", {}, datetime.now(UTC))
        mine = saver.fenced(lambda: True, lease.holder)
        at = {"configurable": {**ROOT["configurable"], "checkpoint_id": "c-0"}}
        with acting(ALICE):
            for name, write in {
                "under way": lambda: saver.fenced(pause, lease.holder).aput(ROOT, a_checkpoint("c-1"), {}, {}),
                "checkpoint": lambda: mine.aput(ROOT, a_checkpoint("c-2"), {}, {}),
                "pending writes": lambda: mine.aput_writes(at, [("x", 1)], "task"),
                "item": lambda: items.fenced(lambda: True, lease.holder).aput(("notes",), "k", {}),
                "events": lambda: SqlRunEventStore(database).append([event], holder=lease.holder),
                "renewal": lambda: leases.renew(lease, timedelta(seconds=1)),
                "status": lambda: leases.settle(lease, DONE),
            }.items():
                try:
                    await write()
                    say(**{name: "written"})
                except Exception as error:
                    say(**{name: type(error).__name__})

asyncio.run(main())
"""


async def test_frozen_worker_that_wakes_up_writes_nothing(
    postgres_schema: PostgresSchema, postgres_database: PostgresDatabase
) -> None:
    leases = SqlRunLeaseStore(postgres_database, SystemClock(), lambda: None)
    with acting(ALICE):
        create = SqlRunCreateStore(postgres_database, SystemClock(), lambda: None)
        run = (await create.create_runs([a_spec()], decide))[0].record
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WORKER, postgres_schema.url, postgres_schema.name, run.run_id), stdin=PIPE, stdout=PIPE
    )
    try:
        assert worker.stdout is not None
        assert json.loads(await worker.stdout.readline()) == {"inside": True}
        worker.send_signal(signal.SIGSTOP)
        # Its lease expires; its locks are released after the database's idle timeout.
        async with asyncio.timeout(60):
            await asyncio.sleep(_TERM.total_seconds())
            assert await leases.recover(run.run_id, 10) is not None
        successor = await leases.claim(run.run_id, WorkerId("successor"), 30 * _TERM)
        assert successor is not None
        successor = await leases.begin(successor, None)
        worker.send_signal(signal.SIGCONT)
        async with asyncio.timeout(30):
            said, _ = await worker.communicate(b"go on\n")
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    results: dict[str, Any] = {}
    for line in said.splitlines():
        results |= json.loads(line)
    kinds = ("under way", "checkpoint", "pending writes", "item", "events", "renewal", "status")
    assert results == dict.fromkeys(kinds, "LeaseLost")
    config: Any = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}
    assert await PostgresCheckpoints(postgres_database).saver.aget_tuple(config) is None
    with acting(ALICE):
        items = ActorScopedStore(SqlItemStore(postgres_database, SystemClock()))
        assert await items.aget(("notes",), "k") is None
        assert await SqlRunEventStore(postgres_database).list_events(ThreadId("t-1")) == []
    await leases.settle(successor, DONE)
