"""Checkpoints in PostgreSQL are pruned during other writes: new ones of any writer are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.runtime.runs.types import RunId, ThreadId
from tests.servers.locks import holding
from tests.servers.postgres import PostgresSchema

NAMESPACES = ("", "child:1")
THE_OLDEST = "SELECT 1 FROM checkpoints WHERE checkpoint_id = 'c-1' FOR UPDATE"


@pytest.fixture
async def checkpoints(postgres_database: PostgresDatabase) -> PostgresCheckpoints:
    return PostgresCheckpoints(postgres_database)


def at(namespace: str, checkpoint_id: str | None = None) -> RunnableConfig:
    return {"configurable": {"thread_id": "t-1", "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


async def put(checkpoints: PostgresCheckpoints, number: int, parent: int, *, of: str | None = None) -> None:
    """A checkpoint with a pending write in each namespace."""
    checkpoint: Any = {"channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    checkpoint = {"v": 4, "id": f"c-{number}", "ts": "2030-01-01T00:00:00+00:00", **checkpoint}
    metadata: Any = {} if of is None else {"run_id": of}
    for namespace in NAMESPACES:
        made = await checkpoints.saver.aput(at(namespace, f"c-{parent}"), checkpoint, metadata, {})
        await checkpoints.saver.aput_writes(made, [("__interrupt__", f"{number}?")], "task-1")


async def left(checkpoints: PostgresCheckpoints) -> list[tuple[str, str, list[Any]]]:
    """Namespace, checkpoint, and values of its pending writes, in order."""
    found = [one async for one in checkpoints.saver.alist({"configurable": {"thread_id": "t-1"}})]
    return sorted(
        (
            one.config["configurable"]["checkpoint_ns"],
            one.checkpoint["id"],
            [value for _, _, value in one.pending_writes or ()],
        )
        for one in found
    )


async def test_checkpoint_written_during_pruning_is_kept(
    postgres_schema: PostgresSchema, checkpoints: PostgresCheckpoints
) -> None:
    """For example a client that updates the thread's state: it creates no undo record."""
    for number in (1, 2):
        await put(checkpoints, number, number - 1)
    async with holding(postgres_schema, THE_OLDEST) as blocker:
        pruning = asyncio.ensure_future(checkpoints.keep_latest(ThreadId("t-1")))
        # It has determined the latest one, and waits to delete the others.
        await blocker.is_waited_for()
        await put(checkpoints, 3, 2)
    assert await pruning
    assert await left(checkpoints) == [
        (namespace, f"c-{number}", [f"{number}?"]) for namespace in NAMESPACES for number in (2, 3)
    ]


async def test_fork_from_a_checkpoint_being_pruned_stays_usable(
    postgres_schema: PostgresSchema, checkpoints: PostgresCheckpoints
) -> None:
    for number in (1, 2, 3):
        await put(checkpoints, number, number - 1)
    async with holding(postgres_schema, THE_OLDEST) as blocker:
        pruning = asyncio.ensure_future(checkpoints.keep_latest(ThreadId("t-1")))
        await blocker.is_waited_for()
        await put(checkpoints, 4, 2)
    assert await pruning
    await put(checkpoints, 5, 4)
    assert [number for _, number, _ in await left(checkpoints)] == ["c-3", "c-4", "c-5"] * 2
    assert await checkpoints.keep_latest(ThreadId("t-1"))
    assert await left(checkpoints) == [(namespace, "c-5", ["5?"]) for namespace in NAMESPACES]


async def test_run_starting_during_pruning_waits_and_uses_the_remaining_state(
    postgres_schema: PostgresSchema, checkpoints: PostgresCheckpoints
) -> None:
    for number in (1, 2):
        await put(checkpoints, number, number - 1)
    async with holding(postgres_schema, THE_OLDEST) as blocker:
        pruning = asyncio.ensure_future(checkpoints.keep_latest(ThreadId("t-1")))
        await blocker.is_waited_for()
        marking = asyncio.ensure_future(checkpoints.mark(ThreadId("t-1"), RunId("r-1")))
        assert await checkpoints.mark(ThreadId("t-2"), RunId("r-2")) is None
        await asyncio.sleep(0.1)
        assert not marking.done()
    assert await pruning
    assert await marking == "c-2"
    await put(checkpoints, 3, 2, of="r-1")
    await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
    assert await left(checkpoints) == [(namespace, "c-2", ["2?"]) for namespace in NAMESPACES]


async def test_thread_whose_run_is_being_marked_is_not_pruned(
    postgres_schema: PostgresSchema, checkpoints: PostgresCheckpoints
) -> None:
    for number in (1, 2):
        await put(checkpoints, number, number - 1)
    before = await left(checkpoints)
    async with holding(postgres_schema, "INSERT INTO marks (thread_id, run_id) VALUES ('t-1', 'r-1')") as blocker:
        marking = asyncio.ensure_future(checkpoints.mark(ThreadId("t-1"), RunId("r-1")))
        await blocker.is_waited_for()
        pruning = asyncio.ensure_future(checkpoints.keep_latest(ThreadId("t-1")))
        await asyncio.sleep(0.1)
        assert not pruning.done()
    assert await marking == "c-2"
    assert not await pruning
    assert await left(checkpoints) == before


async def test_pruning_a_concurrently_deleted_thread_has_no_effect(
    postgres_schema: PostgresSchema, checkpoints: PostgresCheckpoints, postgres_database: PostgresDatabase
) -> None:
    for number in (1, 2):
        await put(checkpoints, number, number - 1)
    async with holding(postgres_schema, THE_OLDEST) as blocker:
        pruning = asyncio.ensure_future(checkpoints.keep_latest(ThreadId("t-1")))
        await blocker.is_waited_for()
        # In a namespace without one so far.
        gone = f"DELETE FROM checkpoints WHERE checkpoint_ns = '{NAMESPACES[-1]}' AND checkpoint_id = 'c-2'"
        await postgres_database.write(lambda connection: connection.exec_driver_sql(gone).rowcount)
    assert await pruning
    assert {namespace for namespace, _, _ in await left(checkpoints)} == {NAMESPACES[0]}
