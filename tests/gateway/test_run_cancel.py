"""Bulk cancellation by status: of the user's own runs, on all threads, and of no other user's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.gateway.api import create_api

from .test_isolation import ALICE, BOB, ByName

SLOW = {"assistant_id": "slow", "input": {"steps": 200, "delay": 0.05}}


@pytest.fixture
async def door(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_api(application, authenticator=ByName()))
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def a_thread_at_work(door: httpx.AsyncClient, who: dict[str, str]) -> str:
    """A thread with a running run, and a pending one."""
    thread_id: str = (await door.post("/threads", json={}, headers=who)).json()["thread_id"]
    for _ in range(2):
        await door.post(f"/threads/{thread_id}/runs", json=SLOW, headers=who)
    for _ in range(500):
        if await statuses(door, thread_id, who) == ["pending", "running"]:
            return thread_id
        await asyncio.sleep(0.01)
    raise AssertionError("the run does not begin")


async def statuses(door: httpx.AsyncClient, thread_id: str, who: dict[str, str]) -> list[str]:
    return [run["status"] for run in (await door.get(f"/threads/{thread_id}/runs", headers=who)).json()]


async def settled(door: httpx.AsyncClient, thread_id: str, who: dict[str, str]) -> None:
    for run in (await door.get(f"/threads/{thread_id}/runs", headers=who)).json():
        await door.get(f"/runs/{run['run_id']}/join", headers=who)


async def cancel(door: httpx.AsyncClient, who: dict[str, str], **body: Any) -> int:
    return (await door.post("/runs/cancel", json=body, headers=who)).status_code


async def test_cancel_all_affects_own_runs_only(door: httpx.AsyncClient) -> None:
    mine = [await a_thread_at_work(door, ALICE) for _ in range(2)]
    yours = await a_thread_at_work(door, BOB)
    assert await cancel(door, ALICE, status="all") == 204
    for thread_id in mine:
        await settled(door, thread_id, ALICE)
        assert await statuses(door, thread_id, ALICE) == ["interrupted", "interrupted"]
    assert await statuses(door, yours, BOB) == ["pending", "running"]
    # Nothing is left to be cancelled, which is the requested result.
    assert await cancel(door, ALICE, status="all") == 204


async def test_cancel_pending_spares_the_running_run(door: httpx.AsyncClient) -> None:
    thread_id = await a_thread_at_work(door, ALICE)
    later = {**SLOW, "after_seconds": 3600}
    await door.post(f"/threads/{thread_id}/runs", json=later, headers=ALICE)
    assert await cancel(door, ALICE, status="pending") == 204
    assert await statuses(door, thread_id, ALICE) == ["interrupted", "interrupted", "running"]


async def test_cancel_running_spares_pending_runs(door: httpx.AsyncClient) -> None:
    thread_id = await a_thread_at_work(door, ALICE)
    (waiting, running) = (await door.get(f"/threads/{thread_id}/runs", headers=ALICE)).json()
    assert await cancel(door, ALICE, status="running") == 204
    await door.get(f"/runs/{running['run_id']}/join", headers=ALICE)
    assert (await door.get(f"/runs/{running['run_id']}", headers=ALICE)).json()["status"] == "interrupted"
    assert (await door.get(f"/runs/{waiting['run_id']}", headers=ALICE)).json()["status"] in ("pending", "running")


async def test_cancel_of_another_user_s_runs_is_not_found(door: httpx.AsyncClient) -> None:
    thread_id = await a_thread_at_work(door, ALICE)
    run_ids = [run["run_id"] for run in (await door.get(f"/threads/{thread_id}/runs", headers=ALICE)).json()]
    assert await cancel(door, BOB, thread_id=thread_id, run_ids=run_ids) == 404
    assert await statuses(door, thread_id, ALICE) == ["pending", "running"]
