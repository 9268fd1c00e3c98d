"""httpx over `LoopbackTransport`: requests to an app in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from runstead.gateway.loopback_transport import LoopbackTransport
from runstead.testing.clock import turn

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"app")]}


def client(app: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://api", transport=LoopbackTransport(app))


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_request_arrives_completely() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope, message=await receive())
        await send({**START, "status": 201})
        await send(chunk(b"done", more=False))

    answer = await client(app).post("/a%2Fb/é?q=1", content=b"body", headers={"X-User": "ada"})
    assert (answer.status_code, answer.text, answer.headers["x-kind"]) == (201, "done", "app")
    assert (seen["method"], seen["path"], seen["raw_path"]) == ("POST", "/a/b/é", b"/a%2Fb/%C3%A9")
    assert (seen["query_string"], seen["message"]["body"]) == (b"q=1", b"body")
    assert (b"x-user", b"ada") in seen["headers"]


async def test_response_arrives_in_chunks() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(chunk(b"first"))
        await gate.wait()
        await send(chunk(b"second", more=False))

    async with client(app).stream("GET", "/") as answer:
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"first"
        gate.set()
        assert [piece async for piece in pieces] == [b"second"]


async def test_app_waits_for_a_slow_reader_and_sees_its_disconnect() -> None:
    sent, heard = 0, asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await receive()
        await send(START)
        while sent < 1_000:
            await send(chunk(b"x"))
            sent += 1
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    async with client(app).stream("GET", "/") as answer:
        assert await anext(answer.aiter_raw()) == b"x"
        await turn()
        assert sent < 100
    async with asyncio.timeout(5):
        await heard.wait()


async def test_request_that_is_cancelled_is_a_disconnect() -> None:
    heard = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    request = asyncio.ensure_future(client(app).get("/"))
    await turn()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    async with asyncio.timeout(5):
        await heard.wait()


@pytest.mark.parametrize("begun", [False, True])
async def test_error_of_the_app_is_raised(begun: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send(START)
            await send(chunk(b"part"))
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await client(app).get("/")


async def test_app_that_sends_nothing_is_an_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with pytest.raises(RuntimeError, match="without a response"):
        await client(app).get("/")
