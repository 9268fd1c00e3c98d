"""Origins that may send requests, and headers that they may read: by default, and as configured in langgraph.json."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from runstead.bootstrap.application import Application

from .conftest import GRAPHS

CHAT = "https://chat.example.org"
ASKED = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}


@asynccontextmanager
async def serving(folder: Path, cors: dict[str, Any] | None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A server with this CORS section in its langgraph.json."""
    http = {} if cors is None else {"http": {"cors": cors}}
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": f"{GRAPHS.parent / 'recorded.py'}:agent"}, **http}))
    application = Application.from_file(config, data_dir=folder / "data", **settings)
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def before(client: httpx.AsyncClient, origin: str = CHAT, **asked: str) -> httpx.Response:
    """A preflight request."""
    headers = {"origin": origin, **ASKED, **{name.replace("_", "-"): value for name, value in asked.items()}}
    return await client.options("/threads/x/runs/stream", headers=headers)


async def test_default_allows_every_origin_on_a_server_with_users(tmp_path: Path) -> None:
    async with serving(tmp_path, None, auth="keys") as client:
        allowed = await before(client)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")
        assert allowed.headers["access-control-max-age"] == "600"
        assert "access-control-allow-credentials" not in allowed.headers
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            assert (await before(client, access_control_request_method=method)).status_code == 200
        read = await client.get("/ok", headers={"origin": CHAT})
        shown = {name.strip() for name in read.headers["access-control-expose-headers"].split(",")}
        assert {"content-location", "x-pagination-total", "x-pagination-next"} <= shown


async def test_default_allows_local_origins_on_a_server_without_users(tmp_path: Path) -> None:
    async with serving(tmp_path, None) as client:
        allowed = await before(client, "http://localhost:3000")
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
        assert (await before(client)).status_code == 400


async def test_only_listed_origins_are_allowed(tmp_path: Path) -> None:
    async with serving(tmp_path, {"allow_origins": [CHAT]}) as client:
        assert (await before(client)).headers["access-control-allow-origin"] == CHAT
        assert (await before(client, "https://evil.example")).status_code == 400
        read = await client.get("/ok", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in read.headers


async def test_origins_can_be_listed_by_a_regex(tmp_path: Path) -> None:
    async with serving(tmp_path, {"allow_origin_regex": r"https://[a-z]+\.example\.org"}) as client:
        assert (await before(client)).headers["access-control-allow-origin"] == CHAT
        for origin in ("https://example.org", f"{CHAT}.evil.net"):
            assert (await before(client, origin)).status_code == 400


async def test_unlisted_origins_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, {"max_age": 5}) as client:
        assert (await before(client)).status_code == 400


async def test_methods_headers_and_max_age_follow_the_configuration(tmp_path: Path) -> None:
    cors = {"allow_origins": ["*"], "allow_methods": ["GET"], "allow_headers": ["x-api-key"], "max_age": 5}
    async with serving(tmp_path, cors) as client:
        allowed = await before(client, access_control_request_method="GET")
        assert (allowed.status_code, allowed.headers["access-control-max-age"]) == (200, "5")
        assert (await before(client, access_control_request_method="POST")).status_code == 400
        refused = await before(
            client, access_control_request_method="GET", access_control_request_headers="authorization"
        )
        assert refused.status_code == 400


async def test_credentials_are_allowed_for_listed_origins(tmp_path: Path) -> None:
    async with serving(tmp_path, {"allow_origins": [CHAT], "allow_credentials": True}) as client:
        assert (await before(client)).headers["access-control-allow-credentials"] == "true"
        read = await client.get("/ok", headers={"origin": CHAT, "cookie": "a=b"})
        assert read.headers["access-control-allow-origin"] == CHAT
        assert read.headers["access-control-allow-credentials"] == "true"


async def test_expose_headers_adds_to_the_default_headers(tmp_path: Path) -> None:
    async with serving(tmp_path, {"allow_origins": ["*"], "expose_headers": ["x-trace"]}) as client:
        read = await client.get("/ok", headers={"origin": CHAT})
        shown = {name.strip() for name in read.headers["access-control-expose-headers"].split(",")}
        assert {"x-trace", "content-location", "x-pagination-total", "x-pagination-next"} <= shown
