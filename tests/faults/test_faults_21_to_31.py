"""Regression tests of known faults 21 to 31. Each test would fail if its fault came back."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runstead.auth.none import LOCAL_ACTOR
from runstead.gateway.services import Services
from runstead.infra.run_events.jsonl import JsonlRunEventStore
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.store import RunEvent
from runstead.runtime.runs.types import RunId, RunStatus, ThreadId
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.testing.clock import ManualClock
from runstead.testing.fakes import Step
from tests.processes.client import Client, eventually
from tests.processes.frames import place_of

from .browser import Browser
from .conftest import StartServer
from .gate import Gate
from .kernel import ALICE, Storage, a_spec

HELLO = {"messages": [{"role": "user", "content": "hi there"}]}
SOON = 60
"""Seconds; exceeded only by a hanging test."""


async def test_fault_21_state_update_goes_through_the_reducers(browser: Browser) -> None:
    """State updates bypass reducers."""
    thread = await browser.new_thread()
    await browser.wait(thread, "slow", {"steps": 2, "delay": 0})
    await browser.post(f"{thread}/state", {"values": {"log": ["by hand"]}})
    assert (await browser.get(f"{thread}/state"))["values"]["log"] == ["tick 1", "tick 2", "by hand"]
    assert (await browser.get(thread))["values"]["log"] == ["tick 1", "tick 2", "by hand"]
    # A message with an existing id replaces that one; any other is appended.
    thread = await browser.new_thread()
    asked, said = (await browser.wait(thread, "agent", HELLO))["messages"]
    better = {"type": "ai", "id": said["id"], "content": "better"}
    await browser.post(f"{thread}/state", {"values": {"messages": [better, {"role": "user", "content": "more"}]}})
    messages = (await browser.get(f"{thread}/state"))["values"]["messages"]
    assert [message["content"] for message in messages] == [asked["content"], "better", "more"]
    assert isinstance(messages[-1]["id"], str)


async def test_fault_22_input_messages_keep_their_type(browser: Browser) -> None:
    """All input messages become human messages."""
    thread = await browser.new_thread()
    call = {"name": "add", "args": {"a": 1}, "id": "call-1", "type": "tool_call"}
    given = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"type": "ai", "content": "", "tool_calls": [call]},
        {"type": "tool", "content": "3", "tool_call_id": "call-1"},
        {"role": "assistant", "content": "two"},
        {"type": "human", "content": "three"},
    ]
    messages = (await browser.wait(thread, "agent", {"messages": given}))["messages"]
    assert [message["type"] for message in messages] == ["system", "human", "ai", "tool", "ai", "human", "ai"]
    assert messages[2]["tool_calls"] == [call]
    assert messages[3]["tool_call_id"] == "call-1"
    page = await browser.get(f"{thread}/messages", params={"types": "human"})
    assert [message["content"] for message in page["data"]] == ["one", "three"]


# --- 23: events as JSON lines -------------------------------------------------------------------------------------


_FILE_WORK = ("open", "os.mkdir", "os.rename", "os.truncate", "os.listdir", "os.scandir")


class Opened:
    """Threads of this process that open, create or rename files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._watching = str(folder), True
        self.threads: list[int] = []
        # An audit hook cannot be removed; this one is switched off.
        sys.addaudithook(self._heard)

    def stop(self) -> None:
        self._watching = False

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._watching and event in _FILE_WORK and str(args[0]).startswith(self._folder):
            self.threads.append(threading.get_ident())


async def test_fault_23_event_loop_never_waits_for_a_file(tmp_path: Path) -> None:
    """Blocking file I/O in the JSONL store."""
    opened = Opened(tmp_path / "events")
    try:
        with acting(ALICE):
            async with JsonlRunEventStore.open(tmp_path / "events") as store:
                await store.append([an_event("one"), an_event("two")])
                assert await store.count_events(ThreadId("t1")) == 2
                assert len(await store.list_events(ThreadId("t1"))) == 2
                assert await store.delete_events(ThreadId("t1"), run_id=RunId("r1")) == 2
    finally:
        opened.stop()
    assert opened.threads
    assert threading.get_ident() not in opened.threads


