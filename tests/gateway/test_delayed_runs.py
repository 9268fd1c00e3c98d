"""A delayed run is in flight from its creation on, as on the reference server, whose responses these are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.profiles import PROFILES, served

GRAPHS = Path(__file__).parent.parent / "graphs" / "recorded.json"
LATER = 3_600


@pytest.fixture(params=PROFILES)
async def http(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with served(GRAPHS, tmp_path, request) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def created(http: httpx.AsyncClient, thread: str, expected: int = 200, **body: Any) -> Any:
    """A run that appends its input to the thread's log."""
    answer = await http.post(f"/threads/{thread}/runs", json={"assistant_id": "slow", "input": {"steps": 1}, **body})
    assert answer.status_code == expected, answer.text
    return answer.json()


async def a_thread(http: httpx.AsyncClient) -> str:
    thread: str = (await http.post("/threads", json={})).json()["thread_id"]
    return thread


async def status(http: httpx.AsyncClient, thread: str) -> str:
    found: str = (await http.get(f"/threads/{thread}")).json()["status"]
    return found


async def test_thread_of_a_delayed_run_is_busy(http: httpx.AsyncClient) -> None:
    thread = await a_thread(http)
    run = await created(http, thread, after_seconds=LATER)
    assert (run["status"], await status(http, thread)) == ("pending", "busy")
    assert [one["thread_id"] for one in (await http.post("/threads/search", json={"status": "busy"})).json()] == [
        thread
    ]
    update = await http.post(f"/threads/{thread}/state", json={"values": {"steps": 2}})
    assert (update.status_code, "already running" in update.json()["detail"]) == (409, True)
    cancelled = await http.post(f"/threads/{thread}/runs/{run['run_id']}/cancel?wait=true")
    assert (cancelled.status_code, await status(http, thread)) == (200, "idle")


async def test_reject_refuses_a_run_beside_a_delayed_one(http: httpx.AsyncClient) -> None:
    thread = await a_thread(http)
    await created(http, thread, after_seconds=LATER)
    for after in (0, LATER):
        refused = await created(http, thread, 409, multitask_strategy="reject", after_seconds=after)
        assert "already running a task" in refused["detail"]


async def test_enqueued_run_starts_before_a_delayed_run_is_due(http: httpx.AsyncClient) -> None:
    thread = await a_thread(http)
    delayed = await created(http, thread, after_seconds=LATER)
    second = await created(http, thread)
    await http.get(f"/threads/{thread}/runs/{second['run_id']}/join")
    assert (await http.get(f"/threads/{thread}/runs/{second['run_id']}")).json()["status"] == "success"
    assert (await http.get(f"/threads/{thread}/runs/{delayed['run_id']}")).json()["status"] == "pending"
    assert await status(http, thread) == "busy"
    assert (await http.delete(f"/threads/{thread}/runs/{delayed['run_id']}")).status_code == 204
    assert await status(http, thread) == "idle"


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", 200), ("rollback", 404)])
async def test_delayed_run_gives_way_to_interrupt_and_rollback(
    http: httpx.AsyncClient, strategy: str, left: int
) -> None:
    thread = await a_thread(http)
    delayed = await created(http, thread, after_seconds=LATER)
    second = await created(http, thread, multitask_strategy=strategy)
    await http.get(f"/threads/{thread}/runs/{second['run_id']}/join")
    found = await http.get(f"/threads/{thread}/runs/{delayed['run_id']}")
    assert (found.status_code, found.json().get("status")) == (left, "interrupted" if left == 200 else None)
    assert await status(http, thread) == "idle"


async def test_delayed_run_starts_when_it_is_due(http: httpx.AsyncClient) -> None:
    thread = await a_thread(http)
    run = await created(http, thread, after_seconds=0.2)
    await http.get(f"/threads/{thread}/runs/{run['run_id']}/join")
    assert (await http.get(f"/threads/{thread}/runs/{run['run_id']}")).json()["status"] == "success"
    assert await status(http, thread) == "idle"
