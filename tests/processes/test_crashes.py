"""SIGKILL at random moments under load, and a new process on the same data: no promise is broken."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from typing import Any

import pytest

from .client import Client, eventually, new_id
from .conftest import StartServer
from .load import Load, Promise, log_of
from .server import ServerProcess

NAME = "the-name-that-was-given"
RUNS = 20
# A run that is killed repeatedly becomes a dead letter after some attempts: here it must continue.
SETTINGS = {"max_attempts": 1_000, "max_concurrent_runs": 32}


@pytest.mark.timeout(600)
async def test_random_kills_violate_no_guarantee(start_server: StartServer, is_long: bool) -> None:
    chance = random.Random(20)
    server = start_server(settings=SETTINGS)
    async with Client(server.url) as client:
        load = Load(client, random.Random(21))
        running = asyncio.create_task(load.run(clients=12 if is_long else 6))
        for _ in range(20 if is_long else 3):
            await asyncio.sleep(chance.uniform(0.1, 1.5))
            await asyncio.to_thread(server.restart)
        async with asyncio.timeout(300):
            while len(load.promises) <= RUNS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        load.stop()
        await running
        await _check_kept(client, load)
    print(f"{len(load.promises)} runs promised, {load.rejoined} times rejoined")


async def _check_kept(client: Client, load: Load) -> None:
    assert len(load.promises) > RUNS
    assert load.rejoined > 0, "no reader lost its connection: the kills proved nothing"
    runs = [await client.ended(promise.location) for promise in load.promises]
    assert load.faults == []
    assert {run["status"] for run in runs} == {"success"}
    assert max(run["attempt"] for run in runs) > 1, "no run was resumed: the kills proved nothing"
    by_thread: dict[str, list[Promise]] = defaultdict(list)
    for promise in load.promises:
        if promise.thread_id is not None:
            by_thread[promise.thread_id].append(promise)
    said = await _undisturbed(client)
    for thread_id, promises in by_thread.items():
        await _check_thread(client, thread_id, promises, said)
    assert await client.post("/threads/count", {"status": "busy"}) == 0
    assert await client.get("/runs", params={"status": "pending"}) == []
    assert await client.get("/runs", params={"status": "running"}) == []


async def _check_thread(client: Client, thread_id: str, promises: list[Promise], undisturbed: str) -> None:
    """Assert that the state is that of the runs, each undisturbed, in the order of acceptance."""
    runs = await client.runs_of(thread_id)
    names = [run["metadata"]["name"] for run in runs]
    assert set(names) >= {promise.name for promise in promises}
    # A run accepted while the server died was not acknowledged, and runs all the same.
    assert {run["status"] for run in runs} == {"success"}
    assert (await client.get(f"/threads/{thread_id}"))["status"] == "idle"
    values = await client.values(thread_id)
    if promises[0].graph == "steps":
        assert values["log"] == [entry for name in names for entry in log_of(name)]
    else:
        assert _said(values) == undisturbed.replace(NAME, promises[0].name)


async def _undisturbed(client: Client) -> str:
    """The result of the agent without a kill, for the name NAME."""
    said = {"messages": [{"role": "human", "content": NAME}]}
    return _said(await client.wait(new_id(), "agent", said))


def _said(values: Any) -> str:
    return json.dumps([(one["type"], one["content"], one.get("tool_calls")) for one in values["messages"]])


async def test_run_killed_again_and_again_is_a_dead_letter_that_can_be_retried(start_server: StartServer) -> None:
    server = start_server(settings={"max_attempts": 2})
    async with Client(server.url) as client:
        thread_id = new_id()
        run = await client.create(thread_id, "steps", {"name": "it", "steps": 8, "pause": 0.25})
        location = f"/threads/{thread_id}/runs/{run['run_id']}"
        for attempt in (1, 2):
            await _running(client, location, attempt)
            await asyncio.to_thread(server.restart)
        ended = await client.ended(location)
        assert (ended["status"], ended["dead_letter"]) == ("error", True)
        assert (await client.get(f"/threads/{thread_id}"))["status"] == "error"
        assert [one["run_id"] for one in await client.get("/runs", params={"dead_letter": True})] == [run["run_id"]]
        await client.post(f"{location}/retry")
        assert (await client.ended(location))["status"] == "success"
        assert (await client.values(thread_id))["log"] == [f"it:{number}" for number in range(8)]
        assert (await client.get(f"/threads/{thread_id}"))["status"] == "idle"


async def test_reader_of_a_killed_run_gets_a_gap_and_continues(start_server: StartServer) -> None:
    server = start_server()
    async with Client(server.url) as client:
        thread_id = new_id()
        run = await client.create(
            thread_id, "steps", {"name": "it", "steps": 6, "pause": 0.2}, stream_resumable=True, stream_mode="updates"
        )
        location = f"/threads/{thread_id}/runs/{run['run_id']}"
        await _running(client, location, 1)
        await asyncio.to_thread(server.restart)
        frames = await client.replay(location, "1-2")
        assert [frame.event for frame in frames[:2]] == ["gap", "values"]
        metadata = next(frame for frame in frames if frame.event == "metadata")
        assert (metadata.json["run_id"], metadata.json["attempt"]) == (run["run_id"], 2)
        seen = frames[1].json["log"] + [entry for frame in frames[3:] for entry in frame.json["step"]["log"]]
        assert list(dict.fromkeys(seen)) == [f"it:{number}" for number in range(6)]


async def test_interrupted_and_delayed_runs_survive_a_kill(start_server: StartServer) -> None:
    server = start_server()
    async with Client(server.url) as client:
        asking, later = new_id(), new_id()
        steps = {"name": "it", "steps": 3, "pause": 0.01}
        await client.wait(asking, "steps", steps, interrupt_before=["step"])
        run = await client.create(later, "noop", {"n": 1}, after_seconds=5)
        location = f"/threads/{later}/runs/{run['run_id']}"
        await asyncio.to_thread(server.restart)
        assert (await client.get(location))["status"] == "pending"
        assert (await client.get(f"/threads/{asking}"))["status"] == "interrupted"
        assert (await client.wait(asking, "steps", None))["log"] == ["it:0", "it:1", "it:2"]
        assert (await client.ended(location))["status"] == "success"


async def test_requested_cancel_survives_the_process(start_server: StartServer) -> None:
    """The flag is on the row: the next lease holder of the run finds it."""
    server = start_server()
    async with Client(server.url) as client:
        thread_id = new_id()
        run = await client.create(thread_id, "blocks", {"seconds": 20})
        location = f"/threads/{thread_id}/runs/{run['run_id']}"
        await _running(client, location, 1)
        await client.post(f"{location}/cancel", params={"action": "rollback"})
        await asyncio.to_thread(server.restart)

        async def gone() -> Any:
            return (await client.http.get(location)).status_code == 404

        await eventually(gone)
        assert (await client.get(f"/threads/{thread_id}"))["status"] == "idle"
        assert await client.values(thread_id) in ({}, None)


async def _running(client: Client, location: str, attempt: int) -> None:
    async def look() -> Any:
        record = await client.get(location)
        return record["status"] == "running" and record["attempt"] == attempt

    await eventually(look)
    # In the middle of its steps.
    await asyncio.sleep(0.4)


def test_second_server_on_the_same_data_is_refused(start_server: StartServer) -> None:
    first = start_server()
    second = ServerProcess(first.data_dir)
    try:
        with pytest.raises(RuntimeError, match="did not start"):
            second.start()
        assert first.resident_bytes() > 0
    finally:
        second.stop()
