"""A thread is joined with ``threads.join_stream``: across runs, and resumed from any event."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.testing.gaps import gap_event_data

from .conftest import GRAPHS
from .flavours import client_of
from .test_runs import HELLO, a_thread, reached

ALL = ["run_modes", "lifecycle", "state_update"]
MORE = {"messages": [{"role": "human", "content": "more"}]}


class Joined:
    """The events that a client has read so far."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self._news = asyncio.Event()

    async def read(self, parts: Any) -> None:
        async for part in parts:
            self.parts.append(part)
            self._news.set()

    async def until(self, wanted: Callable[[Sequence[Any]], bool]) -> list[Any]:
        async with asyncio.timeout(60):
            while not wanted(self.parts):
                self._news.clear()
                await self._news.wait()
        return self.parts

    async def runs_done(self, count: int) -> list[Any]:
        return await self.until(lambda parts: len(done_of(parts)) >= count)

    async def updates(self, count: int) -> list[Any]:
        return await self.until(lambda parts: [part.event for part in parts].count("state_update") >= count)


@asynccontextmanager
async def joined(client: Any, thread_id: str, **options: Any) -> AsyncIterator[Joined]:
    """A connected reader of the thread."""
    stream = await client.threads.join_stream(thread_id, **options)
    reader = Joined()
    reading = asyncio.create_task(reader.read(stream))
    # Connected once it could read; earlier events are not this reader's.
    await asyncio.sleep(0.25)
    try:
        yield reader
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@pytest.fixture
def client(url: str) -> Any:
    return client_of("async", url)


def done_of(parts: Sequence[Any]) -> list[str]:
    return [part.data["run_id"] for part in parts if part.event == "metadata" and part.data.get("status") == "run_done"]


def shape(parts: Sequence[Any]) -> list[str]:
    return ["run_done" if part.event == "metadata" and "status" in part.data else part.event for part in parts]


def places(parts: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(int(number) for number in part.id.split("-")) for part in parts]


async def test_join_shows_runs_one_after_the_other(client: Any) -> None:
    thread_id = await a_thread(client)
    async with joined(client, thread_id) as reader:
        first = await client.runs.create(thread_id, "agent", input=HELLO, stream_mode=["values", "messages-tuple"])
        await reader.runs_done(1)
        # It stays open between runs, however long.
        await asyncio.sleep(0.7)
        second = await client.runs.create(thread_id, "fail", input=HELLO)
        parts = await reader.runs_done(2)
    one = ["metadata", "values", *["messages"] * 5, "values", "run_done"]
    assert shape(parts)[: len(one)] == one
    assert shape(parts)[len(one) :] == ["metadata", "values", "values", "error", "run_done"]
    assert done_of(parts) == [first["run_id"], second["run_id"]]
    assert parts[0].data["run_id"] == first["run_id"]
    assert places(parts) == sorted(set(places(parts)))


async def test_synchronous_client_joins_a_thread(url: str) -> None:
    client = client_of("sync", url)
    thread_id = await a_thread(client)
    await client.runs.wait(thread_id, "agent", input=HELLO)
    parts: list[Any] = []
    async for part in client.threads.join_stream(thread_id, last_event_id="-1"):
        parts.append(part)
        if done_of(parts):
            break
    assert shape(parts) == ["metadata", "values", "values", "run_done"]


async def test_only_the_beginning_and_the_end_of_runs(client: Any) -> None:
    thread_id = await a_thread(client)
    async with joined(client, thread_id, stream_mode="lifecycle") as reader:
        run = await client.runs.create(thread_id, "agent", input=HELLO)
        parts = await reader.runs_done(1)
    assert shape(parts) == ["metadata", "run_done"]
    assert {part.data["run_id"] for part in parts} == {run["run_id"]}


async def test_only_changes_of_the_state(client: Any) -> None:
    thread_id = await a_thread(client)
    async with joined(client, thread_id, stream_mode="state_update") as reader:
        await client.runs.wait(thread_id, "agent", input=HELLO)
        for text in ("one", "two"):
            await client.threads.update_state(thread_id, {"messages": [{"role": "human", "content": text}]})
        parts = await reader.updates(2)
    assert shape(parts) == ["state_update", "state_update"]
    for part, text in zip(parts, ("one", "two"), strict=True):
        assert part.data["thread_id"] == thread_id
        assert part.data["state"]["values"]["messages"][-1]["content"] == text
        assert part.data["state"]["metadata"]["source"] == "update"


async def test_both_parameter_names_for_modes_are_accepted(client: Any, url: str) -> None:
    thread_id = await a_thread(client)
    await client.runs.wait(thread_id, "agent", input=HELLO)
    async with httpx.AsyncClient(base_url=url, headers={"Last-Event-ID": "-1"}) as http:
        for query in ("stream_mode=lifecycle", "stream_modes=lifecycle", 'stream_mode=["lifecycle"]'):
            async with http.stream("GET", f"/threads/{thread_id}/stream?{query}") as stream:
                text = ""
                async for piece in stream.aiter_text():
                    text += piece
                    if "run_done" in text:
                        break
            assert text.count("event: ") == 2, query
    with pytest.raises(UnprocessableEntityError, match="stream_mode"):
        async for _ in await client.threads.join_stream(thread_id, stream_mode="bogus"):
            pass
    with pytest.raises(NotFoundError, match="not found"):
        async for _ in await client.threads.join_stream(str(uuid.uuid4())):
            pass


