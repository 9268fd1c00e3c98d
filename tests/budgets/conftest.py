"""Servers with budgets, in this process, on either profile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import pytest

from tests.servers.profiles import PROFILES, served

GRAPHS: Final = Path(__file__).parent / "graphs.json"
SAID: Final = {"messages": [{"role": "human", "content": "Work on it, please."}]}

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(params=PROFILES)
def serve(tmp_path: Path, request: pytest.FixtureRequest) -> Serve:
    """Serves the graphs with settings, for the length of a block."""

    @asynccontextmanager
    async def serve(*budgets: dict[str, Any], **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with (
            served(GRAPHS, tmp_path, request, budgets=budgets, **settings) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as http,
        ):
            yield http

    return serve


async def calls_of(http: httpx.AsyncClient, run: Any) -> list[int]:
    """Return the tokens of each call of a run that ended, in order."""
    path = f"/threads/{run['thread_id']}/runs/{run['run_id']}/events"
    page = (await http.get(path, params={"types": "llm_response", "limit": 1000})).json()
    return [event["content"]["message"]["usage_metadata"]["total_tokens"] for event in page["data"]]


def check_overshoot(calls: list[int], limit: int) -> None:
    """Assert that the budget was used up, and that without one of the calls it was not."""
    assert sum(calls) >= limit
    assert sum(calls) - max(calls) < limit