@pytest.mark.parametrize("cut", [1, 20, 60])
async def test_fault_23_torn_last_line_loses_only_that_line(tmp_path: Path, cut: int) -> None:
    """A torn last line breaks reads."""
    with acting(ALICE):
        async with JsonlRunEventStore.open(tmp_path) as store:
            await store.append([an_event("one")])
            await store.append([an_event("two")])
        (file,) = await asyncio.to_thread(lambda: list(tmp_path.rglob("events.jsonl")))
        os.truncate(file, file.stat().st_size - cut)
        async with JsonlRunEventStore.open(tmp_path) as store:
            assert [one.event.content for one in await store.list_events(ThreadId("t1"))] == ["one"]
            await store.append([an_event("three")])
            found = await store.list_events(ThreadId("t1"))
    assert [(one.seq, one.event.content) for one in found] == [(1, "one"), (2, "three")]


@pytest.mark.parametrize("bad", ["../../../evil", "/etc/passwd", "..", "a/b", "nul", "A", "x" * 500, "\ud800", "\x00"])
async def test_fault_23_id_cannot_choose_a_path(tmp_path: Path, bad: str) -> None:
    """A thread id becomes a path unchecked."""
    root = tmp_path / "deep" / "inside" / "events"
    mallory = ActorContext("../mallory", tenant_id="/tmp")
    async with JsonlRunEventStore.open(root) as store:
        for actor, thread_id in ((ALICE, bad), (ALICE, f"{bad}2"), (mallory, "t1")):
            with acting(actor):
                await store.append([an_event(thread_id, thread_id=thread_id)])
                (found,) = await store.list_events(ThreadId(thread_id))
                assert found.event.content == thread_id or "\ud800" in bad
        with acting(ALICE):
            # On case-insensitive file systems, another id must not be the same file.
            assert await store.list_events(ThreadId(bad.swapcase() if bad.isalpha() else f"{bad}/")) == []
    files = await asyncio.to_thread(lambda: [path.resolve() for path in tmp_path.rglob("*") if path.is_file()])
    assert len([path for path in files if path.name == "events.jsonl"]) == 3
    assert all(path.is_relative_to(root) for path in files)


def an_event(content: str, thread_id: str = "t1") -> RunEvent:
    return RunEvent(RunId("r1"), ThreadId(thread_id), "custom", "trace", content, datetime(2030, 1, 1, tzinfo=UTC))


# --- and the rest -----------------------------------------------------------------------------------------------------


async def test_fault_24_frames_of_a_subgraph_carry_its_name(browser: Browser) -> None:
    """Subgraph frames pose as root frames."""
    modes = {"stream_mode": ["updates", "values", "custom", "messages-tuple", "tasks"]}
    with_them = await browser.stream(await browser.new_thread(), "nested", HELLO, stream_subgraphs=True, **modes)
    without = await browser.stream(await browser.new_thread(), "nested", HELLO, **modes)
    by_name: dict[str, list[Any]] = {}
    for frame in with_them:
        mode, _, namespace = frame.event.partition("|")
        by_name.setdefault(f"{mode}|{namespace.partition(':')[0]}", []).append(frame.json)
    # The parent's own frames, and those of the child under the child's name.
    assert [set(update) for update in by_name["updates|"]] == [{"before"}, {"child"}]
    assert [set(update) for update in by_name["updates|child"]] == [{"child_model"}]
    assert by_name["custom|"] == [{"progress": "parent"}]
    assert by_name["custom|child"] == [{"progress": "child"}]
    assert {task["name"] for task in by_name["tasks|"]} == {"before", "child"}
    assert {task["name"] for task in by_name["tasks|child"]} == {"child_model"}
    # A reader that did not request the child's frames does not get them under another name.
    assert [set(frame.json) for frame in without if frame.event == "updates"] == [{"before"}, {"child"}]
    assert [frame.json for frame in without if frame.event == "custom"] == [{"progress": "parent"}]
    assert {frame.json["name"] for frame in without if frame.event == "tasks"} == {"before", "child"}
    assert not any("|" in frame.event for frame in without)


