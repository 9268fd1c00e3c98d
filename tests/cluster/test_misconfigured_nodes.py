"""Abnormal nodes: with a clock that is a minute wrong, a slow connection to the database, or hardly any
connections. The cluster keeps its guarantees with them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from tests.processes.client import Client
from tests.processes.load import Load
from tests.processes.server import GRAPHS, ServerProcess
from tests.processes.skewed import skewed
from tests.servers.proxy import TcpProxy

from .laws import check_laws
from .nodes import SETTINGS, AnyGateway, Cluster, WorkerProcess, start_all

Options: TypeAlias = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("odd"), gateways=1, workers=1) as cluster:
        yield cluster


@contextmanager
def _with(cluster: Cluster, folder: Path, gateway: Options, worker: Options, **settings: Any) -> Iterator[Cluster]:
    """The cluster and two abnormal nodes with these options."""
    chosen = {**SETTINGS, **settings}
    environ = {"RUNSTEAD_DATABASE_URL": cluster.postgres.url, "RUNSTEAD_REDIS_URL": cluster.valkey.url}
    common: Options = {"config": GRAPHS, "environ": environ}
    with ExitStack() as stack:
        accepts = {**chosen, "max_concurrent_runs": 0}
        odd = ServerProcess(folder / "gateway", settings=accepts, **{**common, **gateway})
        odder = WorkerProcess(folder / "worker", settings=chosen, **{**common, **worker})
        start_all(stack, [odd, odder])
        yield Cluster(cluster.postgres, cluster.valkey, [*cluster.gateways, odd], [*cluster.workers, odder])


async def _loaded(cluster: Cluster, clients: int, seconds: float, gateways: Sequence[str]) -> None:
    async with Client(gateways[0]) as client:
        client.http = httpx.AsyncClient(
            base_url=gateways[0], timeout=60, transport=AnyGateway(gateways, random.Random(3))
        )
        load = Load(client, random.Random(5))
        running = asyncio.create_task(load.run(clients))
        await asyncio.sleep(seconds)
        load.stop()
        await running
        assert len(load.promises) > clients
        await check_laws(cluster, client, load)
        runs = [await client.get(promise.location) for promise in load.promises]
        # No node took a run from another because of its clock or timeouts.
        assert {run["attempt"] for run in runs} == {1}


async def test_clock_skew_of_two_minutes_takes_no_run_from_its_holder(cluster: Cluster, tmp_path: Path) -> None:
    behind, ahead = ({"program": skewed(seconds)} for seconds in (-60, 60))
    with _with(cluster, tmp_path, behind, ahead) as odd:
        await _loaded(odd, 12, 3, odd.urls)
        delayed = [await _delayed(url) for url in odd.urls]
        assert all(1 <= waited < 30 for waited in delayed), delayed


async def _delayed(url: str) -> float:
    """Duration of a run that was to start in one second."""
    began = asyncio.get_running_loop().time()
    async with Client(url) as client:
        await client.wait(None, "noop", {"n": 1}, after_seconds=1)
    return asyncio.get_running_loop().time() - began


async def test_slow_database_delays_runs_without_loss(cluster: Cluster, tmp_path: Path) -> None:
    with TcpProxy.running([cluster.postgres.port], delay=0.03) as way:
        url = cluster.postgres.url.replace(f":{cluster.postgres.port}/", f":{way.port}/")
        environ = {"RUNSTEAD_DATABASE_URL": url, "RUNSTEAD_REDIS_URL": cluster.valkey.url}
        with _with(cluster, tmp_path, {"environ": environ}, {"environ": environ}) as odd:
            await _loaded(odd, 6, 3, odd.urls)


async def test_exhausted_pool_makes_requests_wait(cluster: Cluster, tmp_path: Path) -> None:
    with _with(cluster, tmp_path, {}, {}, database_pool_size=2) as odd:
        # All clients use the gateway that has two connections, one of them for reading.
        await _loaded(odd, 24, 3, odd.urls[1:])
