"""A run reported as successful, and an acknowledged state update, survive a power cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.client import Client
from tests.processes.power import UnpluggableServer, power_cut_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power_cut_library(tmp_path_factory.mktemp("power"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[UnpluggableServer]:
    """One for all tests, which each restart it; it is no fork, so a start costs seconds."""
    server = UnpluggableServer(tmp_path_factory.mktemp("unplugged"), library)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_state_of_a_run_that_succeeded_survives_a_power_cut(server: UnpluggableServer, durability: str) -> None:
    async with Client(server.url) as client:
        thread_id = (await client.post("/threads"))["thread_id"]
        for turn in ("a", "b"):
            left = await client.wait(thread_id, "steps", {"name": turn, "steps": 3, "pause": 0}, durability=durability)
            server.cut_power()
            server.start()
            state = await client.get(f"/threads/{thread_id}/state")
            assert state["values"] == left
            assert state["next"] == []
            (newest, *_) = await client.get(f"/threads/{thread_id}/runs")
            assert newest["status"] == "success"


async def test_acknowledged_updates_and_copies_survive_a_power_cut(server: UnpluggableServer) -> None:
    async with Client(server.url) as client:
        thread_id = (await client.post("/threads"))["thread_id"]
        await client.wait(thread_id, "noop", {"n": 1})
        await client.post(f"/threads/{thread_id}/state", {"values": {"n": 7}})
        copy = await client.post(f"/threads/{thread_id}/copy")
        server.cut_power()
        server.start()
        for each in (thread_id, copy["thread_id"]):
            assert (await client.get(f"/threads/{each}/state"))["values"] == {"n": 7}


async def test_rollback_survives_a_power_cut(server: UnpluggableServer) -> None:
    async with Client(server.url) as client:
        thread_id = (await client.post("/threads"))["thread_id"]
        before = await client.wait(thread_id, "steps", {"name": "a", "steps": 1, "pause": 0})
        run = await client.create(thread_id, "steps", {"name": "b", "steps": 500, "pause": 0.02})
        while len((await client.get(f"/threads/{thread_id}/state"))["values"]["log"]) < 3:
            pass
        await client.post(f"/threads/{thread_id}/runs/{run['run_id']}/cancel?wait=1&action=rollback")
        server.cut_power()
        server.start()
        assert (await client.get(f"/threads/{thread_id}/state"))["values"] == before