async def test_fault_25_run_whose_process_was_killed_is_resumed(start_server: StartServer, gate: Gate) -> None:
    """A crash marks runs as failed and never resumes them."""
    server = start_server()
    async with Client(server.url) as client:
        run = await at_the_gate(client, gate)
        await asyncio.to_thread(server.restart)
        await ends_well(client, run, gate)


async def test_fault_29_terminated_server_releases_its_runs_cleanly(start_server: StartServer, gate: Gate) -> None:
    """SIGTERM mid-run breaks on closed pools."""
    # A limit of one lost worker: a released run does not count as lost.
    server = start_server(shutdown_grace_seconds=0.1, max_attempts=1)
    async with Client(server.url) as client:
        run = await at_the_gate(client, gate)
        server.terminate()
        assert await asyncio.to_thread(server.wait) == 0
        assert [word for word in ("Traceback", "closed", "rror") if word in server.log] == []
        await asyncio.to_thread(server.start)
        await ends_well(client, run, gate)


async def at_the_gate(client: Client, gate: Gate) -> str:
    """Return the path of a run that has taken its first step and does not end by itself."""
    thread = f"/threads/{(await client.post('/threads'))['thread_id']}"
    run = await client.post(f"{thread}/runs", {"assistant_id": "gated", "input": gate.input})

    async def has_stepped() -> bool:
        return bool((await client.get(f"{thread}/state"))["next"] == ["wait"])

    await eventually(has_stepped)
    return f"{thread}/runs/{run['run_id']}"


async def ends_well(client: Client, run: str, gate: Gate) -> None:
    """Assert that the second attempt continues the first one: its end is that of an undisturbed run."""
    gate.open()
    record = await client.ended(run)
    assert (record["status"], record["attempt"], record["dead_letter"]) == ("success", 2, False)
    messages = (await client.values(record["thread_id"]))["messages"]
    assert [message["content"] for message in messages] == ["go", "before the gate", "behind the gate"]
    assert (await client.get(f"/threads/{record['thread_id']}"))["status"] == "idle"


async def test_fault_26_cancel_reaches_another_worker_immediately(storage: Storage) -> None:
    """Cancel on another worker takes up to 10 s."""
    # The clock is stopped and the lease lasts a year: no renewal finds the flag.
    async with storage.workers(True, False) as (holder, gateway), asyncio.timeout(SOON):
        with acting(ALICE):
            _, stream = await gateway.create_and_stream(a_spec("r1", Step("hang")))
            await anext(stream)
            assert (holder.active_runs, gateway.active_runs) == (1, 0)
            await gateway.cancel(RunId("r1"), wait=True)
            assert (await gateway.get_run(RunId("r1"))).status is RunStatus.INTERRUPTED
    assert storage.clock.monotonic() == 0


class FailingBridge(MemoryStreamBridge):
    """Refuses some of the events."""

    def __init__(self, clock: ManualClock, failing: range) -> None:
        super().__init__(clock=clock)
        self._failing, self._calls = failing, 0

    async def publish(self, run_id: str, event: str, data: bytes, *, attempt: int = 1) -> str:
        self._calls += 1
        if self._calls in self._failing:
            raise ConnectionError("Redis is away")
        return await super().publish(run_id, event, data, attempt=attempt)


