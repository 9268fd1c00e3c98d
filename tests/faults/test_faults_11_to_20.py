"""Regression tests of known faults 11 to 20. Each test would fail if its fault came back."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runstead.gateway.services import Services
from runstead.resources.threads import ThreadFilter
from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.store import RunEvent, Settled, StoredRunEvent
from runstead.runtime.runs.types import (
    AssistantId,
    Holder,
    Lease,
    Outcome,
    RunFilter,
    RunId,
    RunScope,
    RunSpec,
    RunStatus,
    ThreadId,
)
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.testing.clock import turn
from runstead.testing.fakes import InMemoryLeaseStore, InMemoryRunEventStore, Step
from runstead.testing.gaps import gap_event_data
from tests.processes.client import eventually
from tests.processes.frames import strict

from .browser import Browser
from .conftest import MakeApplication
from .gate import Gate
from .kernel import ALICE, BOB, Storage, a_spec, let_go

HELLO = {"messages": [{"role": "user", "content": "hi there"}]}
NOW = datetime(2030, 1, 1, tzinfo=UTC)
SOON = 60
"""Seconds; exceeded only by a hanging test."""


async def test_fault_11_gap_is_reported_and_followed_by_the_current_values(make_application: MakeApplication) -> None:
    """Silent gaps."""
    application = make_application(stream_window_events=3)
    async with application.running(), Browser(application.asgi) as browser:
        thread = await browser.new_thread()
        live = await browser.stream(thread, "slow", {"steps": 8, "delay": 0}, stream_mode="updates")
        (run,) = await browser.get(f"{thread}/runs")
        place = f"{thread}/runs/{run['run_id']}"
        late = await browser.replay(place, "1-2")
        in_time = await browser.replay(place, "1-7")
    assert [frame.event for frame in live] == ["metadata"] + ["updates"] * 8
    assert [frame.event for frame in late] == ["gap", "values", "updates", "updates", "updates"]
    assert late[0].json == gap_event_data(run["run_id"], "1-2", "1-7", 4, "1-6")
    assert late[1].json["log"] == [f"tick {number}" for number in range(1, 9)]
    assert [frame.id for frame in late[2:]] == ["1-7", "1-8", "1-9"]
    assert [frame.id for frame in in_time] == ["1-8", "1-9"]


async def test_fault_11_reader_of_a_long_ended_run_reconnects_ten_times_without_loss(
    make_application: MakeApplication,
) -> None:
    """Most of a run of 12,000 events was lost when it ended, because of a bound on their number."""
    application = make_application(stream_memory_bytes=300_000)
    async with application.running(), Browser(application.asgi) as browser:
        thread = await browser.new_thread()
        live = await browser.stream(
            thread, "chatty", {"times": 12_000, "messages": []}, stream_mode="custom", stream_resumable=True
        )
        (run,) = await browser.get(f"{thread}/runs")
        seen: list[int] = []
        last: str | None = "-1"
        for resume in range(10):
            frames = await browser.replay(f"{thread}/runs/{run['run_id']}", str(last))
            assert [frame.event for frame in frames if frame.event not in ("metadata", "custom")] == []
            # The connection is cut at a later position each time.
            frames = frames if resume == 9 else frames[:1_200]
            seen += [frame.json["number"] for frame in frames if frame.event == "custom"]
            last = frames[-1].id
    assert [frame.json["number"] for frame in live if frame.event == "custom"] == list(range(12_000))
    assert seen == list(range(12_000))


@pytest.mark.parametrize("garbage", ["garbage", "1-9999", "7-1", "1795341217430-0", "1-0x2", "-2"])
async def test_fault_11_unknown_event_id_is_reported(browser: Browser, garbage: str) -> None:
    """An invalid event id replays everything without notice."""
    thread = await browser.new_thread()
    live = await browser.stream(thread, "agent", HELLO)
    (run,) = await browser.get(f"{thread}/runs")
    told, values, *replayed = await browser.replay(f"{thread}/runs/{run['run_id']}", garbage)
    assert (told.event, told.json["from"]) == ("gap", garbage)
    assert (values.event, values.json) == ("values", live[-1].json)
    assert replayed == live


async def test_fault_12_oversized_event_is_kept_until_it_was_read(make_application: MakeApplication) -> None:
    """One oversized event evicts everything, itself included."""
    application = make_application(stream_window_bytes=1_000)
    async with application.running(), Browser(application.asgi) as browser:
        thread, long = await browser.new_thread(), "x" * 5_000
        live = await browser.stream(thread, "agent", {"messages": [{"role": "user", "content": long}]})
        (run,) = await browser.get(f"{thread}/runs")
        kept = await browser.replay(f"{thread}/runs/{run['run_id']}", "-1")
    # A reader that keeps up gets it whole; a late reader gets a gap and the last event.
    assert [frame.event for frame in live] == ["metadata", "values", "values"]
    assert live[-1].json["messages"][-1]["content"] == f"echo: {long}"
    assert [frame.event for frame in kept] == ["gap", "values", "values"]
    assert kept[-1] == live[-1]


async def test_fault_13_finished_runs_leave_nothing_in_memory(make_application: MakeApplication) -> None:
    """Finished runs are kept in memory forever; per-thread locks too."""
    application = make_application(stream_retention_seconds=0, heartbeat_seconds=0.05, run_events="jsonl")
    async with application.running(), Browser(application.asgi) as browser:

        async def let_run(count: int) -> None:
            for _ in range(count):
                await browser.wait(await browser.new_thread(), "agent", HELLO)

        await let_run(15)
        before = alive()
        await let_run(15)

        async def nothing_stayed() -> bool:
            # Expired streams are removed in the next round of housekeeping.
            return not any(grown().values())

        def grown() -> dict[str, int]:
            return {name: count - before[name] for name, count in alive().items() if count - before[name] >= 10}

        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                await eventually(nothing_stayed, every=0.1)
        assert grown() == {}


def alive() -> Counter[str]:
    """Numbers of Runstead's objects and of locks, by type."""
    gc.collect()
    kinds = Counter(type(thing) for thing in gc.get_objects())
    ours = ("runstead.", "asyncio.locks")
    return Counter({f"{kind}": count for kind, count in kinds.items() if str(kind.__module__).startswith(ours)})


