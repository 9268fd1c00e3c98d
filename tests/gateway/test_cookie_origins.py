"""Browsers send cookies with requests of any page: with authentication, foreign pages cannot open WebSockets with
them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import Auth
from starlette.websockets import WebSocketDisconnect

from runstead.bootstrap.application import Application

from .conftest import GRAPHS
from .test_page_guard import EVIL, STUDIO, THREAD, closed_with

HOST = "chat.example.org"
COOKIE = {"host": HOST, "cookie": "session=ada"}
CUSTOM = GRAPHS.parent.parent / "custom"

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> str:
    """Authenticate by cookie."""
    if b"session=ada" not in headers.get(b"cookie", b"") and headers.get(b"authorization") != b"Bearer ada":
        raise Auth.exceptions.HTTPException(status_code=401)
    return "ada"


@asynccontextmanager
async def running(folder: Path, http: Mapping[str, Any] | None = None, **settings: Any) -> AsyncIterator[Application]:
    config = folder / "langgraph.json"
    graphs = {"agent": f"{GRAPHS.parent / 'recorded.py'}:agent"}
    config.write_text(json.dumps({"graphs": graphs, "http": http or {}, "auth": {"path": f"{__file__}:auth"}}))
    application = Application.from_file(config, data_dir=folder / "data", **settings)
    async with application.running():
        yield application


async def test_socket_of_a_foreign_page_with_cookies_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as application:
        for foreign in (EVIL, "null", "http://chat.example.org.evil.example", "http://localhost:3000"):
            assert await closed_with(application, **COOKIE, origin=foreign) == 4403, foreign
            crossing = {"origin": foreign, "sec-fetch-site": "cross-site", "sec-fetch-mode": "websocket"}
            assert await closed_with(application, **COOKIE, **crossing) == 4403, foreign


async def test_socket_of_own_page_program_or_token_is_served(tmp_path: Path) -> None:
    behind_proxy = {**COOKIE, "host": "10.0.0.5:2024"}
    own = f"https://{HOST}"
    async with running(tmp_path) as application:
        assert await closed_with(application, **COOKIE) is None
        assert await closed_with(application, **COOKIE, origin=own) is None
        # A proxy that gives the server another name: two headers that no page can set show that.
        assert await closed_with(application, **behind_proxy, origin=own) == 4403
        assert await closed_with(application, **behind_proxy, origin=own, **{"x-forwarded-host": HOST}) is None
        assert await closed_with(application, **behind_proxy, origin=own, **{"sec-fetch-site": "same-origin"}) is None
        # Without cookies a page needs a token.
        assert await closed_with(application, host=HOST, authorization="Bearer ada", origin=EVIL) is None
        local = {**COOKIE, "host": "localhost:2024"}
        assert await closed_with(application, **local, origin="http://localhost:3000") is None


@pytest.mark.parametrize(
    ("http", "settings"),
    [
        ({"cors": {"allow_origins": [STUDIO]}}, {}),
        ({"cors": {"allow_origins": ["*"]}}, {}),
        ({"cors": {"allow_origin_regex": r"https://[a-z]+\.langchain\.com"}}, {}),
        ({}, {"allowed_origins": (STUDIO,)}),
    ],
)
async def test_origins_can_be_listed(http: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    async with running(tmp_path, http, **settings) as application:
        assert await closed_with(application, **COOKIE, origin=STUDIO) is None


async def test_request_without_preflight_is_refused_too(tmp_path: Path) -> None:
    """A form, or a POST without a body, is sent with cookies without a CORS preflight."""
    async with running(tmp_path) as application:
        transport = httpx.ASGITransport(application.asgi)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", headers=COOKIE) as client:
            await client.post("/threads", json={"thread_id": THREAD})
            crossing = {"origin": EVIL, "sec-fetch-site": "cross-site"}
            refused = await client.post(f"/threads/{THREAD}/copy", headers=crossing)
            assert refused.status_code == 403
            assert "allowed_origins" in refused.json()["detail"]
            own = {"origin": f"https://{HOST}", "sec-fetch-site": "same-origin"}
            assert (await client.post(f"/threads/{THREAD}/copy", headers=own)).status_code == 200
            # A read changes nothing, and the browser shows it only to pages that CORS allows.
            assert (await client.get(f"/threads/{THREAD}", headers=crossing)).status_code == 200
            token = {"authorization": "Bearer ada", "cookie": ""}
            assert (await client.post(f"/threads/{THREAD}/copy", headers={**crossing, **token})).status_code == 200


@pytest.mark.parametrize("asked", [False, True])
async def test_sockets_of_the_custom_app_are_checked_where_its_routes_authenticate(asked: bool, tmp_path: Path) -> None:
    http = {"app": f"{CUSTOM / 'site.py'}:app", "enable_custom_route_auth": asked}
    async with running(tmp_path, http) as application:
        try:
            closed = await closed_with(application, **COOKIE, origin=EVIL, path="/echo")
        except WebSocketDisconnect:
            # The app's route was served until the test disconnected.
            closed = None
        assert closed == (4403 if asked else None)
