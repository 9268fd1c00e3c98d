"""Regression tests of known faults 1 to 10. Each test would fail if its fault came back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.types import RunId, RunStatus, ThreadId
from runstead.runtime.stream_bridge.contract import END_SENTINEL, HEARTBEAT_SENTINEL, StreamEvent, StreamItem
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.testing.fakes import InMemoryCheckpointStore, RecordingObserver, Step
from tests.processes.client import eventually
from tests.simulation.clients import ACTOR
from tests.simulation.scenario import Scenario
from tests.simulation.scenario import a_spec as a_story

from .browser import Browser
from .conftest import MakeApplication
from .gate import Gate
from .kernel import ALICE, Storage, a_spec, let_go

HELLO = {"messages": [{"role": "user", "content": "hi there"}]}
SOON = 60
"""Seconds; exceeded only by a hanging test."""


async def test_fault_01_run_that_was_streamed_to_its_end_is_a_success(browser: Browser, gate: Gate) -> None:
    """A successful streamed run recorded as `interrupted` because the response's `finally` cancelled it after its
    end.
    """
    thread = await browser.new_thread()
    await browser.stream(thread, "agent", HELLO, on_disconnect="cancel")
    (read,) = await browser.get(f"{thread}/runs")
    assert read["status"] == "success"
    # It makes no difference if the client was still busy with an earlier chunk when the run ended, and disconnected
    # then.
    body = {"assistant_id": "gated", "input": gate.input, "stream_mode": "custom", "on_disconnect": "cancel"}
    async with browser.watching("POST", f"{thread}/runs/stream", body) as request:
        await request.saw("custom")
        request.stall()
        gate.open()
        record = await browser.ended(request.headers["content-location"])
        assert record["status"] == "success"
    assert (await browser.get(request.headers["content-location"]))["status"] == "success"
    assert (await browser.get(thread))["status"] == "idle"


async def test_fault_02_slow_reader_gets_the_tail(storage: Storage) -> None:
    """A slow reader got `cancel` instead of the tail, since the stream was cleaned at delay 0."""
    async with storage.worker() as runs:
        with acting(ALICE):
            record, slow = await runs.create_and_stream(a_spec("r1", *[Step()] * 5, stream_modes=("updates",)))
            first = await anext(slow)
            await runs.join_wait(record.run_id)
            await storage.clock.advance(60)
            tail = [item async for item in slow]
    assert isinstance(first, StreamEvent)
    assert first.event == "metadata"
    assert names(tail) == ["updates"] * 5 + ["end"]
    assert tail[-1] is END_SENTINEL


async def test_fault_03_joining_a_finished_run_answers_immediately(storage: Storage) -> None:
    """Joining a finished run sends heartbeats forever, since subscribing re-created its stream."""
    async with storage.worker() as runs, asyncio.timeout(SOON):
        with acting(ALICE):
            await runs.create_and_wait(a_spec("r1"))
            for is_kept in (True, False):
                if not is_kept:
                    await storage.bridge.cleanup("r1")
                live = await runs.join_stream(RunId("r1"))
                replayed = await runs.join_stream(RunId("r1"), last_event_id="-1")
                assert HEARTBEAT_SENTINEL not in [item async for item in live]
                assert names([item async for item in replayed])[-1:] == (["end"] if is_kept else ["values"])
                assert (await runs.join_wait(RunId("r1"))).record.status is RunStatus.SUCCESS
            assert await storage.bridge.status("r1") is None


async def test_fault_03_http_join_of_a_finished_run_ends_without_heartbeat(
    make_application: MakeApplication,
) -> None:
    """Joining a finished run sends heartbeats forever, since subscribing re-created its stream."""
    application = make_application(heartbeat_seconds=0.01)
    async with application.running(), Browser(application.asgi) as browser, asyncio.timeout(SOON):
        thread = await browser.new_thread()
        await browser.wait(thread, "agent", HELLO)
        (run,) = await browser.get(f"{thread}/runs")
        joined = await browser.http.get(f"{thread}/runs/{run['run_id']}/stream")
    assert (joined.status_code, joined.text) == (200, "")


async def test_fault_04_rollback_restores_the_thread(browser: Browser, gate: Gate, tmp_path: Path) -> None:
    """Rollback unreachable; nothing restored."""
    thread, no_gate = await browser.new_thread(), Gate(tmp_path / "open")
    no_gate.open()
    await browser.wait(thread, "gated", no_gate.input)
    before = [await browser.get(f"{thread}/{what}") for what in ("state", "history")]
    values = (await browser.get(thread))["values"]
    undone = await at_the_gate(browser, thread, gate)
    async with asyncio.timeout(SOON):
        # Checkpoints are stored beside the node that has begun.
        while await browser.get(f"{thread}/history") == before[1]:
            pass
    await browser.post(f"{undone}/cancel?action=rollback&wait=1")
    assert (await browser.http.get(undone)).status_code == 404
    assert [await browser.get(f"{thread}/{what}") for what in ("state", "history")] == before
    restored = await browser.get(thread)
    assert (restored["values"], restored["status"]) == (values, "idle")
    # The same holds for a run that replaces another.
    undone = await at_the_gate(browser, thread, gate)
    await browser.wait(thread, "gated", no_gate.input, multitask_strategy="rollback")
    assert (await browser.http.get(undone)).status_code == 404
    said = (await browser.get(f"{thread}/state"))["values"]["messages"]
    assert [message["content"] for message in said] == ["go", "before the gate", "behind the gate"] * 2


class SlowToMark(InMemoryCheckpointStore):
    """Pause between the claim of a run and its first step, until the test continues it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        self.asked.set()
        await self.go_on.wait()
        return await super().mark(thread_id, run_id)


