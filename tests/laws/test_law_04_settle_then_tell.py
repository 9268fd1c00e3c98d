"""Law 4: exactly one terminal event, the last on its stream, and only after the end is durable."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.observer import RunLifecycleEventType
from runstead.runtime.runs.types import RunId, RunSpec, ThreadId
from runstead.runtime.stream_bridge.contract import Sentinel, StreamEvent, StreamItem
from runstead.testing.fakes import Step
from tests.simulation.clients import ACTOR
from tests.simulation.kernel import FaultProfile
from tests.simulation.ports import LatencyProfile
from tests.simulation.scenario import CALM, Scenario, a_spec

ENDS = {"end": Step(), "error": Step("fail"), "cancel": Step("hang")}


async def read_all(runs: RunsFacade, spec: RunSpec) -> Sequence[StreamItem]:
    _, stream = await runs.create_and_stream(spec)
    return [item async for item in stream if item is not Sentinel.HEARTBEAT]


@pytest.mark.parametrize("kind", ENDS)
def test_terminal_event_comes_once_and_last(story: Scenario, kind: str) -> None:
    reading = story.kernel.process.spawn(_reading(story, a_spec(RunId("r1"), ENDS[kind])))
    story.wait(1)
    if kind == "cancel":
        story.publish(lambda runs: runs.cancel(RunId("r1")))
    story.wait(1)
    *events, sentinel = reading.result()
    assert sentinel is (Sentinel.CANCELLED if kind == "cancel" else Sentinel.END)
    kinds = [event.terminal for event in events if isinstance(event, StreamEvent)]
    assert kinds[-1] == kind
    assert kinds[:-1] == [None] * (len(kinds) - 1)


async def _reading(story: Scenario, spec: RunSpec) -> Sequence[StreamItem]:
    with acting(ACTOR):
        return await read_all(story.kernel.facade, spec)


def test_terminal_event_is_not_published_before_it_is_durable() -> None:
    """With a slow storage that sometimes loses the reply of a settle."""
    weather = LatencyProfile(instant=0.0, slowest=2.0, outages={"settle": 0.5})
    with Scenario(FaultProfile(stores=weather, limits=CALM.limits), seed=4) as story:
        for number in range(20):
            spec = a_spec(RunId(f"r{number}"), ENDS[("end", "error")[number % 2]], thread_id=ThreadId(f"t{number}"))
            story.create_and_wait(spec)
        story.wait(60)
        published = [event for events in story.durable.witness.published.values() for event in events if event.terminal]
        assert len(published) == 20
        assert all(event.was_durable for event in published)
        ends = [
            (event.run_id, was_durable)
            for _, was_durable, event in story.durable.witness.published_ends
            if event.event_type in (RunLifecycleEventType.RUN_COMPLETED, RunLifecycleEventType.RUN_FAILED)
        ]
        assert sorted(run_id for run_id, _ in ends) == sorted(f"r{number}" for number in range(20))
        assert all(was_durable for _, was_durable in ends)


def test_observers_receive_events_of_a_run_in_order(story: Scenario) -> None:
    spec = a_spec(RunId("r1"))
    story.publish(
        lambda runs: runs.create_and_wait(
            a_spec(RunId("r1"), input={**spec.input, "messages": [{"role": "user", "content": "hello"}]})
        )
    )
    told = [event for _, _, event in story.durable.witness.published_ends]
    assert [event.event_type for event in told] == [
        RunLifecycleEventType.RUN_STARTED,
        RunLifecycleEventType.HUMAN_MESSAGE,
        RunLifecycleEventType.RUN_COMPLETED,
        RunLifecycleEventType.THREAD_STATUS_UPDATED,
    ]
    assert [event.sequence for event in told] == [1, 2, 3, 4]
    assert told[1].payload == {"content": "hello"}
    assert told[3].payload == {"status": "idle"}
