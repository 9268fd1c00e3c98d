"""SIGTERM: the server reports not ready, lets runs finish, releases the others, and exits in order."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from .client import Client, eventually, new_id
from .conftest import StartServer
from .frames import Frame, FrameReader, strict


async def _running(client: Client, location: str) -> None:
    async def look() -> Any:
        return (await client.get(location))["status"] == "running"

    await eventually(look)


async def _is_ready(url: str) -> bool:
    async with Client(url) as another:
        try:
            return (await another.http.get("/ready")).status_code == 200
        except httpx.ConnectError:
            return False


async def _until_cut(client: Client, location: str) -> list[Frame]:
    """Return the frames of a run until shutdown, which cuts the connection: so clients do not take them as complete."""
    reader, seen = FrameReader(), list[Frame]()

    async def read() -> None:
        async with client.http.stream("GET", f"{location}/stream", headers={"last-event-id": "-1"}) as response:
            async for data in response.aiter_raw():
                seen.extend(reader.feed(data))

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    return seen


async def _begin(client: Client, steps: int, pause: float, **fields: Any) -> str:
    thread_id = new_id()
    run = await client.create(thread_id, "steps", {"name": "it", "steps": steps, "pause": pause}, **fields)
    location = f"/threads/{thread_id}/runs/{run['run_id']}"
    await _running(client, location)
    return location


async def test_run_that_can_finish_within_the_grace_finishes(start_server: StartServer) -> None:
    server = start_server(settings={"shutdown_grace_seconds": 10})
    async with Client(server.url) as client:
        location = await _begin(client, steps=4, pause=0.4)
        assert (await client.http.get("/ready")).status_code == 200
        async with client.http.stream("GET", f"{location}/stream") as reader:
            waiting = asyncio.create_task(client.http.get(f"{location}/join"))
            await asyncio.sleep(0.1)
            server.terminate()
            await asyncio.sleep(0.3)
            # The load balancer sees that it must send no new requests here.
            assert not await _is_ready(server.url)
            read = b"".join([data async for data in reader.aiter_raw()])
        # Readers connected at the start of the shutdown get the end.
        assert FrameReader().feed(read)[-1].json["log"] == [f"it:{number}" for number in range(4)]
        assert strict((await waiting).content)["log"] == [f"it:{number}" for number in range(4)]
    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.log
    server.start()
    async with Client(server.url) as client:
        record = await client.get(location)
        assert (record["status"], record["attempt"]) == ("success", 1)


async def test_server_is_not_ready_during_the_shutdown_notice(start_server: StartServer) -> None:
    server = start_server(settings={"shutdown_notice_seconds": 2, "shutdown_grace_seconds": 0.2})
    async with Client(server.url) as client:
        kept = await client.http.get("/ready")
        assert (kept.status_code, kept.headers.get("connection")) == (200, None)
        server.terminate()
        await asyncio.sleep(0.5)
        answer = await client.http.get("/ready")
        # A kept connection is closed, so that the client's next one goes to another server.
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        # Over a new connection, and its requests are executed.
        assert await client.wait(new_id(), "noop", {"n": 1}) == {"n": 2}
    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.log


async def test_run_that_cannot_finish_is_released_and_resumed(start_server: StartServer) -> None:
    server = start_server(settings={"shutdown_grace_seconds": 0.3})
    async with Client(server.url) as client:
        location = await _begin(client, steps=6, pause=0.4, stream_resumable=True)
        reading = asyncio.create_task(_until_cut(client, location))
        waiting = asyncio.create_task(client.http.get(f"{location}/join"))
        await asyncio.sleep(1.0)
        began = time.monotonic()
        server.terminate()
        seen = await reading
        # An incomplete response makes the waiter come back for the rest; a complete one would be taken as the result.
        with pytest.raises(httpx.RemoteProtocolError):
            await waiting
        assert await asyncio.to_thread(server.wait) == 0
        assert time.monotonic() - began < 20
    assert "Traceback" not in server.log
    server.start()
    async with Client(server.url) as client:
        assert seen[-1].id is not None
        frames = await client.replay(location, seen[-1].id)
        record = await client.ended(location)
        assert (record["status"], record["attempt"], record["dead_letter"]) == ("success", 2, False)
        wanted = [f"it:{number}" for number in range(6)]
        assert frames[-1].json["log"] == wanted
        assert (await client.values(record["thread_id"]))["log"] == wanted


async def test_pending_runs_stay_pending_and_run_after_the_restart(start_server: StartServer) -> None:
    server = start_server(settings={"shutdown_grace_seconds": 0.2, "max_concurrent_runs": 1})
    async with Client(server.url) as client:
        first = await _begin(client, steps=4, pause=0.4)
        queued = [await client.create(new_id(), "noop", {"n": number}) for number in range(5)]
        server.terminate()
        assert await asyncio.to_thread(server.wait) == 0
    server.start()
    async with Client(server.url) as client:
        records = [await client.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}") for run in queued]
        assert [(one["status"], one["attempt"]) for one in records] == [("success", 1)] * 5
        assert (await client.ended(first))["status"] == "success"
    assert "Traceback" not in server.log


async def test_unresponsive_agent_code_does_not_keep_the_process_alive(start_server: StartServer) -> None:
    """It is released all the same; its late writes are refused without the lease."""
    server = start_server(settings={"shutdown_grace_seconds": 0.2, "stop_grace_seconds": 0.5})
    async with Client(server.url) as client:
        thread_id = new_id()
        began = time.monotonic()
        run = await client.create(thread_id, "blocks", {"seconds": 6.0})
        location = f"/threads/{thread_id}/runs/{run['run_id']}"
        await _running(client, location)
        await asyncio.sleep(0.3)
        server.terminate()
        assert await asyncio.to_thread(server.wait) == 0
        assert time.monotonic() < began + 6.0, "it waited for the agent's code"
    server.start()
    async with Client(server.url) as client:
        record = await client.ended(location)
        assert (record["status"], record["attempt"]) == ("success", 2)


async def test_second_signal_ends_the_process_immediately(start_server: StartServer) -> None:
    server = start_server(settings={"shutdown_grace_seconds": 30})
    async with Client(server.url) as client:
        location = await _begin(client, steps=40, pause=0.4)
        server.terminate()
        await asyncio.sleep(0.5)
        server.terminate()
        began = time.monotonic()
        await asyncio.to_thread(server.wait, 28)
        assert time.monotonic() - began < 25
    server.start()
    async with Client(server.url) as client:
        record = await client.get(location)
        assert record["status"] in ("pending", "running")
        await client.post(f"{location}/cancel")
        assert (await client.ended(location))["status"] == "interrupted"
