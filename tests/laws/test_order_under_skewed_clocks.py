"""Checkpoints keep the order of their writes, and pending runs are executed, whatever the clocks show.

Real processes: an embedded server that restarts with a clock set back, and workers of a cluster whose clocks are a
minute apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import SETTINGS, Cluster, WorkerProcess
from tests.processes.client import Client
from tests.processes.server import GRAPHS, ServerProcess
from tests.processes.skewed import skewed

HOUR = 3_600


async def _turn(client: Client, thread_id: str, name: str) -> list[str]:
    """Execute one run of two steps on the thread; return the log in its output."""
    said = await client.wait(thread_id, "steps", {"name": name, "steps": 2, "pause": 0})
    log: list[str] = said["log"]
    return log


async def _check_thread(client: Client, thread_id: str, log: list[str]) -> None:
    """Assert that state, history and a fork agree with the output of the last run."""
    state = await client.get(f"/threads/{thread_id}/state")
    assert state["values"]["log"] == log
    history = await client.get(f"/threads/{thread_id}/history", params={"limit": 100})
    assert [len(one["values"].get("log", [])) for one in history] == sorted(
        (len(one["values"].get("log", [])) for one in history), reverse=True
    )
    # Each follows the one below it, so that a search for an earlier state finds the right one.
    for newer, older in pairwise(history):
        assert newer["parent_checkpoint"]["checkpoint_id"] == older["checkpoint"]["checkpoint_id"]
        before = await client.get(
            f"/threads/{thread_id}/history", params={"limit": 1, "before": newer["checkpoint"]["checkpoint_id"]}
        )
        assert before[0]["checkpoint"]["checkpoint_id"] == older["checkpoint"]["checkpoint_id"]
    pruned = await client.post("/threads/prune", {"thread_ids": [thread_id], "strategy": "keep_latest"})
    assert pruned["pruned_count"] == 1
    assert (await client.get(f"/threads/{thread_id}/state"))["values"]["log"] == log


async def _thread(client: Client) -> str:
    thread_id: str = (await client.post("/threads"))["thread_id"]
    return thread_id


async def test_turns_follow_each_other_when_the_clock_is_set_back_over_a_restart(tmp_path: Path) -> None:
    ahead = ServerProcess(tmp_path / "data", program=skewed(HOUR))
    right = ServerProcess(tmp_path / "data")
    try:
        ahead.start()
        async with Client(ahead.url) as client:
            thread_id = await _thread(client)
            assert await _turn(client, thread_id, "a") == ["a:0", "a:1"]
        ahead.kill()
        right.start()
        async with Client(right.url) as client:
            log = await _turn(client, thread_id, "b")
            assert log == ["a:0", "a:1", "b:0", "b:1"]
            await _check_thread(client, thread_id, log)
    finally:
        ahead.stop()
        right.stop()


async def test_runs_that_wait_are_executed_when_the_clock_is_set_back_over_a_restart(tmp_path: Path) -> None:
    ahead = ServerProcess(tmp_path / "data", program=skewed(HOUR), settings={"max_concurrent_runs": 1})
    right = ServerProcess(tmp_path / "data")
    try:
        ahead.start()
        async with Client(ahead.url) as client:
            first, second = await _thread(client), await _thread(client)
            await client.create(first, "steps", {"name": "a", "steps": 200, "pause": 0.05})
            waiting = await client.create(second, "steps", {"name": "b", "steps": 1, "pause": 0})
            delayed = await client.create(None, "noop", {"n": 1}, after_seconds=1)
        ahead.kill()
        right.start()
        async with Client(right.url, timeout=30) as client:
            joined = await client.get(f"/threads/{second}/runs/{waiting['run_id']}/join")
            assert joined["log"] == ["b:0"]
            thread_id = delayed["thread_id"]
            assert await client.get(f"/threads/{thread_id}/runs/{delayed['run_id']}/join") == {"n": 2}
    finally:
        ahead.stop()
        right.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("skewed"), gateways=1, workers=0) as cluster:
        yield cluster


@contextmanager
def _worker(cluster: Cluster, folder: Path, **options: Any) -> Iterator[None]:
    environ = {"RUNSTEAD_DATABASE_URL": cluster.postgres.url, "RUNSTEAD_REDIS_URL": cluster.valkey.url}
    worker = WorkerProcess(folder, config=GRAPHS, settings=SETTINGS, environ=environ, **options)
    try:
        worker.start()
        yield
    finally:
        worker.stop()


async def test_turns_follow_each_other_on_workers_whose_clocks_differ(cluster: Cluster, tmp_path: Path) -> None:
    async with Client(cluster.urls[0]) as client:
        thread_id = await _thread(client)
        with _worker(cluster, tmp_path / "ahead", program=skewed(60)):
            assert await _turn(client, thread_id, "a") == ["a:0", "a:1"]
        with _worker(cluster, tmp_path / "right"):
            log = await _turn(client, thread_id, "b")
            assert log == ["a:0", "a:1", "b:0", "b:1"]
            await _check_thread(client, thread_id, log)
