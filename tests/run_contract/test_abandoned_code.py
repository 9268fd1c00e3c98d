"""A run is stopped whose node does not react: thread, state and history agree about the node to be executed next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.browser import Browser

from .conftest import Served

GRAPHS = Path(__file__).parent / "abandoned_graphs.json"


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with served(graphs=GRAPHS, stop_grace_seconds=0.05) as browser:
        yield browser


class Gate:
    """The file that nodes wait for."""

    def __init__(self, file: Path) -> None:
        self.file, self._reached = file, file.with_suffix(".reached")

    def open(self) -> None:
        self.file.touch()

    async def reached(self) -> None:
        """Return when a node waits."""
        for _ in range(6_000):
            if self._reached.exists():
                self._reached.unlink()
                return
            await asyncio.sleep(0.005)
        raise AssertionError("the node did not begin")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """It is opened at the end, so that no code keeps running."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


async def started(browser: Browser, thread: str, graph: str, gate: Gate, **fields: Any) -> str:
    """Return the path of a run whose node waits for the gate."""
    run = await browser.create(thread, graph, fields.pop("input", {"gate": str(gate.file)}), **fields)
    await gate.reached()
    return run


@pytest.mark.parametrize("graph", ["sleeping", "after_another", "spinning"])
async def test_stop_of_an_unresponsive_node_leaves_it_pending(browser: Browser, gate: Gate, graph: str) -> None:
    thread = await browser.new_thread()
    run = await started(browser, thread, graph, gate)
    await browser.post(f"{run}/cancel?wait=1")
    assert (await browser.get(run))["status"] == "interrupted"
    state, record = await browser.get(f"{thread}/state"), await browser.get(thread)
    assert state["next"] == (await browser.get(f"{thread}/history"))[0]["next"] == ["n"]
    assert (record["status"], record["values"]) == ("interrupted", state["values"])
    assert state["values"] == {"gate": str(gate.file), **({"first": "was here"} if graph == "after_another" else {})}

    gate.open()
    assert (await browser.wait(thread, graph, None))["done"]
    assert (await browser.get(thread))["status"] == "idle"


async def test_stop_of_a_node_that_blocks_the_shared_loop_leaves_it_pending(browser: Browser, gate: Gate) -> None:
    thread = await browser.new_thread()
    run = await started(browser, thread, "blocking", gate)
    await browser.post(f"{run}/cancel?wait=0")
    # Not by joining it: that reads values with the graph, and waits for the loop.
    for _ in range(6_000):
        if (await browser.get(run))["status"] == "interrupted":
            break
        await asyncio.sleep(0.005)
    record = await browser.get(thread)
    assert (record["status"], record["values"]) == ("interrupted", {"gate": str(gate.file)})
    gate.open()
    assert (await browser.get(f"{thread}/state"))["next"] == ["n"]
    assert (await browser.get(f"{thread}/history"))[0]["next"] == ["n"]


@pytest.mark.parametrize("graph", ["sleeping", "spinning"])
async def test_unresponsive_stopped_run_frees_its_slot(served: Served, gate: Gate, graph: str) -> None:
    async with served(graphs=GRAPHS, stop_grace_seconds=0.05, max_concurrent_runs=1) as browser:
        thread = await browser.new_thread()
        run = await started(browser, thread, graph, gate)
        other, there = await browser.new_thread(), gate.file.with_name("there")
        there.touch()
        waiting = await browser.create(other, "sleeping", {"gate": str(there)})
        assert (await browser.get(waiting))["status"] == "pending"
        await browser.post(f"{run}/cancel?wait=1")
        assert (await browser.ended(waiting))["status"] == "success"


async def test_timeout_of_an_unresponsive_node_leaves_it_pending(browser: Browser, gate: Gate) -> None:
    thread = await browser.new_thread()
    run = await started(browser, thread, "sleeping", gate)
    await browser.post(f"{run}/cancel?wait=1")
    run = await browser.create(thread, "sleeping", None, timeout_seconds=0.05)
    assert (await browser.ended(run))["status"] == "timeout"
    assert (await browser.get(f"{thread}/state"))["next"] == ["n"]
    assert (await browser.get(thread))["status"] == "interrupted"


async def test_rollback_to_a_breakpoint_leaves_the_thread_interrupted(browser: Browser, gate: Gate) -> None:
    thread = await browser.new_thread()
    await browser.wait(thread, "after_another", {"gate": str(gate.file)}, interrupt_before=["n"])
    run = await started(browser, thread, "after_another", gate, input=None)
    await browser.post(f"{run}/cancel?wait=1&action=rollback")
    assert (await browser.get(f"{thread}/state"))["next"] == ["n"]
    assert (await browser.get(thread))["status"] == "interrupted"
