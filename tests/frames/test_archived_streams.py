"""Streams of ended runs that the bridge no longer has: after their retention, a restart, a crash or a loss of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest

from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.frame_archive.sql import SqlFrameArchive
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.runs.internal.streaming.archiver import FrameArchiver
from runstead.runtime.runs.internal.streaming.event_filter import ALL_EVENTS
from runstead.runtime.runs.internal.streaming.stream_service import RunStream, RunStreamService
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import RunId, RunRecord
from runstead.runtime.stream_bridge.contract import END_SENTINEL, ResumeResult, StreamBridge, StreamEvent
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.testing.conformance.frame_archive import read_all
from runstead.testing.conformance.run_storage import RunStorage
from tests.gateway.asgi import HTTP, Connection
from tests.gateway.assistants import Served, served_from
from tests.servers.redis_streams import a_bridge, a_prefix
from tests.servers.sqlite import current
from tests.servers.stores import stores_over

TERM = timedelta(seconds=10)


class Frame(NamedTuple):
    id: str
    event: str
    data: str


def frames_in(text: str) -> list[Frame]:
    """Return the events of a response in the format of server-sent events."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append(Frame(fields.get("id", ""), fields["event"], fields.get("data", "")))
    return found


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return served_from(tmp_path)


async def talked(client: httpx.AsyncClient) -> tuple[str, list[Frame]]:
    """Execute a run, and return its stream's path and events."""
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    asked: dict[str, Any] = {
        "assistant_id": "agent",
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "stream_mode": ["values", "messages-tuple"],
        "stream_resumable": True,
    }
    response = await client.post(f"/threads/{thread}/runs/stream", json=asked)
    assert response.status_code == 200, response.text
    return response.headers["content-location"] + "/stream", frames_in(response.text)


async def read(client: httpx.AsyncClient, path: str, after: str = "-1") -> list[Frame]:
    return frames_in((await client.get(path, headers={"last-event-id": after})).text)


async def test_the_stream_of_an_ended_run_is_read_after_a_restart(served: Served) -> None:
    async with served() as client:
        path, frames = await talked(client)
    assert len(frames) > 3
    async with served() as client:
        assert await read(client, path) == frames
        assert await read(client, path, frames[1].id) == frames[2:]
        assert await read(client, path, frames[-1].id) == []


async def test_the_stream_of_a_thread_resumes_in_an_archived_run(served: Served) -> None:
    async with served() as client:
        path, _ = await talked(client)
        thread = path.partition("/runs/")[0]
        first = await first_frames(client, f"{thread}/stream", "-")
    async with served() as client:
        resumed = await first_frames(client, f"{thread}/stream", first[1].id)
        assert resumed == first[2:]
        assert "gap" not in {frame.event for frame in resumed}


async def first_frames(client: httpx.AsyncClient, path: str, after: str) -> list[Frame]:
    """Return the events of a thread's stream up to the end of its first run; the stream itself has no end."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    connection = Connection()
    headers = [(b"host", b"localhost"), (b"last-event-id", after.encode())]
    scope = {**HTTP, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    scope |= {"client": ("127.0.0.1", 1), "server": ("localhost", 80), "scheme": "http", "http_version": "1.1"}
    answering = asyncio.ensure_future(transport.app({**scope, "root_path": ""}, connection.receive, connection.send))
    async with asyncio.timeout(60):
        while not (text := b"".join(connection.bodies).decode()).count("run_done"):
            await connection.heard(len(connection.bodies) + 1)
    connection.hang_up()
    await answering
    return frames_in(text)


async def test_without_an_archive_a_late_reader_gets_a_gap(served: Served) -> None:
    async with served(stream_archive=False) as client:
        path, frames = await talked(client)
    async with served(stream_archive=False) as client:
        late = await read(client, path, frames[1].id)
        assert [frame.event for frame in late] == ["gap", "values"]


async def test_the_stream_of_a_deleted_run_is_gone(served: Served) -> None:
    async with served() as client:
        path, _ = await talked(client)
    async with served() as client:
        assert (await client.delete(path.removesuffix("/stream"))).status_code == 204
        assert (await client.get(path)).status_code == 404


class World:
    """Stores, an archive and a bridge; ``archiver`` starts another process's archiver."""

    def __init__(self, database: SqliteDatabase, bridge: StreamBridge) -> None:
        self.storage: RunStorage = stores_over(database)
        self.archive = SqlFrameArchive(database, self.storage.clock)
        self.bridge = bridge

    def archiver(self) -> FrameArchiver:
        return FrameArchiver(self.archive, self.bridge, self.storage.clock, TERM)

    async def ended(self, *, with_end: bool = True) -> tuple[RunRecord, list[StreamEvent]]:
        """Execute a run with some events."""
        run = await self.storage.accept(None)
        await self.bridge.open(run.run_id)
        for number in range(1_000):
            await self.bridge.publish(run.run_id, "values", b"%d" % number)
        record = await self.storage.ended(run)
        events = [StreamEvent(f"1-{number + 1}", "values", b"%d" % number) for number in range(1_000)]
        if with_end:
            await self.bridge.publish_end(run.run_id)
        return record, [*events, StreamEvent("1-1001", "end", b"null", "end")]

    async def is_archived(self, run_id: RunId, events: list[StreamEvent]) -> bool:
        return (await read_all(self.archive, run_id))[0] == [*events, END_SENTINEL]


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_storage(current(tmp_path / "runs.sqlite")))
        if request.param == "redis":
            url = request.getfixturevalue("redis_url")
            bridge: StreamBridge = await stack.enter_async_context(a_bridge(url, prefix=a_prefix()))
        else:
            bridge = await stack.enter_async_context(MemoryStreamBridge.running())
        yield World(database, bridge)


