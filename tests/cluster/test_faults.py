"""Every component of a cluster fails once, under load, and all guarantees hold."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.processes.client import Client, eventually, new_id
from tests.processes.load import Load

from .conftest import balanced
from .laws import check_laws
from .nodes import Cluster, freeze, thaw
from .storm.streams import StreamEnds, streams_of

LEASE = 3.0
"""Seconds; see `nodes.SETTINGS`."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("faults"), workers=2) as cluster:
        yield cluster


@asynccontextmanager
async def under_load(cluster: Cluster) -> AsyncIterator[tuple[Client, Load]]:
    """Clients of all kinds are at work; afterwards the laws hold."""
    async with balanced(cluster) as client:
        # Many requests in progress at any time; using all CPUs would not be better.
        load = Load(client, random.Random(7), pause=0.1)
        running = asyncio.create_task(load.run(clients=6))
        try:
            await asyncio.sleep(0.7)
            yield client, load
            await asyncio.sleep(0.7)
        finally:
            load.stop()
        await running
        await check_laws(cluster, client, load)


async def test_killed_worker_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(cluster.workers[0].restart)


async def test_killed_gateway_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster) as (_, load):
        # Until a gateway with an active client was hit.
        for _ in range(10):
            await asyncio.to_thread(cluster.gateways[0].restart)
            if load.rejoined:
                break
    assert load.rejoined > 0


async def test_worker_frozen_beyond_its_lease_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        freeze(cluster.workers[0])
        # The search for lost runs happens twice in a lease term.
        await asyncio.sleep(2 * LEASE)
        thaw(cluster.workers[0])
        await asyncio.sleep(1)


async def test_frozen_gateway_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        freeze(cluster.gateways[1])
        await asyncio.sleep(3)
        thaw(cluster.gateways[1])


async def test_postgresql_restart_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(cluster.postgres.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(cluster.postgres.start)


async def test_postgresql_crash_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(cluster.postgres.stop, signal.SIGQUIT)
        await asyncio.to_thread(cluster.postgres.start)


async def test_redis_restart_with_data_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(cluster.valkey.stop)
        await asyncio.to_thread(cluster.valkey.start)


async def test_redis_restart_without_data_loses_nothing(cluster: Cluster) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(cluster.valkey.kill)
        cluster.valkey.forget()
        await asyncio.to_thread(cluster.valkey.start)


async def test_terminal_event_missing_after_workers_are_killed_is_published(cluster: Cluster) -> None:
    async with balanced(cluster) as client:
        steps = {"name": "orphaned", "steps": 8, "pause": 0.1}
        run = await client.create(thread_id := new_id(), "steps", steps)
        location = f"/threads/{thread_id}/runs/{run['run_id']}"

        async def ends() -> StreamEnds | None:
            return (await asyncio.to_thread(streams_of, cluster.valkey)).get(run["run_id"])

        async def is_published() -> bool:
            stream = await ends()
            return stream is not None and stream.is_right

        reading = asyncio.create_task(client.replay(location))
        await eventually(ends)
        cluster.valkey.freeze()
        assert (await client.ended(location))["status"] == "success"
        for worker in cluster.workers:
            worker.kill()
        cluster.valkey.thaw()
        for worker in cluster.workers:
            await asyncio.to_thread(worker.start)
        await eventually(is_published, within=6 * LEASE)
        frames = await client.replay(location)
        assert "gap" in [frame.event for frame in await reading]
    assert [frame.event for frame in frames][-2:] == ["gap", "values"]
    assert frames[-1].json["log"] == [f"orphaned:{number}" for number in range(8)]


async def test_redis_outage_loses_nothing(cluster: Cluster, is_long: bool) -> None:
    async with under_load(cluster):
        cluster.valkey.freeze()
        await asyncio.sleep(20 if is_long else 6)
        cluster.valkey.thaw()
