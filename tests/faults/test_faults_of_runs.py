"""Known faults of runs (docs: behaviour), seen in other implementations, and tests that they do not occur here."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.agent_loop import InlineAgentLoops
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import RunCommand, RunId, RunStatus, ThreadId
from runstead.runtime.stream_bridge.contract import Sentinel
from runstead.testing.fakes import (
    FakeAgents,
    InMemoryCheckpointStore,
    InMemoryLeaseStore,
    InMemoryRunEventStore,
    InMemoryRunStore,
    InMemoryTables,
    Step,
)
from tests.simulation.clients import ACTOR
from tests.simulation.ports import LatencyProfile
from tests.simulation.readers import Reader
from tests.simulation.scenario import CALM, Scenario, a_spec

TALKS = [Step(takes=1, chunks=4) for _ in range(3)]
ANSWER = RunCommand(resume="yes", has_resume=True)


def test_fault_04_rollback_is_reachable_and_restores_everything(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1"), Step(), Step("ask"), Step()))
    saver = story.durable.checkpoints.saver
    before = (dict(saver.storage["t1"][""]), {key: dict(kept) for key, kept in saver.writes.items()})
    values = story.durable.tables.threads[ThreadId("t1")].record.values
    # A resume writes to an older checkpoint, and creates new checkpoints after it.
    story.create(a_spec(RunId("r2"), input=None, command=ANSWER))
    story.create(a_spec(RunId("r3"), *TALKS))
    story.wait(1.5)
    story.publish(lambda runs: runs.cancel(RunId("r3"), action="rollback", wait=True))
    story.publish(lambda runs: runs.delete_run(RunId("r2")))
    assert story.log() == ["r1.0", "r1.1=yes", "r1.2"]
    with Scenario() as other:
        other.create_and_wait(a_spec(RunId("r1"), Step(), Step("ask"), Step(takes=5)))
        other.create(a_spec(RunId("r2"), input=None, command=ANSWER))
        other.wait(1)
        other.publish(lambda runs: runs.cancel(RunId("r2"), action="rollback", wait=True))
        saver = other.durable.checkpoints.saver
        assert (dict(saver.storage["t1"][""]), {key: dict(kept) for key, kept in saver.writes.items()}) == before
        thread = other.durable.tables.threads[ThreadId("t1")].record
        assert (thread.status, thread.values) == ("interrupted", values)
        assert other.status(RunId("r2")) is None


@pytest.mark.parametrize("moment", [0, 0.1, 0.3, 0.6, 1.0, 1.5, 3.0])
def test_fault_05_cancel_before_the_first_step_blocks_nothing(moment: float) -> None:
    """At every moment of a slow start: pending, claimed, marked, started."""
    with Scenario(replace(CALM, stores=LatencyProfile(instant=0.0, slowest=0.5))) as story:
        story.create(a_spec(RunId("r1"), Step(takes=60)))
        story.wait(moment)
        story.publish(lambda runs: runs.cancel(RunId("r1"), wait=True))
        assert story.status(RunId("r1")) == "interrupted"
        story.create_and_wait(a_spec(RunId("r2")))
        assert (story.status(RunId("r2")), story.thread_status()) == ("success", "idle")


async def test_fault_06_run_without_observers_succeeds() -> None:
    tables = InMemoryTables()
    bell = WakeupSignal()
    leases = InMemoryLeaseStore(tables, bell.notify)
    dispatcher = LocalDispatcher(leases, bell)
    runs = InMemoryRunStore(tables, bell.notify)
    async with MemoryStreamBridge.running() as bridge:
        facade = RunsFacade.assemble(
            RunsRuntime(
                create_store=runs,
                query_store=runs,
                delete_store=runs,
                lease_store=leases,
                event_store=InMemoryRunEventStore(),
                checkpoints=InMemoryCheckpointStore(),
                bridge=bridge,
                dispatcher=dispatcher,
                agents=FakeAgents(),
                agent_loops=InlineAgentLoops(),
            )
        )
        await facade.start()
        with acting(ActorContext("other")):
            result = await asyncio.wait_for(facade.create_and_wait(a_spec(RunId("r1"))), timeout=60)
        await facade.close()
    assert result.record.status is RunStatus.SUCCESS


def test_fault_07_resume_command_answers_and_interrupt_marks_the_thread(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1"), Step(), Step("ask"), Step()))
    thread = story.durable.tables.threads[ThreadId("t1")].record
    assert (story.status(RunId("r1")), thread.status) == ("success", "interrupted")
    ((interrupt,),) = json.loads(thread.interrupts).values()
    assert interrupt["value"] == {"question": "r1"}
    story.create_and_wait(a_spec(RunId("r2"), input=None, command=ANSWER))
    assert story.log() == ["r1.0", "r1.1=yes", "r1.2"]
    assert (story.status(RunId("r2")), story.thread_status()) == ("success", "idle")


def test_fault_07_interrupt_answered_ten_times_concurrently_is_answered_once(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1"), Step(), Step("ask"), Step(takes=1)))
    answers = [RunCommand(resume=f"answer {number}", has_resume=True) for number in range(10)]
    specs = [a_spec(RunId(f"r-{number}"), input=None, command=answer) for number, answer in enumerate(answers)]
    story.publish(lambda runs: runs.create_batch(specs))
    story.wait(60)
    assert story.log() == ["r1.0", "r1.1=answer 0", "r1.2"]


def test_fault_08_interrupting_run_starts_after_the_previous_one_ended(story: Scenario) -> None:
    for number in range(10):
        story.create(a_spec(RunId(f"r{number}"), *TALKS, multitask_strategy="interrupt"))
        story.wait(0.4)
    story.wait(60)
    effects = story.durable.effects
    assert effects.overlaps == []
    assert {effect.run_id for effect in effects.done} == {f"r{number}" for number in range(10)}
    for before, after in pairwise(effects.done):
        assert before.ended is not None
        assert before.ended <= after.began


@pytest.mark.parametrize("failing", [0.5, 1.0], ids=["sometimes", "always"])
def test_fault_16_failing_event_store_loses_only_events(failing: float) -> None:
    with Scenario(replace(CALM, stores=LatencyProfile(outages={"append": failing}, instant=1.0))) as story:
        for number in range(20):
            said = {"messages": [{"role": "user", "content": f"number {number}"}]}
            spec = a_spec(RunId(f"r{number}"), thread_id=ThreadId(f"t{number}"))
            story.create_and_wait(replace(spec, input={**spec.input, **said}))
        story.wait(60)
        assert {story.status(RunId(f"r{number}")) for number in range(20)} == {"success"}
        assert story.kernel.facade.active_runs == 0
        assert story.durable.checkpoints.marks == frozenset(), "the clean-up was skipped"
        told = [event.event_type.value for _, _, event in story.durable.witness.published_ends]
        assert told.count("run_completed") == 20


def test_fault_16_events_of_a_failed_flush_are_stored_later() -> None:
    """Half of the calls fail, half of those before they took effect: no event is lost while retries remain."""
    with Scenario(replace(CALM, stores=LatencyProfile(outages={"append": 0.4}, instant=1.0)), seed=3) as story:
        for number in range(20):
            spec = a_spec(RunId(f"r{number}"), thread_id=ThreadId(f"t{number}"))
            said = {"messages": [{"role": "user", "content": f"number {number}"}]}
            story.create_and_wait(replace(spec, input={**spec.input, **said}))
        stored = [
            event
            for number in range(20)
            for event in story.world.complete(story.world.outside, _events_of(story, f"t{number}"), story.now + 1)
        ]
        assert len(set(stored)) >= 19


async def _events_of(story: Scenario, thread_id: str) -> list[str]:
    with acting(ACTOR):
        stored = await story.durable.events.list_events(ThreadId(thread_id))
    return [str(each.event.content["content"]) for each in stored if each.event.event_type == "human_message"]


def test_fault_18_terminal_event_is_sent_after_the_durable_write(story: Scenario) -> None:
    """A reader that looks up the run when it sees the terminal event finds it ended."""

    async def look_at_the_end(runs: RunsFacade) -> RunStatus:
        _, stream = await runs.create_and_stream(a_spec(RunId("r1"), *TALKS))
        async for item in stream:
            if item is Sentinel.END:
                return (await runs.get_run(RunId("r1"))).status
        raise AssertionError("the stream had no end")

    assert story.publish(look_at_the_end) is RunStatus.SUCCESS


def test_fault_25_crash_fails_no_run_and_the_run_is_resumed(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), *TALKS))
    story.wait(1.5)
    story.kill()
    story.start()
    result = story.end_of(RunId("r1"))
    assert (result.record.status, result.record.attempt, result.record.failure) == (RunStatus.SUCCESS, 2, None)
    assert story.log() == ["r1.0", "r1.1", "r1.2"]
    steps = [effect.step for effect in story.durable.effects.done]
    assert steps == ["r1.0", "r1.1", "r1.1", "r1.2"], "a finished step was taken again"


def test_fault_26_cancel_is_immediate_locally_and_bounded_on_other_workers(story: Scenario) -> None:
    """Another process here shares only the storage: the notice cannot reach it, the flag does."""
    story.create(a_spec(RunId("r1"), Step("hang")))
    story.wait(0.5)
    began = story.now
    story.publish(lambda runs: runs.cancel(RunId("r1"), wait=True))
    assert story.now - began < 0.01
    story.create(a_spec(RunId("r2"), Step("hang")))
    story.wait(0.5)
    began = story.now
    story.start()
    story.publish(lambda runs: runs.cancel(RunId("r2")))
    story.world.run(lambda: story.status(RunId("r2")) == "interrupted", until=began + 1.1)


def test_fault_27_failing_stream_loses_live_events_and_no_run() -> None:
    with Scenario(replace(CALM, failing_streams=1.0)) as story:
        story.create(a_spec(RunId("r1"), *TALKS))
        story.create(a_spec(RunId("r2"), Step("fail")))
        story.wait(60)
        assert [story.status(RunId(run_id)) for run_id in ("r1", "r2")] == ["success", "error"]
        assert story.log() == ["r1.0", "r1.1", "r1.2"]


@pytest.mark.parametrize("modes", [("messages",), ("messages-tuple",)])
def test_fault_28_partial_answer_is_kept_when_a_run_is_stopped(story: Scenario, modes: tuple[str, ...]) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=10, chunks=9), stream_modes=modes))
    story.wait(4.5)
    story.publish(lambda runs: runs.cancel(RunId("r1"), wait=True))
    messages = json.loads(story.durable.tables.threads[ThreadId("t1")].record.values or b"")["messages"]
    assert [message["content"] for message in messages] == ["token-0 token-1 token-2 token-3 "]
    assert messages[0]["response_metadata"]["partial"] is True
    assert messages[0]["response_metadata"]["stop_reason"] == "user_interrupt"


def test_fault_29_stopping_server_releases_its_runs_cleanly(story: Scenario) -> None:
    specs = [a_spec(RunId(f"r{number}"), *TALKS, thread_id=ThreadId(f"t{number}")) for number in range(10)]
    story.publish(lambda runs: runs.create_batch(specs))
    readers = [Reader.of(story, RunId(f"r{number}")) for number in range(10)]
    story.wait(1.5)
    story.close(grace=0.1)
    assert {story.status(RunId(f"r{number}")) for number in range(10)} == {"pending"}
    assert story.kernel.process.waiting() == [], "something was left running"
    assert all(reader.sentinel is None for reader in readers), "closing was reported as an end"
    story.start()
    story.wait(60)
    assert {story.status(RunId(f"r{number}")) for number in range(10)} == {"success"}
    assert {row.record.attempt for row in story.durable.tables.runs.values()} == {2}


def test_fault_30_answer_is_stored_after_the_browser_closed_mid_stream(story: Scenario) -> None:
    reader = Reader.of(story, a_spec(RunId("r1"), *TALKS))
    story.wait(1.5)
    reader.hang_up()
    story.wait(3600)
    assert json.loads(story.end_of(RunId("r1")).output or b"")["log"] == ["r1.0", "r1.1", "r1.2"]
