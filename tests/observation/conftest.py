"""One server in this process, on either profile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.profiles import PROFILES, served

GRAPHS = Path(__file__).parent / "graphs.json"


@pytest.fixture(params=PROFILES)
async def http(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with served(GRAPHS, tmp_path, request) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    """Return the first result of ``look`` that is true."""
    async with asyncio.timeout(60):
        while not (found := await look()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return found


async def new_thread(http: httpx.AsyncClient) -> str:
    """Return the id of a new thread."""
    created = await http.post("/threads", json={})
    thread_id: str = created.json()["thread_id"]
    return thread_id


async def event_types(http: httpx.AsyncClient, path: str) -> list[str]:
    """Return the types of a run's events, in their order."""
    found = await http.get(f"{path}/events", params={"limit": 1000})
    return [event["event_type"] for event in found.json()["data"]]
