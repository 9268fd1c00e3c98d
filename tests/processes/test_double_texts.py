"""Fifty concurrent inputs on one thread: the four strategies, verified by the side effects of the runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .client import Client, eventually, new_id

TEXTS = 50
GRAPHS = ["witness", "witness_in_a_thread"]


@dataclass
class Burst:
    """The inputs that fifty clients sent concurrently to one thread, and the results."""

    client: Client
    thread_id: str
    file: Path
    accepted: dict[str, dict[str, Any]]
    refused: int

    @property
    def effects(self) -> list[list[str]]:
        return [line.split() for line in self.file.read_text().splitlines()]

    @property
    def begun(self) -> list[str]:
        """Return the names of the runs with effects, in the order of these. Raises if two overlapped."""
        effects = self.effects
        pairs = list(zip(effects[::2], effects[1::2], strict=True))
        for first, last in pairs:
            assert (first[0], last[0]) == ("begin", "end"), f"runs overlap: {first} {last}"
            assert first[1] == last[1], f"runs overlap: {first} {last}"
        return [first[1] for first, _ in pairs]

    async def settled(self) -> list[dict[str, Any]]:
        """Return the runs that remain when the thread is idle, in the order of acceptance."""

        async def look() -> Any:
            # A rolled-back run is deleted, so the status of the thread shows the end.
            return (await self.client.get(f"/threads/{self.thread_id}"))["status"] != "busy"

        await eventually(look)
        return await self.client.runs_of(self.thread_id)


async def _burst(client: Client, graph: str, strategy: str, file: Path, pause: float = 0.02, waves: int = 1) -> Burst:
    """Send all at once, or in ``waves``: each once a run of the previous wave has started."""
    thread_id = new_id()
    await client.post("/threads", {"thread_id": thread_id})
    names = [f"text-{number}" for number in range(TEXTS)]

    async def send(name: str) -> tuple[str, int, Any]:
        body = {
            "assistant_id": graph,
            "input": {"name": name, "file": str(file), "pause": pause},
            "multitask_strategy": strategy,
            "metadata": {"name": name},
        }
        response = await client.http.post(f"/threads/{thread_id}/runs", json=body)
        return name, response.status_code, response.json()

    answers: list[tuple[str, int, Any]] = []
    size = TEXTS // waves
    for first in range(0, TEXTS, size):
        wave = names[first : first + size]
        answers += await asyncio.gather(*(send(name) for name in wave))
        if waves > 1:
            await eventually(partial(_has_begun, file, wave))
    assert {status for _, status, _ in answers} <= {200, 409}
    accepted = {name: record for name, status, record in answers if status == 200}
    return Burst(client, thread_id, file, accepted, refused=TEXTS - len(accepted))


async def _has_begun(file: Path, names: list[str]) -> bool:
    return not _began(file).isdisjoint(names)


def _began(file: Path) -> set[str]:
    effects = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return {name for what, name in effects if what == "begin"}


def _names(runs: list[dict[str, Any]], *statuses: str) -> list[str]:
    return [run["metadata"]["name"] for run in runs if not statuses or run["status"] in statuses]


@pytest.mark.parametrize("graph", GRAPHS)
async def test_enqueued_inputs_run_in_order(client: Client, tmp_path: Path, graph: str) -> None:
    burst = await _burst(client, graph, "enqueue", tmp_path / "effects")
    runs = await burst.settled()
    assert len(burst.accepted) == TEXTS
    assert _names(runs, "success") == _names(runs)
    assert burst.begun == _names(runs)
    assert (await client.values(burst.thread_id))["log"] == burst.begun


@pytest.mark.parametrize("graph", GRAPHS)
async def test_reject_lets_exactly_one_input_run(client: Client, tmp_path: Path, graph: str) -> None:
    burst = await _burst(client, graph, "reject", tmp_path / "effects", pause=2.0)
    runs = await burst.settled()
    assert burst.refused == TEXTS - 1
    assert burst.begun == _names(runs, "success") == list(burst.accepted)
    assert (await client.values(burst.thread_id))["log"] == burst.begun


@pytest.mark.parametrize("waves", [1, 5])
@pytest.mark.parametrize("graph", GRAPHS)
async def test_interrupting_inputs_stop_each_other_and_the_last_wins(
    client: Client, tmp_path: Path, graph: str, waves: int
) -> None:
    burst = await _burst(client, graph, "interrupt", tmp_path / "effects", waves=waves)
    runs = await burst.settled()
    assert len(runs) == len(burst.accepted) == TEXTS
    assert {run["status"] for run in runs} <= {"success", "interrupted"}
    assert runs[-1]["status"] == "success"
    order = _names(runs)
    begun = burst.begun
    assert len(begun) >= waves
    assert begun == sorted(begun, key=order.index)
    # Interrupted runs keep their finished steps, so the log may contain more than the successful runs.
    log = (await client.values(burst.thread_id))["log"]
    assert log == sorted(log, key=order.index)
    assert set(_names(runs, "success")) <= set(log) <= set(begun)


@pytest.mark.parametrize("waves", [1, 5])
@pytest.mark.parametrize("graph", GRAPHS)
async def test_rollback_inputs_leave_nothing_of_each_other(
    client: Client, tmp_path: Path, graph: str, waves: int
) -> None:
    burst = await _burst(client, graph, "rollback", tmp_path / "effects", waves=waves)
    runs = await burst.settled()
    assert len(burst.accepted) == TEXTS
    assert {run["status"] for run in runs} == {"success"}
    # External side effects cannot be rolled back, but they do not overlap.
    assert set(_names(runs)) <= set(burst.begun)
    assert len(burst.begun) >= waves
    assert (await client.values(burst.thread_id))["log"] == _names(runs)
    history = await client.get(f"/threads/{burst.thread_id}/history", params={"limit": 1_000})
    left = {run["run_id"] for run in runs}
    assert {checkpoint["metadata"]["run_id"] for checkpoint in history} == left
    gone = [record for record in burst.accepted.values() if record["run_id"] not in left]
    for record in gone:
        response = await client.http.get(f"/threads/{burst.thread_id}/runs/{record['run_id']}")
        assert response.status_code == 404


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback"])
async def test_thread_is_usable_after_a_burst(client: Client, tmp_path: Path, strategy: str) -> None:
    burst = await _burst(client, "witness", strategy, tmp_path / "effects", pause=0.005)
    await burst.settled()
    before = (await client.values(burst.thread_id))["log"]
    after = await client.wait(burst.thread_id, "witness", {"name": "later", "file": str(burst.file)})
    assert after["log"] == [*before, "later"]
    assert burst.begun[-1] == "later"