@pytest.mark.parametrize("failing", [range(2, 4), range(1, 1_000)])
async def test_fault_27_failing_stream_fails_no_run(storage: Storage, failing: range) -> None:
    """A Redis error in publish fails the run."""
    bridge = FailingBridge(storage.clock, failing)
    async with storage.worker(bridge=bridge) as runs, asyncio.timeout(SOON):
        with acting(ALICE):
            _, stream = await runs.create_and_stream(a_spec("r1", *[Step()] * 5, stream_modes=("updates",)))
            result = await runs.join_wait(RunId("r1"))
            read = [item async for item in stream if isinstance(item, StreamEvent)]
    assert result.record.status is RunStatus.SUCCESS
    assert len(storage.effects.done) == 5
    # The stored events are there, and so is the terminal event.
    came_through = ["metadata", *["updates"] * 3] if failing.stop == 4 else []
    assert [event.event for event in read] == [*came_through, "end"]
    assert read[-1].terminal == "end"


@pytest.mark.parametrize("mode", ["messages-tuple", "messages", "values"])
async def test_fault_28_stop_keeps_the_partial_text(browser: Browser, mode: str) -> None:
    """Stop loses the partial answer."""
    thread = await browser.new_thread()
    talk = {**HELLO, "tokens": 10_000, "pause": 0.005}
    body = {"assistant_id": "talker", "input": talk, "stream_mode": [mode, "messages-tuple"]}
    async with browser.watching("POST", f"{thread}/runs/stream", body) as request:
        frames = await request.saw("messages", times=5)
        run = request.headers["content-location"]
        await browser.post(f"{run}/cancel?wait=1")
    streamed = "".join(frame.json[0]["content"] for frame in frames if frame.event == "messages")
    assert (await browser.get(run))["status"] == "interrupted"
    asked, said = (await browser.get(f"{thread}/state"))["values"]["messages"]
    assert asked["content"] == "hi there"
    assert said["type"] == "ai"
    assert streamed
    assert said["content"].startswith(streamed)
    assert said["response_metadata"]["partial"] is True
    # The next run of the thread finds it.
    assert len((await browser.wait(thread, "agent", HELLO))["messages"]) == 4


async def test_fault_30_browser_closed_in_the_middle_loses_nothing(
    browser: Browser, services: Services, gate: Gate
) -> None:
    """A browser closed mid-run loses the answer."""
    thread = await browser.new_thread()
    body = {"assistant_id": "gated", "input": gate.input, "stream_mode": ["custom", "values"], "stream_resumable": True}
    async with browser.watching("POST", f"{thread}/runs/stream", body) as request:
        seen = list(await request.saw("custom"))
        run = request.headers["content-location"]
    with acting(LOCAL_ACTOR):
        record = await services.runs.get_run(RunId(run.rpartition("/")[2]))
    # No cancel was requested, which could take effect a moment later.
    assert (record.status, record.stop_requested) == (RunStatus.RUNNING, None)
    gate.open()
    assert (await browser.ended(run))["status"] == "success"
    # It reconnects: to the rest of the stream, to the answer, to the thread.
    assert seen[-1].id is not None
    rest = await browser.replay(run, seen[-1].id)
    assert [*seen, *rest] == await browser.replay(run, "-1")
    said = [message["content"] for message in rest[-1].json["messages"]]
    assert said == ["go", "before the gate", "behind the gate"]
    assert (await browser.get(f"{run}/join"))["messages"] == rest[-1].json["messages"]
    assert (await browser.get(f"{thread}/state"))["values"]["messages"] == rest[-1].json["messages"]


async def test_fault_31_event_ids_are_unique_under_load(browser: Browser) -> None:
    """Ids repeat within a millisecond, and replay by `>` then loses events."""
    thread = await browser.new_thread()
    modes = ["messages-tuple", "updates", "values", "tasks", "checkpoints"]
    live = await browser.stream(thread, "talker", {**HELLO, "tokens": 30}, stream_mode=modes)
    (run,) = await browser.get(f"{thread}/runs")
    ids = [frame.id for frame in live]
    assert len(ids) > 30
    places = [place_of(str(event_id)) for event_id in ids]
    assert all(before < after for before, after in pairwise(places))
    for place, event_id in enumerate(ids):
        assert await browser.replay(f"{thread}/runs/{run['run_id']}", str(event_id)) == live[place + 1 :]
