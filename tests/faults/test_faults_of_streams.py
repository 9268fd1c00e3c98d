"""Known faults of streams (docs: behaviour), seen in other implementations, and tests that they do not occur here."""

from __future__ import annotations

import gc
import json
from dataclasses import replace

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.internal.execution.chunks import ChunkEncoder
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.runtime.stream_bridge.contract import Sentinel, StreamEvent, StreamStatus
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.testing.clock import ManualClock
from runstead.testing.fakes import Step
from tests.simulation.readers import Reader
from tests.simulation.scenario import CALM, Scenario, a_spec

TALKS = [Step(takes=1, chunks=4) for _ in range(3)]


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue"])
def test_fault_01_successful_streamed_run_is_not_recorded_as_interrupted(story: Scenario, on_disconnect: str) -> None:
    """The response closes its stream at the end, as every ``finally`` does; the run has ended by then."""
    reader = Reader.of(story, a_spec(RunId("r1"), *TALKS, on_disconnect=on_disconnect))
    story.wait(60)
    assert (reader.is_done, reader.sentinel) == (True, Sentinel.END)
    assert story.durable.witness.statuses(RunId("r1"))[-1].value == "success"


def test_fault_02_slow_reader_gets_the_tail_and_no_cancel(story: Scenario) -> None:
    slow = Reader.of(story, a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom")), seconds_per_batch=30)
    story.wait(900)
    assert slow.is_done
    assert slow.ids == [event.event_id for event in story.durable.witness.published[RunId("r1")]]
    assert slow.sentinel is Sentinel.END


def test_fault_02_reader_of_a_removed_stream_reads_to_its_end(story: Scenario) -> None:
    slow = Reader.of(story, a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom")), seconds_per_batch=2)
    story.wait(3.5)
    story.publish(lambda runs: runs.delete_run(RunId("r1")))
    story.wait(60)
    assert slow.is_done
    assert slow.events[-1].terminal == "end"


def test_fault_03_joining_a_finished_run_ends_and_makes_no_stream(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1")))
    story.wait(3600)
    for _ in range(3):
        reader = Reader.of(story, RunId("r1"))
        story.wait(0.001)
        assert reader.is_done
        assert Sentinel.HEARTBEAT not in reader.items
    assert story.publish(lambda _: story.kernel.kept_streams()) == []


async def test_fault_09_readers_of_unknown_runs_do_not_fill_the_bridge() -> None:
    async with MemoryStreamBridge.running(MemoryStreamSettings(max_streams=3), ManualClock()) as bridge:
        await bridge.open("r-live")
        for number in range(100):
            with pytest.raises(StreamNotFound):
                await bridge.subscribe(f"r-unknown-{number}")
        for number in range(2):
            await bridge.open(f"r{number}")
        assert [await bridge.status(f"r{number}") for number in range(2)] != [None, None]


def test_fault_09_abandoned_readers_leave_space_for_runs(story: Scenario) -> None:
    for number in range(100):
        with pytest.raises(RunNotFound):
            story.publish(lambda runs, number=number: runs.join_stream(f"r-{number}", last_event_id="-1"))  # type: ignore[misc]
    assert story.publish(lambda _: story.kernel.kept_streams()) == []


def test_fault_10_silent_run_is_not_stopped(story: Scenario) -> None:
    reader = Reader.of(story, a_spec(RunId("r1"), Step(takes=3 * 3600)))
    story.wait(2 * 3600)
    assert (story.status(RunId("r1")), reader.is_done) == ("running", False)
    story.wait(2 * 3600)
    assert (story.status(RunId("r1")), reader.is_done, reader.sentinel) == ("success", True, Sentinel.END)


def test_fault_11_gap_is_reported(story: Scenario) -> None:
    with Scenario(replace(CALM, window_events=3)) as narrow:
        narrow.create_and_wait(a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom")))
        late = Reader.of(narrow, RunId("r1"), last_event_id="1-2")
        narrow.wait(1)
        assert late.names[:2] == ["gap", "values"]
        gap = json.loads(late.events[0].data)
        published = [event.event_id for event in narrow.durable.witness.published[RunId("r1")]]
        assert (gap["from"], gap["to"]) == ("1-2", late.ids[0])
        assert gap["missed"] == published.index(gap["to"]) - published.index("1-2") - 1


@pytest.mark.parametrize("nonsense", ["garbage", "9-9", "1-999", "0-1", "-2", "1-", "1-1-1", "💥"])
def test_fault_11_unknown_event_id_replays_everything_and_is_reported(story: Scenario, nonsense: str) -> None:
    whole = Reader.of(story, a_spec(RunId("r1"), *TALKS))
    story.wait(60)
    reader = Reader.of(story, RunId("r1"), last_event_id=nonsense)
    story.wait(1)
    assert reader.names[0] == "gap"
    assert json.loads(reader.events[0].data)["from"] == nonsense
    assert reader.ids == whole.ids


async def test_fault_12_oversized_event_evicts_others_and_not_itself() -> None:
    async with MemoryStreamBridge.running(MemoryStreamSettings(window_bytes=100), ManualClock()) as bridge:
        await bridge.open("r1")
        await bridge.publish("r1", "values", b"1" * 40)
        await bridge.publish("r1", "values", b"2" * 5_000)
        await bridge.publish_end("r1")
        reader = await bridge.subscribe("r1", "1-1")
        *events, sentinel = await reader.read()
        assert [event.data[:1] for event in events if isinstance(event, StreamEvent)] == [b"2", b"n"]
        assert (reader.resumed.status, sentinel) == ("resumed", Sentinel.END)


def test_fault_13_finished_runs_are_not_kept_in_memory() -> None:
    kinds = {"RunHandle", "RunExecution", "AgentAttempt", "RunLog", "LogReader", "RunPublisher"}

    def alive() -> list[object]:
        gc.collect()
        return [each for each in gc.get_objects() if type(each).__name__ in kinds]

    # Earlier tests may have left some; they are referenced, so that they are not counted as new.
    before = alive()
    with Scenario(replace(CALM, retention=5, awaiting_retention=5)) as story:
        for number in range(200):
            story.create_and_wait(a_spec(RunId(f"r{number}"), Step("ask"), thread_id=ThreadId(f"t{number}")))
        story.wait(60)
        theirs = {id(each) for each in before}
        assert [type(each).__name__ for each in alive() if id(each) not in theirs] == []
        assert story.publish(lambda _: story.kernel.kept_streams()) == []


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "tasks", "checkpoints", "debug"])
def test_fault_24_subgraph_frames_are_distinct_from_root_frames(mode: str) -> None:
    encoder = ChunkEncoder(frozenset({"values", "updates", "custom", "tasks", "checkpoints", "debug"}))
    child = [name for name, _ in encoder.encode(("child:1", "grandchild:2"), mode, {"x": 1})]
    root = [name for name, _ in encoder.encode((), mode, {"x": 2})]
    assert (child, root) == ([f"{mode}|child:1|grandchild:2"], [mode])
    assert encoder.last_values == ({"x": 2} if mode == "values" else None)


async def test_fault_31_ids_are_unique_and_replay_after_each_is_complete() -> None:
    """At any rate of events: an id is a sequence number, not a time."""
    clock = ManualClock()
    async with MemoryStreamBridge.running(MemoryStreamSettings(), clock) as bridge:
        await bridge.open("r1")
        ids = [await bridge.publish("r1", "values", b"%d" % number) for number in range(2_000)]
        assert len(set(ids)) == 2_000
        assert clock.monotonic() == 0
        for place in (0, 1, 999, 1_000, 1_998):
            reader = await bridge.subscribe("r1", ids[place])
            read: list[str] = []
            while len(read) < 1_999 - place:
                read += [event.id for event in await reader.read() if isinstance(event, StreamEvent)]
            assert read == ids[place + 1 :]
            await reader.aclose()


@pytest.mark.parametrize("ending", ["asks", "cancelled", "rolled back"])
def test_stream_is_kept_for_an_answer_only_if_the_run_is_interrupted(ending: str) -> None:
    """A stopped run leaves pending steps too, but no interrupt."""
    with Scenario(replace(CALM, retention=5, awaiting_retention=500)) as story:
        story.create_and_wait(a_spec(RunId("r0"), Step("ask")))
        story.wait(600)
        story.create(a_spec(RunId("r1"), *([Step("ask")] if ending == "asks" else TALKS)))
        if ending != "asks":
            story.wait(1.5)
            if ending == "rolled back":
                story.publish(lambda runs: runs.cancel(RunId("r1"), action="rollback", wait=True))
            else:
                story.publish(lambda runs: runs.cancel(RunId("r1"), wait=True))
        story.wait(60)
        assert story.thread_status() == "interrupted"
        assert story.publish(lambda _: story.kernel.kept_streams()) == (["r1"] if ending == "asks" else [])


def test_stream_awaits_input_from_the_question_to_the_answer() -> None:
    with Scenario(replace(CALM, retention=5, awaiting_retention=500)) as story:

        def status_of(run_id: str) -> StreamStatus | None:
            return story.publish(lambda _: story.kernel.stream_status(RunId(run_id)))

        story.create_and_wait(a_spec(RunId("r1"), Step("ask")))
        story.wait(60)
        assert status_of("r1") is StreamStatus.AWAITING_INPUT
        story.create(a_spec(RunId("r2"), *TALKS))
        story.wait(0.5)
        assert status_of("r1") is StreamStatus.ENDED
        story.wait(60)
        assert (status_of("r1"), status_of("r2")) == (None, None)
