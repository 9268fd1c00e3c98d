"""The console's files are served to browsers, without credentials and under any prefix."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from runstead.bootstrap.application import Application
from runstead.gateway.routes.console import FOLDER
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings

from .conftest import GRAPHS

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@asynccontextmanager
async def serving(tmp_path: Path, http: Any = None, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "runstead.graphs.demo:agent"}, "http": http or {}}))
    loaded = load_settings({"data_dir": tmp_path / "data", **settings}, project=tmp_path)
    application = Application(loaded, read_configuration(config))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_console_is_sent_with_a_strict_policy_for_its_content(client: httpx.AsyncClient) -> None:
    page = await client.get("/console/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (page.headers["content-encoding"], page.headers["cache-control"]) == ("gzip", "no-cache")
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert (rules["default-src"], rules["script-src"], rules["connect-src"]) == ("'none'", "'self'", "'self'")
    assert "http://" not in page.text
    assert "https://" not in page.text
    plain = await client.get("/console/", headers={"accept-encoding": "identity"})
    assert plain.text == page.text


async def test_console_sends_assets_that_browsers_may_keep(client: httpx.AsyncClient) -> None:
    names = [file.name for file in (FOLDER / "assets").iterdir()]
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for name in names:
        sent = await client.get(f"/console/assets/{name}")
        assert (sent.status_code, sent.headers["content-type"]) == (200, kinds[Path(name).suffix])
        assert "immutable" in sent.headers["cache-control"]


@pytest.mark.parametrize("path", ["nothing.js", "../version.py", "%2e%2e/version.py", "assets", "..%2fsettings.py"])
async def test_console_sends_nothing_but_its_files(path: str, client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/console/{path}")).status_code == 404


async def test_root_sends_browsers_to_the_console_and_answers_others(client: httpx.AsyncClient) -> None:
    sent = await client.get("/", headers=BROWSER)
    assert (sent.status_code, sent.headers["location"]) == (307, "console/")
    assert (await client.get("/")).json()["ok"] is True
    assert (await client.get("/ok", headers=BROWSER)).json()["ok"] is True
    assert (await client.get("/console")).headers["location"] == "console/"


async def test_console_may_send_requests_to_the_issuer_of_its_login_alone(tmp_path: Path) -> None:
    issuer = "https://login.example.org/realms/demo"
    settings = {"oidc_issuer": issuer, "oidc_audience": ("runstead",), "console_oidc_client_id": "console"}
    async with serving(tmp_path, **settings) as client:
        policy = (await client.get("/console/")).headers["content-security-policy"]
        assert "connect-src 'self' https://login.example.org;" in policy
        login = (await client.get("/console/login.json")).json()
        assert login == {"oidc": {"issuer": issuer, "client_id": "console", "scope": "openid"}}
    async with serving(tmp_path) as client:
        assert (await client.get("/console/login.json")).json() == {"oidc": None}


async def test_console_is_open_on_a_server_with_authentication(tmp_path: Path) -> None:
    async with serving(tmp_path, auth="keys") as client:
        assert (await client.get("/console/")).status_code == 200
        assert (await client.get("/", headers=BROWSER)).status_code == 307
        assert (await client.get("/runs")).status_code == 401


async def test_console_is_served_under_the_mount_prefix(tmp_path: Path) -> None:
    async with serving(tmp_path, {"mount_prefix": "/agents"}) as client:
        for place in ("/", "/agents/"):
            page = await client.get(place, headers=BROWSER, follow_redirects=True)
            assert (page.status_code, page.url.path) == (200, "/agents/console/")
        assert (await client.get("/console/")).status_code == 404


async def test_console_is_served_by_an_app_that_mounts_the_server(tmp_path: Path) -> None:
    application = Application.from_file(GRAPHS, data_dir=tmp_path / "data")
    theirs = FastAPI(lifespan=application.lifespan)
    theirs.mount("/agents", application.asgi)
    async with theirs.router.lifespan_context(theirs):
        transport = httpx.ASGITransport(theirs)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            page = await client.get("/agents/", headers=BROWSER, follow_redirects=True)
            assert (page.status_code, page.url.path) == (200, "/agents/console/")


async def test_console_that_is_switched_off_is_not_served(tmp_path: Path) -> None:
    async with serving(tmp_path, console=False) as client:
        assert (await client.get("/console/")).status_code == 404
        assert (await client.get("/", headers=BROWSER)).json()["ok"] is True


async def test_runs_are_found_by_thread_assistant_metadata_and_tags(client: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {"input": {"messages": [{"role": "human", "content": "hi"}]}}
    made = []
    for graph, customer in (("agent", "acme"), ("ctx", "acme"), ("agent", "umbrella")):
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        asked = {**body, "assistant_id": graph, "metadata": {"customer": customer}}
        asked["config"] = {"tags": [graph, customer]}
        made.append((await client.post(f"/threads/{thread}/runs", json=asked)).json())

    async def found(**where: str) -> list[str]:
        return [run["run_id"] for run in (await client.get("/runs", params=where)).json()]

    first, second, third = (run["run_id"] for run in made)
    assert await found() == [third, second, first]
    assert await found(thread_id=made[1]["thread_id"]) == [second]
    assert await found(assistant_id="agent") == [third, first]
    assert await found(assistant_id=made[1]["assistant_id"]) == [second]
    assert await found(metadata='{"customer": "acme"}') == [second, first]
    assert await found(metadata='{"customer": "acme"}', assistant_id="agent") == [first]
    assert await found(tag="acme") == [second, first]
    assert (await client.get("/runs", params={"tag": ["acme", "agent"]})).json()[0]["run_id"] == first
    assert await found(error="ValueError") == await found(tag="acm") == []
    for wrong in ({"metadata": "[]"}, {"metadata": "{"}, {"thread_id": "x"}, {"assistant_id": "unknown"}):
        assert (await client.get("/runs", params=wrong)).status_code == 422
    assert await found(assistant_id=str(uuid.uuid4())) == []