def end_of(run: RunRecord) -> RunLifecycleEvent:
    at = run.ended_at or run.created_at
    return RunLifecycleEvent("e-1", RunLifecycleEventType.RUN_COMPLETED, run.run_id, run.thread_id, 1, at)


async def test_a_run_is_archived_when_it_ends(world: World) -> None:
    archiver = world.archiver()
    running = asyncio.create_task(archiver.run())
    await asyncio.sleep(0)
    run, events = await world.ended()
    await archiver.on_event(end_of(run))
    async with asyncio.timeout(60):
        while await world.archive.list_missing([run.run_id]):  # noqa: ASYNC110 - a database has no event
            await asyncio.sleep(0.005)
    assert await world.is_archived(run.run_id, events)
    running.cancel()


async def test_a_run_whose_worker_died_before_archiving_is_archived_by_another_process(world: World) -> None:
    run, events = await world.ended()
    await world.storage.clock.advance(TERM)
    other = world.archiver()
    assert await other.scan() == 1
    assert await world.is_archived(run.run_id, events)
    assert await other.scan() == 0
    # After the loss of the stream, and in the eyes of yet another process.
    await world.bridge.cleanup(run.run_id)
    assert await world.archiver().scan() == 0
    assert await world.is_archived(run.run_id, events)


async def test_a_stopping_process_archives_its_last_runs(world: World) -> None:
    archiver = world.archiver()
    running = asyncio.create_task(archiver.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    run, events = await world.ended()
    await archiver.on_event(end_of(run))
    await archiver.drain(60)
    assert await world.is_archived(run.run_id, events)


async def test_a_stream_whose_end_comes_late_is_archived_then(tmp_path: Path) -> None:
    async with open_storage(current(tmp_path / "runs.sqlite")) as database:
        storage = stores_over(database)
        async with MemoryStreamBridge.running(clock=storage.clock) as bridge:
            world = World(database, bridge)
            world.storage, world.archive = storage, SqlFrameArchive(database, storage.clock)
            run, events = await world.ended(with_end=False)
            await storage.clock.advance(TERM)
            archiver = world.archiver()
            scanning = asyncio.create_task(archiver.scan())
            while not scanning.done():
                # It waits for an event, and then gives up.
                await storage.clock.advance(1)
            assert await scanning == 0
            with pytest.raises(StreamNotFound):
                await world.archive.subscribe(run.run_id, 1, "-1")
            await bridge.publish_end(run.run_id)
            assert await archiver.scan() == 1
            assert await world.is_archived(run.run_id, events)


class LostSubscription:
    """A subscription whose stream is lost after its first events, as with the data of Redis."""

    def __init__(self, events: list[StreamEvent]) -> None:
        self.resumed = ResumeResult("resumed", "-1", events[0].id)
        self._events: list[StreamEvent] = events

    async def read(self) -> list[StreamEvent]:
        events, self._events = self._events, []
        if not events:
            raise StreamNotFound("lost")
        return events

    async def aclose(self) -> None:
        pass


async def test_a_reader_continues_in_the_archive_when_the_stream_of_an_ended_run_is_lost(tmp_path: Path) -> None:
    async with open_storage(current(tmp_path / "runs.sqlite")) as database, MemoryStreamBridge.running() as bridge:
        world = World(database, bridge)
        run, events = await world.ended()
        await world.storage.clock.advance(TERM)
        await world.archiver().scan()
        await bridge.cleanup(run.run_id)
        runtime: Any = SimpleNamespace(
            bridge=bridge, archive=world.archive, query_store=world.storage.query, limits=RunLimits()
        )

        async def no_values(record: RunRecord) -> None:
            raise AssertionError("nothing is missing")

        stream = RunStream(
            run,
            LostSubscription(events[:100]),
            streams=RunStreamService(runtime, no_values),
            gap=None,
            choice=ALL_EVENTS,
            on_leave=None,
            clock=world.storage.clock,
            heartbeat=5.0,
        )
        assert [item async for item in stream] == [*events, END_SENTINEL]
