"""A server without authentication accepts requests of web pages from its own machine only, under any of its names."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from runstead.bootstrap.application import Application

from .conftest import GRAPHS

EVIL = "https://evil.example"
STUDIO = "https://smith.langchain.com"
THREAD = "0a1b2c3d-0000-4000-8000-000000000001"
LOCAL_ORIGINS = (
    "http://localhost:3000", "https://localhost", "http://127.0.0.1:5173", "http://127.8.9.1", "http://[::1]:3000",
    "http://app.localhost:3000",
)  # fmt: skip
FOREIGN_ORIGINS = (
    EVIL, STUDIO, "null", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://evil.example:2024",
    "http://192.168.1.5:3000", "chrome-extension://abc", "http://notlocalhost", "http://localhost:3000@evil.example",
    "",
)  # fmt: skip


@asynccontextmanager
async def running(folder: Path, http: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Application]:
    """A running application with this ``http`` in its langgraph.json."""
    config = folder / "langgraph.json"
    graphs = {"agent": f"{GRAPHS.parent / 'recorded.py'}:agent"}
    config.write_text(json.dumps({"graphs": graphs, "http": http or {}}))
    application = Application.from_file(config, data_dir=folder / "data", **settings)
    async with application.running():
        yield application


@asynccontextmanager
async def serving(
    folder: Path, http: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    async with running(folder, http, **settings) as application:
        transport = httpx.ASGITransport(application.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:2024") as client:
            yield client


async def statuses(client: httpx.AsyncClient, headers: dict[str, str]) -> set[int]:
    """Statuses of a read, a change, and a change without a body."""
    answers = [
        await client.get("/info", headers=headers),
        await client.post("/threads/search", json={}, headers=headers),
        await client.post("/threads", json={"thread_id": THREAD, "if_exists": "do_nothing"}, headers=headers),
        await client.post(f"/threads/{THREAD}/copy", headers=headers),
    ]
    return {answer.status_code for answer in answers}


async def closed_with(
    application: Application, *, path: str = f"/threads/{THREAD}/stream/events", **headers: str
) -> int | None:
    """The code with which a WebSocket is closed immediately; None for one that is served."""
    sent: asyncio.Queue[Message] = asyncio.Queue()
    gone = asyncio.Event()
    received = iter([{"type": "websocket.connect"}])

    async def receive() -> Message:
        for message in received:
            return message
        await gone.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    scope = {
        "type": "websocket", "path": path, "raw_path": b"", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "subprotocols": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2024), "scheme": "ws", "root_path": "",
    }  # fmt: skip
    task = asyncio.create_task(application.asgi(scope, receive, sent.put))
    assert (await sent.get())["type"] == "websocket.accept"
    waiting = asyncio.create_task(sent.get())
    await asyncio.wait({task, waiting}, timeout=0.2)
    code = waiting.result()["code"] if waiting.done() else None
    waiting.cancel()
    gone.set()
    await task
    return code


async def test_local_origins_are_allowed(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        for origin in LOCAL_ORIGINS:
            assert await statuses(client, {"origin": origin}) == {200}, origin
            preflight = {"origin": origin, "access-control-request-method": "POST"}
            allowed = await client.options("/threads", headers=preflight)
            assert allowed.headers["access-control-allow-origin"] == origin


async def test_foreign_origins_are_refused_with_a_remedy(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        for origin in FOREIGN_ORIGINS:
            assert await statuses(client, {"origin": origin}) == {403}, origin
            refused = await client.post("/threads", json={}, headers={"origin": origin})
            assert "allowed_origins" in refused.json()["detail"]
            assert "access-control-allow-origin" not in refused.headers


async def test_foreign_host_name_is_refused_with_a_remedy(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        for host in ("evil.example:2024", "127.0.0.1.evil.example", "192.168.1.5", "0.0.0.0:2024", "localhost.evil"):
            assert await statuses(client, {"host": host}) == {403}, host
            assert await statuses(client, {"host": host, "origin": f"http://{host}"}) == {403}, host
            assert "allowed_hosts" in (await client.get("/info", headers={"host": host})).json()["detail"]
            assert (await client.get("/ok", headers={"host": host})).status_code == 200
        for host in ("localhost", "LOCALHOST:2024", "127.0.0.1:1", "[::1]:2024", "app.localhost:2024"):
            assert await statuses(client, {"host": host}) == {200}, host


async def test_websockets_of_foreign_origins_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as application:
        assert await closed_with(application, host="127.0.0.1:2024", origin="http://localhost:3000") is None
        assert await closed_with(application, host="127.0.0.1:2024") is None
        assert await closed_with(application, host="127.0.0.1:2024", origin=EVIL) == 4403
        assert await closed_with(application, host="evil.example", origin="http://evil.example") == 4403


@pytest.mark.parametrize(
    ("http", "settings"),
    [
        ({"cors": {"allow_origins": [STUDIO]}}, {}),
        ({"cors": {"allow_origin_regex": r"https://[a-z]+\.langchain\.com"}}, {}),
        ({}, {"allowed_origins": (f"{STUDIO}/",)}),
    ],
)
async def test_origins_can_be_listed(http: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    async with serving(tmp_path, http, **settings) as client:
        assert await statuses(client, {"origin": STUDIO}) == {200}
        read = await client.get("/info", headers={"origin": STUDIO})
        assert read.headers["access-control-allow-origin"] == STUDIO
        assert await statuses(client, {"origin": EVIL}) == {403}


async def test_origins_that_the_custom_app_allows_are_listed(tmp_path: Path) -> None:
    app = Path(__file__).parent.parent / "custom" / "site.py"
    async with serving(tmp_path, {"app": f"{app}:strict"}) as client:
        assert await statuses(client, {"origin": "https://example.org"}) == {200}
        assert await statuses(client, {"origin": EVIL}) == {403}


async def test_host_names_can_be_listed(tmp_path: Path) -> None:
    async with serving(tmp_path, allowed_hosts=("chat.example.org", "*.team.example")) as client:
        for host in ("chat.example.org", "Chat.example.org:8443", "a.team.example"):
            assert await statuses(client, {"host": host}) == {200}, host
            assert await statuses(client, {"host": host, "origin": f"https://{host}"}) == {200}, host
        for host in ("example.org", "a.chat.example.org", "xteam.example"):
            assert await statuses(client, {"host": host}) == {403}, host


async def test_wildcard_allows_every_origin(tmp_path: Path) -> None:
    async with serving(tmp_path, {"cors": {"allow_origins": ["*"]}}) as client:
        assert await statuses(client, {"origin": EVIL}) == {200}


async def test_network_server_allows_its_own_pages(tmp_path: Path) -> None:
    async with serving(tmp_path, allow_unauthenticated=True) as client:
        assert await statuses(client, {"host": "10.0.0.5:2024", "origin": "http://10.0.0.5:2024"}) == {200}
        assert await statuses(client, {"host": "10.0.0.5:2024", "origin": EVIL}) == {403}


async def test_refused_page_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(tmp_path) as client:
            for _ in range(3):
                await client.get("/info", headers={"origin": EVIL})
            for number in range(200):
                await client.get("/info", headers={"origin": f"https://{number}.example"})
    told = [record.getMessage() for record in caplog.records if "of a web page" in record.getMessage()]
    assert sum(EVIL in text for text in told) == 1
    assert len(told) == 100


async def test_private_network_access_is_allowed_when_configured(tmp_path: Path) -> None:
    asked = {
        "origin": STUDIO,
        "access-control-request-method": "POST",
        "access-control-request-private-network": "true",
    }
    name = "access-control-allow-private-network"
    cors = {"allow_origins": [STUDIO]}
    async with serving(tmp_path, {"cors": cors}) as client:
        assert name not in (await client.options("/threads", headers=asked)).headers
    async with serving(tmp_path, {"cors": {**cors, "allow_private_network": True}}) as client:
        assert (await client.options("/threads", headers=asked)).headers[name] == "true"


async def test_simple_request_body_without_preflight_is_refused(tmp_path: Path) -> None:
    routes = ("/threads", "/threads/search", "/runs", f"/threads/{THREAD}/commands", f"/threads/{THREAD}/stream/events")
    async with serving(tmp_path) as client:
        await client.post("/threads", json={"thread_id": THREAD})
        for path in routes:
            for headers in ({"origin": "http://localhost:3000"}, {"sec-fetch-site": "same-origin"}):
                silent = await client.post(path, content=b"{}", headers=headers)
                assert silent.status_code == 415, path
                assert "content-type: application/json" in silent.json()["detail"]
            plain = await client.post(path, content=b"{}", headers={"content-type": "text/plain;charset=UTF-8"})
            assert plain.status_code == 415, path
        # A script without a content type is accepted, as by the reference server.
        assert (await client.post("/threads", content=b"{}")).status_code == 200
