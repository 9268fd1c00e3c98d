"""Objects of the real libraries, created at module level and in the lifespan, shared by concurrent runs and routes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import pytest

from .conftest import Development

ECHOING = ("openai", "anthropic", "google", "google-grpc", "aiohttp", "httpx")
MCP = ("mcp-http", "mcp-http-session", "mcp-stdio", "mcp-stdio-session")
PLAIN = ("asyncpg", "psycopg", "sqlalchemy", "redis", "lock", "semaphore")
LIBRARIES = (*ECHOING, *MCP, *PLAIN, "single-flight")
RUNS = 50 if os.environ.get("RUNSTEAD_LONG") == "1" else 12
ROUNDS = 2


def expected(library: str, text: str) -> list[str]:
    prefix = dict.fromkeys(ECHOING, "echo: ") | dict.fromkeys(MCP, "about ") | {"single-flight": "loaded "}
    return [f"{prefix.get(library, '')}{text} {made}" for made in ("module", "lifespan")]


async def use_at_once(url: str, library: str, name: str, runs: int = RUNS) -> list[Any]:
    """Return the errors of a number of runs, with a few requests to a route beside them."""

    async def run(text: str) -> Any:
        body = {"assistant_id": "shared", "input": {"library": library, "text": text}}
        answer = (await client.post("/runs/wait", json=body)).json()
        return None if answer.get("said") == expected(library, text) else answer

    async def ask(text: str) -> Any:
        response = await client.get(f"/use/{library}", params={"text": text})
        return None if response.is_success and response.json() == expected(library, text) else response.text

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=90, limits=limits) as client:
        asked = [run(f"{name} run {number}") for number in range(runs)]
        asked += [ask(f"{name} route {number}") for number in range(5)]
        return [wrong for wrong in await asyncio.gather(*asked) if wrong is not None]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_objects_are_shared_by_concurrent_runs(library: str, development: Development) -> None:
    for number in range(ROUNDS):
        wrong = await use_at_once(development.url, library, f"round {number}")
        assert not wrong, f"round {number}: {len(wrong)} of {RUNS + 5}, such as {wrong[:2]}"


async def test_objects_are_shared_after_a_reload(development: Development) -> None:
    await asyncio.to_thread(development.reload)
    wrong = {library: await use_at_once(development.url, library, "again") for library in LIBRARIES}
    assert {library: (len(each), each[:2]) for library, each in wrong.items() if each} == {}
