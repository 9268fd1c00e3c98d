"""Behaviour around the routes: browsers, failures, the OpenAPI document, and mounting in another app."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from runstead.auth.none import LOCAL_ACTOR, NoAuthentication
from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.bootstrap.unsupported import UnsupportedConfiguration
from runstead.gateway.api import create_api
from runstead.graphs.configuration import read_configuration
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunId
from runstead.settings import load_settings
from runstead.wire.errors import MASKED

from .conftest import GRAPHS

ORIGIN = {"origin": "http://localhost:3000"}


async def test_browser_request_is_allowed_and_exposes_needed_headers(client: httpx.AsyncClient) -> None:
    asked = {**ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    allowed = await client.options("/threads/x/runs/stream", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN["origin"]
    assert "x-api-key" in allowed.headers["access-control-allow-headers"]
    read = await client.post("/runs", json={"assistant_id": "agent", "input": {}}, headers=ORIGIN)
    shown = read.headers["access-control-expose-headers"].split(", ")
    assert {"content-location", "location", "x-pagination-total", "x-pagination-next"} <= set(shown)


async def test_browser_can_read_refusals(client: httpx.AsyncClient) -> None:
    refused = await client.get("/threads/not-a-uuid", headers=ORIGIN)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (422, ORIGIN["origin"])


class BrokenSource:
    @property
    def services(self) -> None:
        raise RuntimeError("the password is x")


async def test_unexpected_error_is_logged_and_masked_in_the_response(caplog: pytest.LogCaptureFixture) -> None:
    api = create_api(BrokenSource(), authenticator=NoAuthentication())  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://localhost") as client:
        failed = await client.get("/assistants/agent", headers=ORIGIN)
    assert (failed.status_code, failed.json()) == (500, {"detail": MASKED})
    assert failed.headers["access-control-allow-origin"] == "*"
    assert "the password is x" in caplog.text


async def test_requests_before_start_and_after_shutdown_get_503(application: Application) -> None:
    transport = httpx.ASGITransport(application.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        early = await client.get("/ready")
        async with application.running():
            assert (await client.get("/ready")).status_code == 200
            await application.drain()
            assert (await client.get("/ready")).status_code == 503
            assert (await client.get("/ok")).status_code == 200
        late = await client.post("/threads", json={})
    for answer in (early, late):
        assert answer.status_code == 503
        assert "lifespan=application.lifespan" in answer.json()["detail"]


async def test_every_route_is_described_with_its_body(application: Application) -> None:
    schema = application.asgi.openapi()
    described = {
        (method.upper(), path)
        for path, methods in schema["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert ("POST", "/threads/{thread_id}/runs/stream") in described
    writing = [schema["paths"][path][method.lower()] for method, path in described if method in ("PUT", "PATCH")]
    assert all("requestBody" in operation for operation in writing)
    create = schema["paths"]["/threads/{thread_id}/runs"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert create == {"$ref": "#/components/schemas/RunCreate"}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', str(schema).replace("'", '"')))
    assert references <= set(schema["components"]["schemas"])


async def test_docs_page_loads_nothing_from_other_hosts(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "/threads/{thread_id}/runs/stream" in page
    assert "multitask_strategy" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)


async def test_application_is_mounted_in_another_app(tmp_path: Path) -> None:
    application = Application.from_file(GRAPHS, data_dir=tmp_path / "data")
    theirs = FastAPI(lifespan=application.lifespan)
    theirs.mount("/agents", application.asgi)

    @theirs.get("/hello")
    async def hello() -> str:
        return "theirs"

    async with theirs.router.lifespan_context(theirs):
        transport = httpx.ASGITransport(theirs)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/hello")).json() == "theirs"
            assert (await client.get("/agents/ok")).json()["ok"] is True
            body = {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": "hi there"}]}}
            created = await client.post("/agents/runs", json=body)
            # Clients put the prefix of their own base URL before it.
            assert created.headers["content-location"].startswith("/threads/")
            joined = await client.get(f"/agents{created.headers['content-location']}/join")
            assert joined.json()["messages"][-1]["content"] == "echo: hi there"


async def test_shutdown_disconnects_readers_and_waiters_and_cancels_no_run(application: Application) -> None:
    body = {"assistant_id": "slow", "input": {"steps": 60, "delay": 0.05}, "on_disconnect": "cancel"}
    async with httpx.AsyncClient(timeout=30) as client:
        async with serving(application) as url:
            thread_id = (await client.post(f"{url}/threads", json={})).json()["thread_id"]
            reading = asyncio.create_task(client.post(f"{url}/threads/{thread_id}/runs/stream", json=body))
            kept = {**body, "on_completion": "keep"}
            waiting = asyncio.create_task(client.post(f"{url}/runs/wait", json=kept))
            run_ids = await at_work(client, url, count=2)
            stopping = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopping < 20
        for unfinished in (reading, waiting):
            with pytest.raises(httpx.RemoteProtocolError):
                await unfinished
    # Neither reader disconnected; the runs wait for the next start, and continue there.
    async with application.running() as services:
        with acting(LOCAL_ACTOR):
            for run_id in run_ids:
                assert (await services.runs.join_wait(RunId(run_id))).record.status.value == "success"


async def at_work(client: httpx.AsyncClient, url: str, *, count: int) -> list[str]:
    """Return the ids of the runs, once this number of them are being executed."""
    for _ in range(300):
        runs = (await client.get(f"{url}/runs", params={"status": "running"})).json()
        if len(runs) == count:
            return [run["run_id"] for run in runs]
        await asyncio.sleep(0.02)
    raise AssertionError("the runs are not taken up")


async def test_unloadable_auth_or_encryption_prevents_startup(tmp_path: Path) -> None:
    (tmp_path / "graph.py").write_text("")
    parts = (
        '"auth": {"path": "./auth.py:auth"}',
        '"encryption": {"path": "./e.py:e"}',
    )
    for part in parts:
        config = tmp_path / "langgraph.json"
        config.write_text('{"graphs": {"g": "./graph.py:g"}, ' + part + "}")
        application = Application(
            load_settings({"data_dir": tmp_path / "data"}, project=tmp_path), read_configuration(config)
        )
        with pytest.raises(UnsupportedConfiguration):
            async with application.running():
                pass


async def test_custom_savers_and_stores_are_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # One langgraph.json serves both servers: the reference uses these keys, while here settings define the storage.
    keys: dict[str, Any] = {
        "checkpointer": {"path": "./gone.py:c", "backend": "custom"},
        "store": {"path": "./gone.py:s"},
        "ui": {"agent": "./ui.tsx"},
    }
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "runstead.graphs.demo:agent"}, **keys}))
    application = Application(
        load_settings({"data_dir": tmp_path / "data"}, project=tmp_path), read_configuration(config)
    )
    async with application.running():
        pass
    where = "in the data directory, or in the database that the settings name"
    said = [record.getMessage().removeprefix(f"{config}: ") for record in caplog.records]
    assert [text for text in said if text.partition(":")[0] in ("checkpointer.path", "store.path", "ui")] == [
        f"checkpointer.path: ./gone.py:c is not used; checkpoints are stored {where}",
        f"store.path: ./gone.py:s is not used; items are stored {where}",
        "ui: components for user interfaces are not served",
    ]
    assert not [text for text in said if text.startswith("checkpointer.backend")]


async def test_event_streams_are_switched_off_without_the_runs(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    graphs = {"agent": "runstead.graphs.demo:agent"}
    config.write_text(json.dumps({"graphs": graphs, "http": {"disable_event_streaming": True}}))
    settings = load_settings({"data_dir": tmp_path / "data"}, project=tmp_path)
    application = Application(settings, read_configuration(config))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        thread_id = (await client.post("/threads", json={})).json()["thread_id"]
        assert (await client.post(f"/threads/{thread_id}/stream/events", json={})).status_code in (404, 405)
        assert (await client.post(f"/threads/{thread_id}/commands", json={})).status_code == 404
        assert (await client.get(f"/threads/{thread_id}/runs")).status_code == 200


async def test_disabled_resources_have_no_routes(application: Application) -> None:
    api = create_api(application, authenticator=NoAuthentication(), disabled={"store", "assistants"})
    transport = httpx.ASGITransport(api)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/store/items/search", "/assistants/search"):
            assert (await client.post(path, json={})).status_code == 404
        assert (await client.post("/threads", json={})).status_code == 200


async def test_events_can_be_kept_as_files(tmp_path: Path) -> None:
    flags = {"data_dir": tmp_path / "data", "run_events": "jsonl"}
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        thread_id = (await client.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": "hi there"}]}}
        await client.post(f"/threads/{thread_id}/runs/wait", json=body)
        (run,) = (await client.get(f"/threads/{thread_id}/runs")).json()
        path = f"/threads/{thread_id}/runs/{run['run_id']}/messages"
        messages = (await client.get(path)).json()["data"]
    assert [message["event_type"] for message in messages] == ["human_message", "ai_message"]
    assert list((tmp_path / "data" / "events").rglob("*.jsonl"))
