"""Many large bodies and responses: refused while the budget is exhausted, and never held longer than needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.auth.conftest import application_of
from tests.servers.sqlite import current_data

from .conftest import GRAPHS

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[str]]
Pipe: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MB = 1_000_000


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[str]:
        flags = {"data_dir": current_data(tmp_path / "data"), "port": 0, "shutdown_grace_seconds": 0.1, **settings}
        application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
        async with serving(application) as url:
            yield url

    return started


async def half_a_body(url: str, token: str | None = None, size: int = 2 * MB) -> Pipe:
    """A request whose body has arrived except for its last bytes."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    who = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST /threads HTTP/1.1\r\nHost: localhost\r\n{who}Content-Type: application/json\r\n"
    body = json.dumps({"metadata": {"x": "x" * size}}).encode()
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-2])
    await writer.drain()
    return reader, writer


async def status_of(pipe: Pipe) -> int:
    reader, writer = pipe
    writer.write(b"}}")
    async with asyncio.timeout(20):
        status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def test_bodies_that_do_not_fit_are_refused_and_fit_later(serve: Serve) -> None:
    async with (
        serve(memory_in_flight_bytes=5 * MB, memory_in_flight_user_bytes=5 * MB) as url,
        AsyncExitStack() as stack,
    ):
        held = [await half_a_body(url) for _ in range(2)]
        for _, writer in held:
            stack.callback(writer.close)
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            await asyncio.sleep(0.3)
            body = {"metadata": {"x": "x" * 2 * MB}}
            refused = await http.post("/threads", json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "memory_in_flight_bytes" in refused.json()["detail"]
            assert (await http.post("/threads", json={})).status_code == 200
            assert [await status_of(pipe) for pipe in held] == [200, 200]
            assert (await http.post("/threads", json=body)).status_code == 200


async def test_one_user_cannot_exhaust_the_byte_budget_of_others(tmp_path: Path) -> None:
    application = application_of(tmp_path / "data", memory_in_flight_bytes=9 * MB, memory_in_flight_user_bytes=3 * MB)
    async with serving(application) as url, AsyncExitStack() as stack, httpx.AsyncClient(base_url=url) as http:
        _, writer = await half_a_body(url, "alice-token")
        stack.callback(writer.close)
        await asyncio.sleep(0.3)
        body = {"metadata": {"x": "x" * 2 * MB}}
        alice, bob = ({"Authorization": f"Bearer {name}-token"} for name in ("alice", "bob"))
        refused = await http.post("/threads", json=body, headers=alice)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "memory_in_flight_user_bytes" in refused.json()["detail"]
        assert (await http.post("/threads", json={}, headers=alice)).status_code == 200
        assert (await http.post("/threads", json=body, headers=bob)).status_code == 200


async def test_aborted_body_releases_its_bytes(serve: Serve) -> None:
    async with serve(memory_in_flight_bytes=3 * MB, memory_in_flight_user_bytes=3 * MB) as url:
        _, writer = await half_a_body(url)
        await asyncio.sleep(0.3)
        writer.close()
        await asyncio.sleep(0.3)
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.post("/threads", json={"metadata": {"x": "x" * 2 * MB}})).status_code == 200


async def test_body_releases_its_bytes_while_its_run_is_awaited(serve: Serve) -> None:
    async with (
        serve(memory_in_flight_bytes=3 * MB, memory_in_flight_user_bytes=3 * MB) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        body = {
            "assistant_id": "agent",
            "input": {"messages": [{"role": "user", "content": "hi"}]},
            "metadata": {"x": "x" * 2 * MB},
            "after_seconds": 600,
        }
        async with http.stream("POST", "/runs/wait", json=body) as waiting:
            assert waiting.status_code == 200
            async with http.stream("POST", "/runs/stream", json=body) as stream:
                assert stream.status_code == 200
                assert (await http.post("/threads", json={"metadata": {"x": "x" * 2 * MB}})).status_code == 200


async def test_unread_responses_hold_bytes_until_read(serve: Serve) -> None:
    async with (
        serve(memory_in_flight_bytes=30 * MB, memory_in_flight_user_bytes=30 * MB) as url,
        httpx.AsyncClient(base_url=url, timeout=40) as http,
    ):
        thread = (await http.post("/threads", json={"metadata": {"x": "x" * 25 * MB}})).json()["thread_id"]
        path = f"/threads/{thread}"
        async with http.stream("GET", path) as unread:
            assert unread.status_code == 200
            refused = await http.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            whole = b"".join([piece async for piece in unread.aiter_bytes()])
        assert len(json.loads(whole)["metadata"]["x"]) == 25 * MB
        assert (await http.get(path)).status_code == 200