async def test_fault_14_wait_for_a_failed_run_returns_the_error_as_json(browser: Browser) -> None:
    """A failed /wait answers 200 with a Python repr."""
    thread = await browser.new_thread()
    body = {"assistant_id": "fail", "input": HELLO}
    waited = await browser.http.post(f"{thread}/runs/wait", json=body)
    (run,) = await browser.get(f"{thread}/runs")
    joined = await browser.http.get(f"{thread}/runs/{run['run_id']}/join")
    assert run["status"] == "error"
    for answer in (waited, joined):
        # The error form that clients recognise and raise for.
        assert strict(answer.content) == {"__error__": {"error": "ValueError", "message": "boom"}}
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kept_as", ["sql", "jsonl"])
async def test_fault_15_parallel_event_batches_have_dense_unique_numbers(
    make_application: MakeApplication, kept_as: str
) -> None:
    """Parallel event batches collide on the per-thread sequence."""
    async with make_application(run_events=kept_as).running() as services:
        with acting(ALICE):
            batches = [[an_event(f"{batch}.{place}") for place in range(5)] for batch in range(20)]
            stored = await asyncio.gather(*(services.events.append(batch) for batch in batches))
            found = await services.events.list_events(ThreadId("t1"), limit=1_000)
    assert [event.seq for event in found] == list(range(1, 101))
    # Each batch is contiguous and was given its correct numbers.
    assert sorted((event.seq, event.event.content) for batch in stored for event in batch) == [
        (event.seq, event.event.content) for event in found
    ]
    for batch in stored:
        assert [event.seq for event in batch] == list(range(batch[0].seq, batch[0].seq + 5))


def an_event(content: str, thread_id: str = "t1", **fields: Any) -> RunEvent:
    return RunEvent(
        **{"event_type": "custom", "category": "trace", "run_id": "r1", **fields},
        thread_id=ThreadId(thread_id),
        content=content,
        created_at=NOW,
    )


class FailingEvents(InMemoryRunEventStore):
    """Fails this number of times."""

    def __init__(self, storage: Storage, failures: int) -> None:
        super().__init__(storage.tables.threads)
        self.failures = failures

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        if self.failures > 0:
            self.failures -= 1
            raise OSError("the disk is full")
        return await super().append(events, holder=holder)


