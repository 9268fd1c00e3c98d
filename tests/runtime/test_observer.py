"""Observers are notified in order, and their failures are isolated."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runstead.runtime import CompositeObserver, RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import RunId, ThreadId

EVENT = RunLifecycleEvent(
    "e1", RunLifecycleEventType.RUN_STARTED, RunId("run"), ThreadId("thread"), 1, datetime(2026, 1, 1, tzinfo=UTC)
)


class Recorder:
    def __init__(self, calls: list[str], name: str) -> None:
        self._calls, self._name = calls, name

    async def on_event(self, event: RunLifecycleEvent) -> None:
        self._calls.append(self._name)


class Broken:
    async def on_event(self, event: RunLifecycleEvent) -> None:
        raise ValueError("broken")


async def test_failing_observer_does_not_stop_the_next() -> None:
    calls: list[str] = []
    await CompositeObserver([Recorder(calls, "a"), Broken(), Recorder(calls, "b")]).on_event(EVENT)
    assert calls == ["a", "b"]


async def test_failing_required_observer_raises_after_all_were_notified() -> None:
    calls: list[str] = []
    with pytest.raises(ExceptionGroup, match="required observers failed"):
        await CompositeObserver([Recorder(calls, "a")], required=[Broken(), Recorder(calls, "b")]).on_event(EVENT)
    assert calls == ["a", "b"]
