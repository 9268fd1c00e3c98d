"""Expired threads are swept from every store that has their data, on a manual clock."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from runstead.bootstrap.background import Sweeps, expire_regularly
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.files.disk import DiskFiles
from runstead.infra.run_events.jsonl import JsonlRunEventStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.thread_expiry import SqlThreadExpiryStore
from runstead.infra.storage.thread_owners import SqlThreadOwnerStore
from runstead.infra.storage.threads import SqlThreadStore
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.resources.thread_expiry import ThreadExpiry
from runstead.resources.thread_files import ThreadFiles
from runstead.resources.threads import ThreadTtl, TtlStrategy
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.store.event_store import RunEvent
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import a_spec, decide
from tests.servers.sqlite import current

ALICE = ActorContext("alice")
HOUR = timedelta(hours=1)
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Counted(TypedDict):
    n: int


@dataclass
class House:
    """All stores with data of threads."""

    threads: SqlThreadStore
    create: SqlRunCreateStore
    query: SqlRunQueryStore
    checkpoints: SqlCheckpoints
    events: JsonlRunEventStore
    bridge: MemoryStreamBridge
    store: SqlThreadExpiryStore
    expiry: ThreadExpiry
    clock: ManualClock
    files: DiskFiles

    async def thread(self, thread_id: str, strategy: TtlStrategy = "delete") -> None:
        """A thread with a TTL of an hour, and three states."""
        await self.threads.create(ThreadId(thread_id), ttl=ThreadTtl(60, strategy))
        graph = StateGraph(Counted).add_node("count", lambda state: {"n": state["n"] + 1}).add_edge(START, "count")
        agent = graph.compile(checkpointer=self.checkpoints.saver)
        await agent.ainvoke({"n": 1}, {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})

    async def states(self, thread_id: str) -> int:
        config: Any = {"configurable": {"thread_id": thread_id}}
        return len([found async for found in self.checkpoints.saver.alist(config)])

    async def said(self, thread_id: str) -> int:
        return len(await self.events.list_events(ThreadId(thread_id), limit=10))


@asynccontextmanager
async def a_house(folder: Path, clock: ManualClock) -> AsyncIterator[House]:
    async with (
        open_storage(current(folder / "runs.sqlite")) as database,
        checkpoints_beside(database, folder) as checkpoints,
        a_house_over(database, checkpoints, folder, clock) as house,
    ):
        yield house


@asynccontextmanager
async def a_house_over(
    database: Database, checkpoints: SqlCheckpoints, folder: Path, clock: ManualClock
) -> AsyncIterator[House]:
    async with (
        JsonlRunEventStore.open(folder / "events") as events,
        MemoryStreamBridge.running(MemoryStreamSettings(), clock) as bridge,
    ):
        store = SqlThreadExpiryStore(database, clock)
        files = DiskFiles(folder / "files")
        owned = ThreadFiles(SqlThreadOwnerStore(database), files)
        expiry = ThreadExpiry(store, events, checkpoints, bridge, owned)
        create = SqlRunCreateStore(database, clock, lambda: None)
        threads, query = SqlThreadStore(database, clock), SqlRunQueryStore(database)
        yield House(threads, create, query, checkpoints, events, bridge, store, expiry, clock, files)


@pytest.fixture
async def house(tmp_path: Path, database: Database) -> AsyncIterator[House]:
    clock = ManualClock()
    async with (
        checkpoints_beside(database, tmp_path) as checkpoints,
        a_house_over(database, checkpoints, tmp_path, clock) as house,
    ):
        with acting(ALICE):
            yield house


@asynccontextmanager
async def checkpoints_beside(database: Database, folder: Path) -> AsyncIterator[SqlCheckpoints]:
    if isinstance(database, PostgresDatabase):
        yield PostgresCheckpoints(database)
        return
    async with open_checkpoints(folder / "checkpoints.sqlite") as checkpoints:
        yield checkpoints


def an_event(thread_id: str) -> RunEvent:
    return RunEvent(
        run_id=RunId("r-1"),
        thread_id=ThreadId(thread_id),
        event_type="ai_message",
        category="message",
        content="hi",
        created_at=NOW,
    )


async def test_expired_thread_is_deleted_completely(house: House) -> None:
    for thread_id in ("t-1", "t-2"):
        await house.thread(thread_id)
        await house.events.append([an_event(thread_id)])
        async with house.files.working(ALICE, ThreadId(thread_id)) as working:
            (working.workspace.outputs / "report.txt").write_text(thread_id)
    await house.clock.advance(HOUR / 2)
    await house.threads.update(ThreadId("t-2"), metadata={})
    await house.clock.advance(HOUR / 2)
    assert await house.expiry.sweep() == 1
    assert (await house.threads.get(ThreadId("t-1")), await house.states("t-1"), await house.said("t-1")) == (
        None,
        0,
        0,
    )
    assert (
        await house.threads.get(ThreadId("t-2")) is not None,
        await house.states("t-2"),
        await house.said("t-2"),
    ) == (
        True,
        3,
        1,
    )
    assert await house.files.list(ALICE, ThreadId("t-1")) == []
    assert [entry.path for entry in await house.files.list(ALICE, ThreadId("t-2"))] == ["outputs/report.txt"]
    assert await house.expiry.sweep() == 0


async def test_keep_latest_leaves_the_latest_state(house: House) -> None:
    await house.thread("t-1", "keep_latest")
    await house.events.append([an_event("t-1")])
    await house.clock.advance(HOUR)
    assert await house.expiry.sweep() == 1
    assert (
        await house.threads.get(ThreadId("t-1")) is not None,
        await house.states("t-1"),
        await house.said("t-1"),
    ) == (
        True,
        1,
        1,
    )


async def test_busy_thread_keeps_all_its_states(house: House) -> None:
    kept: list[tuple[str, TtlStrategy]] = [("t-1", "delete"), ("t-2", "keep_latest")]
    for thread_id, strategy in kept:
        await house.thread(thread_id, strategy)
        (created,) = await house.create.create_runs([a_spec(ThreadId(thread_id))], decide)
        await house.clock.advance(3 * HOUR)
        assert await house.expiry.sweep() == 0
        assert await house.states(thread_id) == 3
        assert await house.query.get_run(created.record.run_id) is not None


async def test_expiry_interrupted_by_a_crash_is_completed_later(tmp_path: Path) -> None:
    clock = ManualClock()
    async with a_house(tmp_path, clock) as house:
        with acting(ALICE):
            await house.thread("t-1")
            await house.events.append([an_event("t-1")])
            await clock.advance(HOUR)

        async def dies(_: str) -> None:
            raise OSError("the machine goes down")

        checkpoints: Any = _Broken(house.checkpoints, dies)
        broken = ThreadExpiry(house.store, house.events, checkpoints, house.bridge)
        assert await broken.sweep() == 0
        assert await house.states("t-1") == 3
    async with a_house(tmp_path, clock) as house:
        with acting(ALICE):
            assert await house.threads.get(ThreadId("t-1")) is None
            assert await house.expiry.sweep() == 1
            assert (await house.states("t-1"), await house.said("t-1")) == (0, 0)
            await house.threads.create(ThreadId("t-1"))


class _Broken:
    """Checkpoints that cannot be deleted."""

    def __init__(self, checkpoints: SqlCheckpoints, delete_thread: Any) -> None:
        self._checkpoints, self.delete_thread = checkpoints, delete_thread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoints, name)


async def test_failing_thread_expiry_does_not_stop_the_others(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for thread_id in ("t-1", "t-2"):
        await house.thread(thread_id)
    await house.clock.advance(HOUR)

    async def fails_for_the_first(thread_id: str) -> None:
        if thread_id == "t-1":
            raise OSError("a bad disk")
        await house.checkpoints.delete_thread(ThreadId(thread_id))

    checkpoints: Any = _Broken(house.checkpoints, fails_for_the_first)
    assert await ThreadExpiry(house.store, house.events, checkpoints, house.bridge).sweep() == 1
    assert "could not clean up expired thread t-1" in caplog.text
    assert await house.expiry.sweep() == 1


async def test_sweep_is_limited_in_size(house: House) -> None:
    for number in range(5):
        await house.threads.create(ThreadId(f"t-{number}"), ttl=ThreadTtl(60))
    await house.clock.advance(HOUR)
    assert [await house.expiry.sweep(limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_server_sweeps_at_startup_and_periodically(caplog: pytest.LogCaptureFixture) -> None:
    clock, sweeps = ManualClock(), Counting()
    with caplog.at_level(logging.INFO):
        async with expire_regularly(sweeps, Sweeps(timedelta(minutes=10), 7), clock):  # type: ignore[arg-type]
            await clock.advance(1)
            assert sweeps.limits == [7]
            await clock.advance(timedelta(minutes=10))
            assert sweeps.limits == [7, 7]
            # The second one has failed, and the third happens all the same.
            await clock.advance(timedelta(minutes=10))
            assert sweeps.limits == [7, 7, 7]
    assert "could not clean up expired threads" in caplog.text
    await clock.advance(timedelta(minutes=10))
    assert sweeps.limits == [7, 7, 7]


class Counting:
    """Counts the sweeps; the second one fails."""

    def __init__(self) -> None:
        self.limits: list[int] = []

    async def sweep(self, limit: int) -> int:
        self.limits.append(limit)
        if len(self.limits) == 2:
            raise OSError("no disk")
        return len(self.limits)