async def test_fault_05_run_cancelled_while_starting_ends_and_frees_its_thread(storage: Storage) -> None:
    """Cancel before the first step leaves the run `starting` and its thread blocked forever."""
    checkpoints = SlowToMark()
    async with storage.worker(checkpoints=checkpoints) as runs, let_go(checkpoints.go_on), asyncio.timeout(SOON):
        with acting(ALICE):
            await runs.create_background(a_spec("r1", Step("hang")))
            await checkpoints.asked.wait()
            assert storage.status("r1") == "starting"
            await runs.cancel(RunId("r1"))
            checkpoints.go_on.set()
            assert (await runs.join_wait(RunId("r1"))).record.status is RunStatus.INTERRUPTED
            assert storage.thread_status() == "idle"
            assert (await runs.create_and_wait(a_spec("r2"))).record.status is RunStatus.SUCCESS
    assert {effect.run_id for effect in storage.effects.done} == {"r2"}


async def test_fault_05_run_cancelled_without_lease_ends_immediately(
    make_application: MakeApplication,
) -> None:
    """Cancel before the first step leaves the run `starting` and its thread blocked forever."""
    application = make_application(execute=False)
    async with application.running(), Browser(application.asgi) as browser, asyncio.timeout(SOON):
        thread = await browser.new_thread()
        run = await browser.create(thread, "agent", HELLO)
        await browser.post(f"{run}/cancel?wait=1")
        assert (await browser.get(run))["status"] == "interrupted"
        assert (await browser.get(thread))["status"] == "idle"


@pytest.mark.parametrize("is_there", [False, True])
async def test_fault_06_run_needs_no_observer(storage: Storage, is_there: bool) -> None:
    """A missing observer crashes the run. (An observer that always fails must not crash it either.)"""
    observer = RecordingObserver(fails=lambda event: True)
    ports: dict[str, Any] = {"observer": observer} if is_there else {}
    async with storage.worker(**ports) as runs:
        with acting(ALICE):
            succeeded = await runs.create_and_wait(a_spec("r1"))
            failed = await runs.create_and_wait(a_spec("r2", Step("fail")))
            _, hanging = await runs.create_and_stream(a_spec("r3", Step("hang")))
            await anext(hanging)
            await runs.cancel(RunId("r3"), wait=True)
            await runs.create_background(a_spec("r4", after_seconds=60))
            await runs.cancel(RunId("r4"))
    assert succeeded.record.status is RunStatus.SUCCESS
    assert (failed.record.status, failed.failure and failed.failure.error) == (RunStatus.ERROR, "AgentFailed")
    assert [storage.status(run_id) for run_id in ("r3", "r4")] == ["interrupted", "interrupted"]
    assert storage.thread_status() in ("idle", "interrupted")
    assert len(observer.events) == (0 if not is_there else len(observer.actors))


