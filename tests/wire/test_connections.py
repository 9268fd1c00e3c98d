"""Clients with slow, silent, or too many connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .conftest import GRAPHS

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[str]]
Pipe: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[str]:
        flags = {"data_dir": current_data(tmp_path / "data"), "port": 0, "shutdown_grace_seconds": 0.1, **settings}
        application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
        async with serving(application) as url:
            yield url

    return started


async def dial(url: str) -> Pipe:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def rest_of(pipe: Pipe, *, drip: bytes = b"") -> bytes:
    """Return the received data until the server closes the connection; meanwhile send a byte now and then."""
    reader, writer = pipe

    async def dripping() -> None:
        while drip:
            writer.write(drip)
            await asyncio.sleep(0.05)

    dripping_task = asyncio.create_task(dripping())
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        dripping_task.cancel()
        writer.close()


@pytest.mark.parametrize(
    ("sent", "drip"),
    [(b"", b""), (b"GET /ok HT", b""), (b"GET /ok HTTP/1.1\r\n", b"X"), (b"", b"G")],
    ids=["nothing", "half-a-line", "headers-byte-by-byte", "request-line-byte-by-byte"],
)
async def test_connection_without_a_whole_request_is_closed(sent: bytes, drip: bytes, serve: Serve) -> None:
    async with serve(request_timeout_seconds=0.5) as url:
        pipe = await dial(url)
        pipe[1].write(sent)
        answer = await rest_of(pipe, drip=drip)
    assert answer.startswith(b"HTTP/1.1 408 ") if sent or drip else answer == b""


async def test_next_request_of_a_connection_has_no_more_time_than_the_first(serve: Serve) -> None:
    async with serve(request_timeout_seconds=0.5) as url:
        pipe = reader, writer = await dial(url)
        writer.write(b"GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b'"ok":true' in await reader.readuntil(b"}}")
        # A connection that is idle between two requests is kept.
        await asyncio.sleep(1)
        writer.write(b"GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b'"ok":true' in await reader.readuntil(b"}}")
        writer.write(b"GET /ok HTTP/1.1\r\n")
        assert (await rest_of(pipe, drip=b"X")).startswith(b"HTTP/1.1 408 ")


async def test_stalled_body_ends_its_connection(serve: Serve) -> None:
    async with serve(request_timeout_seconds=0.5) as url:
        pipe = await dial(url)
        head = (
            b"POST /threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        pipe[1].write(head + b'{"met')
        await rest_of(pipe)


async def test_answer_may_take_longer_than_a_request(serve: Serve) -> None:
    async with (
        serve(request_timeout_seconds=0.2, heartbeat_seconds=0.1) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        thread = str(uuid4())
        async with http.stream("POST", f"/threads/{thread}/stream/events", json={"channels": ["lifecycle"]}) as stream:
            lines = stream.aiter_raw()
            async with asyncio.timeout(20):
                for _ in range(8):
                    await anext(lines)


async def test_slow_clients_do_not_block_others(serve: Serve) -> None:
    async with serve(request_timeout_seconds=0.5, max_connections=50) as url, AsyncExitStack() as stack:
        slow = [await dial(url) for _ in range(80)]
        for _, writer in slow:
            stack.callback(writer.close)
            writer.write(b"GET /info HTTP/1.1\r\nX-")
        await asyncio.sleep(0.1)
        async with httpx.AsyncClient(base_url=url) as http:
            refused = await http.get("/info")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["connection"] == "close"
            assert "max_connections" in refused.json()["detail"]
            assert (await http.get("/ok")).status_code == 200
            for pipe in slow:
                assert (await rest_of(pipe)).startswith(b"HTTP/1.1 408 ")
            assert (await http.get("/info")).status_code == 200


async def test_websockets_count_as_connections_and_are_refused_with_a_code(serve: Serve) -> None:
    async with serve(max_connections=2) as url:
        address = f"{url.replace('http', 'ws')}/threads/{uuid4()}/stream/events"
        async with connect(address) as first, connect(address) as second:
            for socket in (first, second):
                await socket.send(json.dumps({"id": 1, "method": "unknown.method", "params": {}}))
                assert json.loads(await socket.recv())["type"] == "error"
            async with connect(address) as third:
                with pytest.raises(ConnectionClosed) as closed:
                    await third.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4503
