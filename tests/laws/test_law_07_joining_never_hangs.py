"""Law 7: joining or waiting on a finished, expired or unknown run answers immediately; it never hangs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunId, RunStatus
from runstead.runtime.stream_bridge.contract import Sentinel
from runstead.testing.fakes import Step
from tests.simulation.ports import LatencyProfile
from tests.simulation.readers import Reader
from tests.simulation.scenario import CALM, Scenario, a_spec

AT_ONCE = 0.001


@pytest.mark.parametrize("age", [0, 1, 3600], ids=["just finished", "finished", "expired"])
def test_join_of_a_finished_run_returns_immediately(story: Scenario, age: float) -> None:
    story.create_and_wait(a_spec(RunId("r1"), Step(), Step()))
    story.wait(age)
    result = story.end_of(RunId("r1"), within=AT_ONCE)
    assert result.record.status is RunStatus.SUCCESS
    assert json.loads(result.output or b"")["log"] == ["r1.0", "r1.1"]
    for last_event_id in (None, "-1", "1-1", "garbage"):
        reader = Reader.of(story, RunId("r1"), last_event_id=last_event_id)
        story.wait(AT_ONCE)
        assert reader.is_done, f"a reader that came with {last_event_id} still waits"


def test_join_of_an_unknown_run_is_not_found_immediately(story: Scenario) -> None:
    with pytest.raises(RunNotFound):
        story.publish(lambda runs: runs.join_wait(RunId("r-none")), within=AT_ONCE)
    with pytest.raises(RunNotFound):
        story.publish(lambda runs: runs.join_stream(RunId("r-none"), last_event_id="-1"), within=AT_ONCE)
    with pytest.raises(RunNotFound):
        story.publish(lambda runs: runs.cancel(RunId("r-none"), wait=True), within=AT_ONCE)


def test_failed_run_answers_with_its_failure(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1"), Step("fail")))
    story.wait(3600)
    result = story.end_of(RunId("r1"), within=AT_ONCE)
    assert result.failure is not None
    assert (result.failure.error, result.failure.message) == ("AgentFailed", "r1 fails by its script")


def test_waiters_on_a_pending_run_return_when_it_is_cancelled(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), Step("hang")))
    story.create(a_spec(RunId("r2")))
    reader = Reader.of(story, RunId("r2"))
    story.wait(1)
    story.publish(lambda runs: runs.cancel(RunId("r2"), wait=True), within=AT_ONCE)
    story.wait(AT_ONCE)
    assert (reader.is_done, reader.sentinel) == (True, Sentinel.CANCELLED)


def test_waiters_on_a_deleted_run_return(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), Step("hang")))
    reader = Reader.of(story, RunId("r1"))
    story.wait(1)
    story.publish(lambda runs: runs.delete_run(RunId("r1")), within=5)
    story.wait(AT_ONCE)
    assert reader.is_done
    with pytest.raises(RunNotFound):
        story.end_of(RunId("r1"), within=AT_ONCE)


def test_reader_ends_when_the_worker_was_killed_before_the_terminal_event() -> None:
    """The next process finds the run ended, without a stream."""
    with Scenario(replace(CALM, stores=LatencyProfile(instant=0.0, slowest=0.5))) as story:
        story.create(a_spec(RunId("r1"), Step(takes=1)))
        story.world.run(lambda: story.status(RunId("r1")) == "success", until=10)
        assert not any(event.terminal for event in story.durable.witness.published[RunId("r1")]), (
            "it was published already"
        )
        story.kill()
        story.start()
        for last_event_id in (None, "-1"):
            reader = Reader.of(story, RunId("r1"), last_event_id=last_event_id)
            story.wait(5)
            assert reader.is_done


@pytest.mark.parametrize("losses", [1, 2])
def test_stream_lost_while_opening_is_not_mistaken_for_the_end_of_the_run(story: Scenario, losses: int) -> None:
    """A server that loses its data between the opening of a stream and its first read."""
    story.create(a_spec(RunId("r1"), Step(takes=5), Step(takes=5)))
    story.wait(1)
    story.kernel.streams_to_lose = losses
    reader = Reader.of(story, RunId("r1"))
    story.wait(1)
    assert not reader.is_done
    story.wait(10)
    assert (reader.is_done, reader.sentinel) == (True, Sentinel.END)


@pytest.mark.parametrize("losses", [1, 2])
def test_waiter_whose_stream_is_lost_gets_the_final_output(story: Scenario, losses: int) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=5), Step(takes=5)))
    story.wait(1)
    story.kernel.streams_to_lose = losses
    result = story.end_of(RunId("r1"))
    assert result.record.status is RunStatus.SUCCESS
    assert json.loads(result.output or b"")["log"] == ["r1.0", "r1.1"]