async def test_fault_07_resume_command_answers_the_question(browser: Browser) -> None:
    """A resume command is ignored and the interrupt ends as success/idle."""
    thread = await browser.new_thread()
    asked = await browser.wait(thread, "hitl", HELLO)
    assert asked["__interrupt__"][0]["value"] == {"question": "approve?"}
    (first,) = await browser.get(f"{thread}/runs")
    assert (first["status"], (await browser.get(thread))["status"]) == ("success", "interrupted")
    assert (await browser.get(f"{thread}/state"))["next"] == ["ask"]
    answered = await browser.wait(thread, "hitl", None, command={"resume": "yes"})
    assert answered["answer"] == "yes"
    assert answered["messages"][-1]["content"] == "answer=yes"
    after = await browser.get(thread)
    assert (after["status"], after["interrupts"]) == ("idle", {})


async def test_fault_08_interrupting_run_starts_after_the_other_released(browser: Browser, tmp_path: Path) -> None:
    """Two runs active on one thread under `interrupt`."""
    thread, file, gate = await browser.new_thread(), tmp_path / "witness", tmp_path / "gate"

    def named(name: str) -> dict[str, Any]:
        return {"name": name, "file": str(file), "gate": str(gate)}

    # A synchronous node cannot be cancelled: a stopped run acts until its thread has returned.
    first = await browser.create(thread, "witness_in_a_thread", named("a"))
    await eventually(lambda: asyncio.to_thread(file.exists), within=SOON, every=0.005)
    others = [
        browser.create(thread, "witness_in_a_thread", named(name), multitask_strategy="interrupt") for name in "bcd"
    ]
    runs = [first, *await asyncio.gather(*others)]
    # All of them have been accepted while the first one acts.
    assert await asyncio.to_thread(file.read_text) == "begin a\n"
    # Its worker has received the stop: no outside signal shows when.
    await asyncio.sleep(1)
    gate.touch()
    statuses = sorted([(await browser.ended(run))["status"] for run in runs])
    assert statuses == ["interrupted", "interrupted", "interrupted", "success"]
    told = (await asyncio.to_thread(file.read_text)).splitlines()
    assert told[:2] == ["begin a", "end a"]
    assert len(told) >= 4
    for begin, end in zip(told[::2], told[1::2], strict=True):
        assert (begin.split()[0], end.split()[0], begin.split()[1]) == ("begin", "end", end.split()[1])


async def test_fault_09_abandoned_readers_take_no_space_in_the_bridge(storage: Storage) -> None:
    """Abandoned subscriptions fill the bridge's capacity."""
    bridge = MemoryStreamBridge(MemoryStreamSettings(max_streams=2), storage.clock)
    async with storage.worker(bridge=bridge) as runs, asyncio.timeout(SOON):
        with acting(ALICE):
            for number in range(20):
                with pytest.raises(RunNotFound):
                    await runs.join_stream(RunId(f"ghost-{number}"), last_event_id="-1")
                with pytest.raises(StreamNotFound):
                    await bridge.subscribe(f"ghost-{number}")
                await runs.create_and_wait(a_spec(f"done-{number}"))
                # Reconnects, and is dropped without closing.
                await (await runs.join_stream(RunId("done-0"), last_event_id="-1")).read()
            here, there = [
                await runs.create_and_stream(a_spec(f"r{number}", Step(takes=1), thread_id=ThreadId(f"t{number}")))
                for number in (1, 2)
            ]
            await storage.clock.advance(1)
            assert [names([item async for item in stream])[-1] for _, stream in (here, there)] == ["end", "end"]


def test_fault_10_silent_run_is_not_stopped(story: Scenario) -> None:
    """A quiet run is killed by its own stream's idle timer."""
    # Many times longer than any retention there: leases, ended streams, streams that await input.
    reading = story.kernel.process.spawn(read_to_the_end(story.kernel.facade))
    story.wait(900)
    assert reading.done()
    assert names(reading.result()) == ["metadata", "values", "values", "end"]
    assert (story.status(RunId("r1")), story.durable.tables.runs[RunId("r1")].record.attempt) == ("success", 1)


async def read_to_the_end(runs: RunsFacade) -> list[StreamItem]:
    with acting(ACTOR):
        _, stream = await runs.create_and_stream(a_story(RunId("r1"), Step(takes=890)))
        return [item async for item in stream]


async def at_the_gate(browser: Browser, thread: str, gate: Gate) -> str:
    """Return the path of a new run that waits at the gate, after one step."""
    run = await browser.create(thread, "gated", gate.input, stream_mode="custom", stream_resumable=True)
    async with browser.watching("GET", f"{run}/stream?stream_mode=custom") as request:
        await request.saw("custom")
    return run


def names(items: list[StreamItem]) -> list[str]:
    return [item.event for item in items if isinstance(item, StreamEvent)]