@pytest.mark.parametrize("failures", [2, 1_000_000])
async def test_fault_16_failed_flush_is_retried_and_cleanup_still_happens(storage: Storage, failures: int) -> None:
    """A failed final flush loses events and skips cleanup."""
    events = FailingEvents(storage, failures)
    async with storage.worker(event_store=events) as runs, asyncio.timeout(SOON):
        with acting(ALICE):
            said = {**a_spec("r1").input, "messages": [{"role": "user", "content": "hello"}]}
            _, stream = await runs.create_and_stream(a_spec("r1", input=said))
            await storage.clock.advance(10)
            read = [item async for item in stream]
            assert (storage.status("r1"), storage.thread_status()) == ("success", "idle")
            assert isinstance(read[-2], StreamEvent)
            assert read[-2].terminal == "end"
            await turn()
            assert runs.active_runs == 0
            assert storage.checkpoints.marks == frozenset()
            kept = await events.list_events(ThreadId("t1"))
            assert [one.event.event_type for one in kept] == (["human_message"] if failures == 2 else [])
            await runs.create_background(a_spec("r2"))
            await storage.clock.advance(10)
            assert storage.status("r2") == "success"


async def test_fault_17_busy_thread_answers_409_with_a_remedy(browser: Browser, gate: Gate) -> None:
    """Busy threads answer 500."""
    thread = await browser.new_thread()
    run = await browser.create(thread, "gated", gate.input)
    body = {"assistant_id": "agent", "input": HELLO, "multitask_strategy": "reject"}
    refused = [
        *[await browser.http.post(f"{thread}/runs{verb}", json=body) for verb in ("", "/stream", "/wait")],
        await browser.http.post(f"{thread}/state", json={"values": HELLO}),
    ]
    assert [answer.status_code for answer in refused] == [409] * 4
    assert all("busy" in answer.json()["detail"] or "already running" in answer.json()["detail"] for answer in refused)
    gate.open()
    assert (await browser.ended(run))["status"] == "success"
    assert len(await browser.get(f"{thread}/runs")) == 1


