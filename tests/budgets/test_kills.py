"""Budgets over SIGKILL: what killed attempts used counts, in one server and over the workers of a cluster."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import balanced
from tests.cluster.nodes import Cluster
from tests.processes.client import Client, eventually
from tests.processes.conftest import start_server  # noqa: F401
from tests.processes.server import ServerProcess
from tests.webhooks.receiver import receiving

from .conftest import GRAPHS, SAID, calls_of

LIMIT = 14
"""Tokens of the first two calls of the graph. The second alone, which comes after the kill, uses less."""


def waiting_for(file: Path) -> dict[str, Any]:
    return {"messages": [{"role": "human", "content": str(file)}]}


async def check_continued(client: Client, run: Any) -> None:
    """Assert that the run was refused its third call, since that of its killed attempt counts."""
    path = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
    ended = await client.ended(path)
    assert (ended["attempt"], ended["failure"]["error"]) == (2, "BudgetExceeded")
    total = (await client.get("/usage"))["total"]
    assert (total["calls"], total["total_tokens"]) == (2, LIMIT)


async def has_called(client: Client, run: Any) -> None:
    async def called() -> bool:
        usage = await client.get("/usage", params={"group_by": "graph"})
        return bool(usage["total"]["calls"] >= 1)

    await eventually(called)


async def test_call_of_a_killed_process_counts(start_server: Any, tmp_path: Path) -> None:  # noqa: F811
    budgets = json.dumps([{"per": ["run"], "tokens": LIMIT}])
    server: ServerProcess = start_server(config=GRAPHS, settings={"budgets": budgets, "max_attempts": 100})
    async with Client(server.url) as client:
        run = await client.create(None, "slow", waiting_for(tmp_path / "go"), on_completion="keep")
        await has_called(client, run)
        await asyncio.to_thread(server.restart)
        (tmp_path / "go").touch()
        await check_continued(client, run)


@pytest.mark.timeout(600)
async def test_workers_that_are_killed_exceed_a_budget_by_one_call_together(tmp_path: Path) -> None:
    limit = 400
    budgets = json.dumps([{"per": ["run"], "tokens": LIMIT * 100}, {"per": ["graph", "day"], "tokens": limit}])
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        settings: dict[str, Any] = {"budgets": budgets, "budget_webhook": receiver.url, "webhook_allow_loopback": True}
        cluster = stack.enter_context(
            Cluster.running(tmp_path / "cluster", gateways=2, workers=2, config=GRAPHS, **settings)
        )
        async with balanced(cluster) as client:
            fields = {"on_completion": "keep"}
            runs = [await client.create(None, "worker", SAID, **fields) for _ in range(8)]
            await has_called(client, runs[0])
            await asyncio.to_thread(cluster.workers[0].restart)
            ends = [await client.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}") for run in runs]
            failed = {run["failure"]["error"] for run in ends if run["failure"]}
            assert failed == {"BudgetExceeded"}, cluster.logs
            calls = [call for run in runs for call in await calls_of(client.http, run)]
            total = (await client.get("/usage"))["total"]["total_tokens"]
            assert limit <= total < limit + max(calls), cluster.logs
            refused = await client.http.post("/runs", json={"assistant_id": "worker", "input": SAID})
            assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
            # Once in the window of the budget, whichever worker found it. A delivery may be repeated.
            notices = {one.headers["webhook-id"]: json.loads(one.body)["event"] for one in await receiver.count(2)}
            assert sorted(notices.values()) == ["budget_exceeded", "budget_warning"], cluster.logs
