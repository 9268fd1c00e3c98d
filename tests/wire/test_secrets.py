"""Data hidden from readers: internal error texts, the authenticated user, credentials."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings

GRAPHS = Path(__file__).parent / "secrets.json"
MODES = ["values", "updates", "messages", "messages-tuple", "tasks", "checkpoints", "debug", "custom", "events"]
MASKED = "An internal error occurred"
SECRET = "sk-not-for-you"

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def serving(**flags: Any) -> AsyncIterator[httpx.AsyncClient]:
        place = {"data_dir": tmp_path / "data", "shutdown_grace_seconds": 0.1}
        application = Application(load_settings({**place, **flags}, project=tmp_path), read_configuration(GRAPHS))
        transport = httpx.ASGITransport(application.asgi)
        headers = {"authorization": "Bearer alice-token", "x-api-key": SECRET, "x-tenant": "acme"}
        async with (
            application.running(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client,
        ):
            yield client

    return serving


async def everything(client: httpx.AsyncClient, graph: str) -> str:
    """Return all data of one run of ``graph`` that its readers can get."""
    thread_id = (await client.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": graph, "input": {"text": "hi"}, "stream_mode": MODES, "stream_subgraphs": True}
    place = f"/threads/{thread_id}"
    told = [(await client.post(f"{place}/runs/stream", json={**body, "stream_resumable": True})).text]
    run_id = (await client.get(f"{place}/runs")).json()[0]["run_id"]
    for path in ("", "/state", "/history", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/join"):
        told.append((await client.get(f"{place}{path}")).text)
    for path in (f"/runs/{run_id}/events", f"/runs/{run_id}/messages", "/messages"):
        told.append((await client.get(f"{place}{path}")).text)
    told.append((await client.get(f"{place}/runs/{run_id}/stream", headers={"last-event-id": "-1"})).text)
    return "\n".join(told)


async def test_library_error_text_is_only_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as client:
        with caplog.at_level(logging.WARNING):
            told = await everything(client, "vendor")
        (run,) = (await client.get("/runs")).json()
        failed = await client.post("/runs/wait", json={"assistant_id": "vendor", "input": {"text": "hi"}})
    assert SECRET not in told
    assert told.count(MASKED) > 10
    assert failed.json()["__error__"] == {"error": "VendorError", "message": MASKED}
    assert run["failure"] == {"error": "VendorError", "message": MASKED}
    (line,) = [record for record in caplog.records if run["run_id"] in record.getMessage()]
    assert line.exc_info
    assert SECRET in str(line.exc_info[1])


async def test_show_errors_exposes_full_error_texts(serve: Serve) -> None:
    async with serve(show_errors=True) as client:
        told = await everything(client, "vendor")
    assert MASKED not in told
    assert told.count(SECRET) > 10


async def test_error_raised_by_the_author_is_shown(serve: Serve) -> None:
    async with serve() as client:
        told = await everything(client, "refusing")
    assert MASKED not in told
    assert told.count("no cats, please") > 10


@pytest.mark.parametrize("graph", ["seeing", "parent"])
async def test_responses_do_not_expose_the_user_or_credentials(serve: Serve, graph: str) -> None:
    async with serve() as client:
        told = await everything(client, graph)
    # The graph itself sees the user, and outputs it; no other output does.
    assert told.count("seen by the graph: alice") > 0
    for name in ("langgraph_auth", "langgraph_request_id", SECRET, "alice-token"):
        assert name not in told, told[told.index(name) - 300 : told.index(name) + 100]
    assert not re.search(r'"__pregel_\w+":', told)


async def test_headers_reach_a_run_by_pattern_and_credentials_never(serve: Serve) -> None:
    async with serve() as client:
        answer = await client.post(
            "/runs/wait",
            json={"assistant_id": "headers", "input": {"text": "hi"}},
            headers={"x-trace": "1", "x-secret-thing": "2", "cookie": "c=1", "x-tenant-id": "t", "user-agent": "me"},
        )
    assert json.loads(answer.json()["text"]) == {"x-tenant": "acme", "x-trace": "1"}