async def everything(client: Any, thread_id: str, runs: int, updates: int, since: str = "-1") -> list[Any]:
    async with joined(client, thread_id, stream_mode=ALL, last_event_id=since) as reader:
        await reader.runs_done(runs)
        return list(await reader.updates(updates))


async def a_story(client: Any) -> tuple[str, list[Any]]:
    """Two runs with a state update before, between and after them, as seen by a connected reader."""
    thread_id = (await client.threads.create(graph_id="agent"))["thread_id"]
    async with joined(client, thread_id, stream_mode=ALL) as reader:
        for _ in range(2):
            await client.threads.update_state(thread_id, MORE, as_node="model")
            run = await client.runs.create(thread_id, "agent", input=HELLO, stream_mode=["values", "updates"])
            await client.runs.join(thread_id, run["run_id"])
        await client.threads.update_state(thread_id, MORE)
        await reader.runs_done(2)
        return thread_id, list(await reader.updates(3))


async def test_reconnecting_reader_gets_each_event_once(client: Any) -> None:
    thread_id, seen = await a_story(client)
    run = ["metadata", "values", "updates", "values", "run_done"]
    assert shape(seen) == ["state_update", *run, "state_update", *run, "state_update"]
    assert places(seen) == sorted(set(places(seen)))
    again = await everything(client, thread_id, 2, 3)
    assert [(part.id, part.event, part.data) for part in again] == [(part.id, part.event, part.data) for part in seen]
    for number, part in enumerate(seen[:-1]):
        rest = seen[number + 1 :]
        late = await everything(client, thread_id, len(done_of(rest)), shape(rest).count("state_update"), part.id)
        assert [part.id for part in late] == [part.id for part in rest], number


async def test_reader_joins_in_the_middle_of_a_run(client: Any) -> None:
    thread_id = await a_thread(client)
    await client.runs.wait(thread_id, "agent", input=HELLO)
    run = await client.runs.create(thread_id, "slow", input={"steps": 30, "delay": 0.05})
    await reached(client, thread_id, steps=2)
    async with joined(client, thread_id) as reader:
        parts = await reader.until(lambda parts: len(parts) >= 2)
        assert parts[0].event == "values"
        assert parts[0].data["done"] > 2
        await client.runs.cancel(thread_id, run["run_id"])
        assert done_of(await reader.runs_done(1)) == [run["run_id"]]


async def test_run_that_never_started_is_reported_done(client: Any) -> None:
    thread_id = await a_thread(client)
    async with joined(client, thread_id) as reader:
        run = await client.runs.create(thread_id, "agent", input=HELLO, after_seconds=3600)
        await client.runs.cancel(thread_id, run["run_id"])
        parts = await reader.runs_done(1)
    assert shape(parts) == ["run_done"]


@pytest.mark.parametrize("last", ["17-0", "garbage", "99999999999999999-9999999999-99999999999999999"])
async def test_unknown_event_id_is_refused(client: Any, last: str) -> None:
    thread_id = await a_thread(client)
    await client.runs.wait(thread_id, "agent", input=HELLO)
    async with joined(client, thread_id, last_event_id=last) as reader:
        parts = await reader.runs_done(1)
    assert shape(parts) == ["gap", "metadata", "values", "values", "run_done"]
    assert parts[0].data == gap_event_data(None, last, None, None, "-1")


async def test_stream_ends_with_its_thread(client: Any) -> None:
    thread_id = await a_thread(client)
    stream = await client.threads.join_stream(thread_id)

    async def read() -> list[Any]:
        return [part async for part in stream]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    await client.threads.delete(thread_id)
    assert await asyncio.wait_for(reading, 60) == []


async def test_silent_thread_sends_heartbeats(client: Any, url: str) -> None:
    thread_id = await a_thread(client)
    async with (
        httpx.AsyncClient(base_url=url, timeout=10) as http,
        http.stream("GET", f"/threads/{thread_id}/stream") as stream,
    ):
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        async for line in stream.aiter_lines():
            assert line == ": heartbeat"
            break


async def test_reader_comes_back_after_a_restart(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": f"{GRAPHS.parent / 'recorded.py'}:agent"}}))

    def application() -> Application:
        settings: dict[str, Any] = {"port": 0, "shutdown_grace_seconds": 0.1, "stream_archive": False}
        return Application.from_file(config, data_dir=tmp_path / "data", **settings)

    async with serving(application()) as url:
        client = client_of("async", url)
        thread_id, seen = await a_story(client)
    async with serving(application()) as url:
        client = client_of("async", url)
        # The logs of the runs were lost with the process; the runs and their ends are still reported, in the same
        # positions.
        (place,) = [part.id for part in seen if part.event == "updates"][:1]
        late = await everything(client, thread_id, 2, 2, place)
        of_first, *rest = late
        assert of_first.event == "gap"
        again = await everything(client, thread_id, 2, 2, of_first.data["latest_available_event_id"])
        # The values come with the gap.
        assert rest[0].event == "values"
        assert [(part.event, part.data) for part in again] == [(part.event, part.data) for part in rest[1:]]
        ids = {part.id for part in seen}
        assert {part.id for part in rest if shape([part]) != ["metadata"] and part.id} <= ids
        assert [part for part in shape(late) if part in ("run_done", "state_update")] == [
            "run_done",
            "state_update",
            "run_done",
            "state_update",
        ]
        async with joined(client, thread_id) as reader:
            await client.runs.wait(thread_id, "agent", input=HELLO)
            assert shape(await reader.runs_done(1)) == ["metadata", "values", "values", "run_done"]
