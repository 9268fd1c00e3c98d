"""User code that blocks its event loop forever: its runs are released, and the process replaces itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from .client import Client, eventually, location_of, new_id
from .conftest import StartServer
from .frames import Frame, FrameReader
from .server import ServerProcess

SETTINGS = {
    "blocked_loop_limit_seconds": 1.5,
    "lease_term_seconds": 2,
    "max_attempts": 2,
    "shutdown_grace_seconds": 1,
    "show_errors": True,
}
FOR_EVER = {"seconds": 10_000.0}


async def _follow(client: Client, location: str) -> list[Frame]:
    """Return all frames of a run, with reconnects until its end."""
    reader, seen = FrameReader(), list[Frame]()
    while not (seen and seen[-1].event == "end"):
        headers = {"last-event-id": reader.last_id or "-1"}
        try:
            async with client.http.stream("GET", f"{location}/stream", headers=headers) as response:
                assert response.status_code in (200, 503)
                if response.status_code == 200:
                    async for data in response.aiter_raw():
                        seen += reader.feed(data)
                    return seen
        except httpx.TransportError:
            reader.cut()
        await asyncio.sleep(0.05)
    return seen


async def _knock(server: ServerProcess, over: asyncio.Event) -> int:
    """Count refused new connections, until the end of the block."""
    refused = 0
    while not over.is_set():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()
        except ConnectionRefusedError:
            refused += 1
        await asyncio.sleep(0.01)
    return refused


async def test_run_blocking_the_loop_becomes_a_dead_letter_without_other_losses(
    start_server: StartServer,
) -> None:
    server = start_server(settings=SETTINGS)
    pid, over = server.pid, asyncio.Event()
    knocking = asyncio.create_task(_knock(server, over))
    async with Client(server.url) as client:
        steps = {"name": "it", "steps": 15, "pause": 0.2}
        run = await client.create(new_id(), "steps", steps, stream_mode="values", stream_resumable=True)
        location = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
        following = asyncio.create_task(_follow(client, location))
        await asyncio.sleep(0.5)
        stuck = await client.create(new_id(), "burns", FOR_EVER)

        async def ended() -> Any:
            try:
                record = await client.get(f"/threads/{stuck['thread_id']}/runs/{stuck['run_id']}")
            except (httpx.TransportError, AssertionError):
                return None
            return record if record["status"] == "error" else None

        dead = await eventually(ended, within=90)
        assert dead["attempt"] == 2
        finished = await client.ended(location, within=60)
        frames = await asyncio.wait_for(following, 30)
    over.set()
    assert await knocking == 0, "the socket listens all the time"
    # Attempts lost by a neighbour's block do not count: two are allowed.
    assert finished["status"] == "success"
    assert finished["attempt"] == 3
    assert server.pid == pid, "a supervisor sees the same process"
    assert server.log.count("handing its runs back and restarting the process") == 2
    values = [frame.json for frame in frames if frame.event == "values"]
    assert values[-1]["log"] == [f"it:{number}" for number in range(15)]
    ids = [frame.id for frame in frames if frame.id]
    assert len(ids) == len(set(ids))


async def test_cancelled_run_that_blocks_the_loop_ends_as_cancelled(start_server: StartServer) -> None:
    server = start_server(settings={**SETTINGS, "blocked_loop_limit_seconds": 3, "stop_grace_seconds": 30})
    async with Client(server.url) as client:
        async with client.stream(new_id(), "burns", FOR_EVER) as response:
            location = location_of(response)
            await anext(response.aiter_raw())
            await client.post(f"{location}/cancel", params={"wait": "0"})

        async def ended() -> Any:
            try:
                record = await client.get(location)
            except (httpx.TransportError, AssertionError):
                return None
            return record if record["status"] == "interrupted" else None

        assert (await eventually(ended, within=60))["attempt"] == 1
