"""To its clients a cluster behaves like one server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psycopg

from tests.processes.client import Client, eventually, new_id
from tests.processes.load import log_of

from .nodes import Cluster

STEPS = {"name": "it", "steps": 5, "pause": 0.05}


async def test_run_created_executed_and_read_on_three_nodes(cluster: Cluster) -> None:
    thread_id = new_id()
    async with Client(cluster.urls[0]) as here, Client(cluster.urls[1]) as there:
        run = await here.create(thread_id, "steps", STEPS, stream_mode=["values"])
        frames = await there.replay(f"/threads/{thread_id}/runs/{run['run_id']}")
        assert frames[0].event == "metadata"
        assert frames[-1].json["log"] == log_of("it")
        assert await there.values(thread_id) == {**STEPS, "log": log_of("it")}


async def test_cancel_on_one_node_reaches_the_holder_on_another(tmp_path: Path) -> None:
    """Through the notice: with such lease terms, the holder's own check comes after more than a minute."""
    with Cluster.running(tmp_path, gateways=1, workers=1, lease_term_seconds=300) as cluster:
        thread_id = new_id()
        async with Client(cluster.urls[0]) as here:
            run = await here.create(thread_id, "steps", {**STEPS, "steps": 2_000})
            location = f"/threads/{thread_id}/runs/{run['run_id']}"

            async def is_running() -> bool:
                return bool((await here.get(location))["status"] == "running")

            await eventually(is_running)
            began = time.monotonic()
            await here.post(f"{location}/cancel", params={"wait": "true"})
            assert time.monotonic() - began < 15
            assert (await here.get(location))["status"] == "interrupted"


async def test_runs_that_wait_for_each_other_take_turns_on_any_worker(cluster: Cluster, client: Client) -> None:
    thread_id = new_id()
    names = [f"turn-{number}" for number in range(6)]
    runs = [await client.create(thread_id, "steps", {**STEPS, "name": name, "pause": 0.01}) for name in names]
    for run in runs:
        await client.ended(f"/threads/{thread_id}/runs/{run['run_id']}")
    assert (await client.values(thread_id))["log"] == [entry for name in names for entry in log_of(name)]


async def test_interrupting_run_waits_for_the_holder_to_release(cluster: Cluster, client: Client) -> None:
    thread_id = new_id()
    first = await client.create(thread_id, "steps", {**STEPS, "name": "first", "steps": 500})
    await asyncio.sleep(0.5)
    values = await client.wait(thread_id, "steps", {**STEPS, "name": "second"}, multitask_strategy="interrupt")
    assert (await client.get(f"/threads/{thread_id}/runs/{first['run_id']}"))["status"] == "interrupted"
    assert values["log"][-5:] == log_of("second")
    assert values["log"][:-5] == [f"first:{number}" for number in range(len(values["log"]) - 5)]


async def test_runs_are_shared_between_workers(cluster: Cluster, client: Client) -> None:
    """No worker executes all runs."""
    runs = [await client.create(new_id(), "steps", {**STEPS, "pause": 0.2}) for _ in range(12)]
    ids = [run["run_id"] for run in runs]
    with psycopg.connect(cluster.postgres.url) as connection:

        async def holders() -> int:
            rows = connection.execute(
                "SELECT count(worker), count(DISTINCT worker) FROM runstead.runs WHERE run_id = ANY(%s)", (ids,)
            )
            held, workers = rows.fetchone() or (0, 0)
            connection.rollback()
            return int(workers) if held == len(ids) else 0

        assert await eventually(holders) > 1
