"""Many short runs leave the process as large as a few runs."""

from __future__ import annotations

import asyncio
import gc

import pytest

from .client import Client, new_id
from .conftest import StartServer
from .server import ServerProcess

MIB = 1024 * 1024


async def _short_runs(client: Client, count: int) -> None:
    """Execute runs of all kinds: awaited, streamed, in the background; with and without threads."""
    todo = iter(range(count))

    async def one_client() -> None:
        for number in todo:
            thread_id = new_id() if number % 2 else None
            match number % 3:
                case 0:
                    await client.wait(thread_id, "noop", {"n": number})
                case 1:
                    await client.frames(thread_id, "noop", {"n": number}, stream_resumable=True)
                case _:
                    run = await client.create(thread_id, "noop", {"n": number})
                    await client.get(f"/runs/{run['run_id']}/join")

    await asyncio.gather(*(one_client() for _ in range(8)))


async def _settled(server: ServerProcess) -> int:
    """Resident bytes after the allocator had time to return memory."""
    gc.collect()
    await asyncio.sleep(1.0)
    return server.resident_bytes()


@pytest.mark.timeout(1_800)
async def test_many_short_runs_use_no_more_memory_than_a_few(start_server: StartServer, is_long: bool) -> None:
    few, many, allowed = (500, 10_000, 16 * MIB) if is_long else (300, 1_500, 16 * MIB)
    # Streams of ended runs are retained by design: here so briefly that they do not count.
    server = start_server(settings={"stream_retention_seconds": 1})
    async with Client(server.url) as client:
        await _short_runs(client, few)
        before = await _settled(server)
        files, threads = server.open_files(), server.threads()
        await _short_runs(client, many - few)
        after = await _settled(server)
        print(f"\n{before / MIB:.1f} MiB after {few} runs, {after / MIB:.1f} MiB after {many}")
        assert after - before < allowed
        assert server.threads() <= threads + 2
        assert server.open_files() <= files + 2
        assert await client.post("/threads/count", {"status": "busy"}) == 0