class SlowToSettle(InMemoryLeaseStore):
    """Waits before it writes the outcome of a run."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.tables, storage.bell.notify)
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        self.asked.set()
        await self.go_on.wait()
        return await super().settle(lease, outcome)


@pytest.mark.parametrize("step", [Step(), Step("fail"), Step("ask")])
async def test_fault_18_terminal_event_is_published_after_the_durable_write(storage: Storage, step: Step) -> None:
    """`end` is sent before the durable write."""
    leases = SlowToSettle(storage)
    async with storage.worker(lease_store=leases) as runs, let_go(leases.go_on), asyncio.timeout(SOON):
        with acting(ALICE):
            record, stream = await runs.create_and_stream(a_spec("r1", step))
            waiting = asyncio.create_task(runs.join_wait(record.run_id))
            await leases.asked.wait()
            await turn()
            heard = [item for item in await stream.read() if isinstance(item, StreamEvent)]
            assert heard
            assert not any(event.terminal for event in heard)
            assert not waiting.done()
            assert storage.status("r1") == "running"
            leases.go_on.set()
            terminal = [item for item in await stream.read() if isinstance(item, StreamEvent)][-1]
            assert terminal.terminal is not None
            assert RunStatus(storage.status("r1")).is_terminal
            assert (await waiting).record.status.is_terminal


Boundary = Callable[[Services], Coroutine[Any, Any, Any]]

BOUNDARIES: dict[str, Boundary] = {
    "create a run": lambda use: use.runs.create_background(on_thread(ThreadId("t1"))),
    "stream a run": lambda use: use.runs.create_and_stream(on_thread(ThreadId("t1"))),
    "wait for a run": lambda use: use.runs.create_and_wait(on_thread(ThreadId("t1"))),
    "read a run": lambda use: use.runs.get_run(RunId("r1")),
    "join a run": lambda use: use.runs.join_stream(RunId("r1")),
    "list runs": lambda use: use.runs.list_runs(RunFilter()),
    "count runs": lambda use: use.runs.count_runs(RunFilter()),
    "cancel a run": lambda use: use.runs.cancel(RunId("r1")),
    "delete a run": lambda use: use.runs.delete_run(RunId("r1")),
    "create a thread": lambda use: use.threads.create(ThreadId("t2")),
    "read a thread": lambda use: use.threads.get(ThreadId("t1")),
    "find threads": lambda use: use.threads.search(ThreadFilter()),
    "delete a thread": lambda use: use.thread_service.remove(ThreadId("t1")),
    "read a state": lambda use: use.states.read(ThreadId("t1")),
    "write events": lambda use: use.events.append([an_event("x")]),
    "read events": lambda use: use.events.list_events(ThreadId("t1")),
    "read an item": lambda use: use.items.aget(("a",), "k"),
    "write an item": lambda use: use.items.aput(("a",), "k", {"x": 1}),
}


def on_thread(thread_id: ThreadId | None, graph: str = "agent", **fields: Any) -> RunSpec:
    return RunSpec(AssistantId(graph), graph, thread_id=thread_id, scope=RunScope(if_not_exists="create"), **fields)


async def test_fault_19_access_without_actor_is_refused(services: Services) -> None:
    """Isolation fails open for unbound actors."""
    with acting(ALICE):
        await services.runs.create_and_wait(on_thread(ThreadId("t1"), input=HELLO))
        runs, events = await services.runs.count_runs(RunFilter()), await services.events.count_events(ThreadId("t1"))
    for name, reach in BOUNDARIES.items():
        with pytest.raises(ActorRequired):
            assert name == await reach(services)
    with acting(ALICE):
        assert await services.runs.count_runs(RunFilter()) == runs
        assert await services.events.count_events(ThreadId("t1")) == events


@pytest.mark.parametrize("kept_as", ["sql", "jsonl"])
async def test_fault_19_unknown_and_foreign_threads_look_the_same(
    make_application: MakeApplication, kept_as: str
) -> None:
    """Isolation fails open for unknown threads."""
    async with make_application(run_events=kept_as).running() as services:
        with acting(ALICE):
            mine = (await services.runs.create_and_wait(on_thread(ThreadId("t1"), input=HELLO))).record
            assert await services.events.list_events(ThreadId("t1"))
        with acting(BOB):
            for thread_id in ("t1", "unknown"):
                assert await services.runs.list_runs(RunFilter(ThreadId(thread_id))) == []
                assert await services.events.list_events(ThreadId(thread_id)) == []
                assert await services.events.delete_events(ThreadId(thread_id)) == 0
                assert await services.threads.get(ThreadId(thread_id)) is None
            for run_id in (mine.run_id, "unknown"):
                with pytest.raises(RunNotFound):
                    await services.runs.cancel(RunId(run_id))
            # Neither creating a thread nor a first write may take over a thread of another user.
            with pytest.raises(ThreadNotFound):
                await services.runs.create_background(on_thread(ThreadId("t1"), input=HELLO))
            with pytest.raises(ThreadNotFound):
                await services.events.append([an_event("x")])


async def test_fault_19_every_row_has_an_owner(make_application: MakeApplication, tmp_path: Path) -> None:
    """Isolation fails open for null owners."""
    with pytest.raises(ValueError, match="user_id"):
        ActorContext("")
    async with make_application().running() as services:
        with acting(ALICE):
            await services.runs.create_and_wait(on_thread(ThreadId("t1"), input=HELLO))
    with closing(sqlite3.connect(tmp_path / "data" / "runstead.db")) as database:
        for table in ("threads", "runs", "run_event_threads"):
            for owner in ("user_id", "tenant_id"):
                with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
                    database.execute(f"UPDATE {table} SET {owner} = NULL")


async def test_fault_20_match_is_found_behind_many_nonmatching_rows(browser: Browser, services: Services) -> None:
    """Filters applied after LIMIT."""
    wanted = (await browser.post("/threads", {"metadata": {"colour": "red"}}))["thread_id"]
    await browser.wait(f"/threads/{wanted}", "agent", HELLO)
    for _ in range(3):
        await browser.wait(f"/threads/{wanted}", "fail", HELLO)
        await browser.post("/threads", {"metadata": {"colour": "blue"}})
    (run,) = await browser.get(f"/threads/{wanted}/runs", params={"status": "success", "limit": 1})
    assert run["status"] == "success"
    (thread,) = await browser.post("/threads/search", {"metadata": {"colour": "red"}, "limit": 1})
    assert thread["thread_id"] == wanted
    # The only event of a kind, with others of another kind after it.
    path = f"/threads/{wanted}/runs/{run['run_id']}/events"
    page = await browser.get(path, params={"types": "ai_message", "limit": 1})
    assert [event["content"]["content"] for event in page["data"]] == ["echo: hi there"]
