"""All routes under a prefix, by configuration or mounted in another app; and disabled routes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from langgraph_sdk import get_client, get_sync_client
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from .conftest import Configured, Served, with_app

HELLO: dict[str, Any] = {"messages": [{"role": "human", "content": "hi there"}]}
PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"


async def everything_works_at(url: str) -> None:
    """Clients' use of location headers and of broken streams."""
    client = get_client(url=url, api_key=None)
    thread = await client.threads.create()
    waited: Any = await client.runs.wait(thread["thread_id"], "agent", input=HELLO)
    assert waited["messages"][-1]["content"] == "echo: hi there"
    run = await client.runs.create(thread["thread_id"], "slow", input={"steps": 4, "delay": 0.02})
    assert [part async for part in client.runs.join_stream(thread["thread_id"], run["run_id"])]
    joined: Any = await client.runs.join(thread["thread_id"], run["run_id"])
    assert joined["done"] == 4
    async with httpx.AsyncClient(base_url=url) as http:
        created = await http.post("/runs/stream", json={"assistant_id": "agent", "input": HELLO})
        for name in ("location", "content-location"):
            # Relative to the client's base URL, before which the client puts its own prefix.
            assert re.match(r"/runs/[0-9a-f-]{36}", created.headers[name])
        assert (await http.get(created.headers["content-location"])).status_code == 200
    blocking = get_sync_client(url=url, api_key=None)
    told: Any = await asyncio.to_thread(lambda: blocking.runs.wait(None, "agent", input=HELLO))
    assert told["messages"][-1]["content"] == "echo: hi there"
    async with connect(f"{url.replace('http', 'ws', 1)}/threads/{uuid4()}/stream/events") as socket:
        await socket.send('{"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"]}}')
        assert "subscription_id" in str(await socket.recv())


async def test_everything_is_under_the_prefix_of_the_configuration(served: Served) -> None:
    async with served(http=with_app(mount_prefix="/my/agents")) as url:
        assert url.endswith("/my/agents")
        await everything_works_at(url)
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/hello")).json()["greeting"] == "hello from the lifespan"
            schema = (await http.get("/openapi.json")).json()
            assert schema["servers"] == [{"url": "/my/agents"}]
            assert "/threads" in schema["paths"]
            page = (await http.get("/docs")).text
            assert "href=openapi.json" in page
        async with httpx.AsyncClient(base_url=url.removesuffix("/my/agents")) as outside:
            assert (await outside.get("/ok")).status_code == 200
            for path in ("/threads/search", "/my/agentsandmore/ok", "/hello", "/docs"):
                answer = await outside.get(path)
                assert answer.status_code == 404
                assert answer.json() == {"detail": "Nothing is served here; everything is under /my/agents"}
        base = url.removesuffix("/my/agents").replace("http", "ws")
        async with connect(f"{base}/threads/{uuid4()}/stream/events") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4404


@asynccontextmanager
async def hosted(app: ASGIApp) -> AsyncIterator[str]:
    """The URL of another application, for the length of a block."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="websockets-sansio"))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                assert not task.done()
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


class Cutting:
    """A network that breaks the first stream after some chunks, and records later requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self.asked = app, list[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self.asked.append(f"{scope['method']} {scope['path']}")
        left = 6 if scope["path"].endswith("/runs/stream") else None

        async def cut(message: Message) -> None:
            nonlocal left
            if left is not None and message["type"] == "http.response.body":
                left -= 1
                if left == 0:
                    raise ConnectionResetError("the network is broken")
            await send(message)

        await self._app(scope, receive, cut)


async def test_broken_stream_resumes_by_location_under_a_prefix(configured: Configured) -> None:
    application = configured(http={"mount_prefix": "/v1"})
    theirs = FastAPI(lifespan=application.lifespan)
    theirs.mount("/agents", application.asgi)
    network = Cutting(theirs)
    async with hosted(network) as url:
        client = get_client(url=f"{url}/agents/v1", api_key=None)
        thread_id = (await client.threads.create())["thread_id"]
        given = {"steps": 20, "delay": 0.03}
        parts = [part async for part in client.runs.stream(thread_id, "slow", input=given, stream_resumable=True)]
    assert [part.data["done"] for part in parts if part.event == "values" and "done" in part.data][-1] == 20
    again = [path for path in network.asked if path.startswith("GET")]
    assert again
    assert all(path.startswith(f"GET /agents/v1/threads/{thread_id}/runs/") for path in again)


def examples() -> Iterator[Any]:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    mounting = [code for code in blocks if "app = " in code]
    return (pytest.param(code, id=f"example-{number}") for number, code in enumerate(mounting, 1))


@pytest.mark.parametrize("code", list(examples()))
async def test_examples_of_embedding_serve_every_client(
    configured: Configured, tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEAD_DATA_DIR", str(tmp_path / "data"))
    found: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "example", "exec"), found)
    async with hosted(found["app"]) as url:
        await everything_works_at(f"{url}/agents")
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/threads")).status_code == 404
            schema = (await http.get("/agents/openapi.json")).json()
            assert schema["servers"] == [{"url": "/agents"}]


SWITCHES = {
    "assistants": ["/assistants/search"],
    "threads": ["/threads", "/threads/search", f"/threads/{uuid4()}/state", f"/threads/{uuid4()}/commands"],
    "runs": ["/runs/wait", f"/threads/{uuid4()}/runs", f"/threads/{uuid4()}/commands", "/runs/batch"],
    "store": ["/store/items/search", "/store/namespaces"],
}


@pytest.mark.parametrize("noun", [*SWITCHES])
async def test_disabled_routes_are_not_found(served: Served, noun: str) -> None:
    async with served(http={f"disable_{noun}": True}) as url, httpx.AsyncClient(base_url=url) as http:
        for path in SWITCHES[noun]:
            assert (await http.post(path, json={})).status_code == 404
        for other in SWITCHES.keys() - {noun}:
            assert (await http.post(SWITCHES[other][0], json={})).status_code != 404
        described = set((await http.get("/openapi.json")).json()["paths"])
        assert not any(path.startswith("/store") for path in described) or noun != "store"
        assert ("/threads/{thread_id}/commands" in described) == (noun not in ("threads", "runs"))
        if noun in ("threads", "runs"):
            async with connect(f"{url.replace('http', 'ws')}/threads/{uuid4()}/stream/events") as socket:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4404


async def test_probes_work_when_meta_routes_are_disabled(served: Served) -> None:
    async with served(http={"disable_meta": True}) as url, httpx.AsyncClient(base_url=url) as http:
        for path in ("/info", "/docs", "/openapi.json"):
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/ok", params={"check_db": 1})).json()["ok"] is True
        assert (await http.get("/ready")).status_code == 200
        assert (await http.post("/threads", json={})).status_code == 200
