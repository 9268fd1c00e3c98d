"""Promises of docs/adapters.md, with adapters from outside of the package."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.bootstrap.unsupported import UnsupportedConfiguration
from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.clock import Clock
from runstead.runtime.runs.internal.execution.required_observers import confirm_end
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.store import RunLeaseStore
from runstead.runtime.runs.types import Outcome, RunId, RunStatus, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.fakes.checkpoints import InMemoryCheckpointStore
from runstead.testing.fakes.events import InMemoryRunEventStore
from tests.author.outside_adapters import HEARD, Broken, Ledger
from tests.servers.sqlite import current_data

CONFIG = Path(__file__).parent.parent / "auth" / "identity.json"


def application_of(folder: Path, **adapters: Any) -> Application:
    data = current_data(folder / "data")
    return Application.from_file(CONFIG, data_dir=data, port=0, shutdown_grace_seconds=0.1, **adapters)


async def test_server_works_with_adapters_from_outside(tmp_path: Path) -> None:
    events, checkpoints, dispatchers = InMemoryRunEventStore(), InMemoryCheckpointStore(), list[LocalDispatcher]()

    def dispatcher(leases: RunLeaseStore, clock: Clock) -> LocalDispatcher:
        dispatchers.append(LocalDispatcher(leases, clock=clock))
        return dispatchers[-1]

    ledger = Ledger(failures=1)
    application = application_of(
        tmp_path,
        observers=[Broken(), "tests.author.outside_adapters:Recorder", ledger],
        event_store=events,
        bridge=MemoryStreamBridge.running,
        checkpointer=checkpoints,
        dispatcher=dispatcher,
    )
    HEARD.clear()
    async with serving(application) as url:
        client = get_client(url=url, api_key=None)
        thread = (await client.threads.create())["thread_id"]
        parts: list[Any] = [part async for part in client.runs.stream(thread, "who", input={}, stream_mode="values")]
        last: Any = parts[-1].data
        assert last["who"]["auth_source"] == "none"
        (run,) = await client.runs.list(thread)
        assert run["status"] == "success"
        assert len(dispatchers) == 1
        assert await checkpoints.saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
        state: Any = await client.threads.get_state(thread)
        assert state["values"]["who"]
        async with asyncio.timeout(60):
            while len(ledger.heard) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    heard = [event for name, event, _ in HEARD if name == "recorder"]
    assert heard[0] == "run_started"
    assert "run_completed" in heard
    # Once before the end was written, which failed, once again, and once after it; always the same event.
    assert len(ledger.heard) == 3
    assert len({event.event_id for event in ledger.heard}) == 1


async def test_required_observer_that_keeps_failing_fails_the_run() -> None:
    clock, ledger = ManualClock(), Ledger(failures=99)
    event = RunLifecycleEvent("e", RunLifecycleEventType.RUN_COMPLETED, RunId("r-1"), ThreadId("t-1"), 1, clock.now())
    outcome = Outcome(RunStatus.SUCCESS)
    confirming = asyncio.ensure_future(confirm_end([ledger], event, outcome, clock))
    await clock.advance(60)
    failed = await confirming
    assert (failed.status, failed.failure and failed.failure.error) == (RunStatus.ERROR, "RequiredObserverFailed")
    assert (failed.thread.status, len(ledger.heard)) == ("error", 4)
    assert await confirm_end([Ledger(failures=0)], event, outcome, clock) == outcome


@pytest.mark.parametrize(
    ("name", "value"),
    [("bridge", "tests.author.outside_adapters:Broken"), ("event_store", "nowhere:x"), ("observers", ("x:missing",))],
)
async def test_unusable_adapter_is_an_error_at_start(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedConfiguration, match=name):
        async with application_of(tmp_path, **{name: value}).running():
            pass
