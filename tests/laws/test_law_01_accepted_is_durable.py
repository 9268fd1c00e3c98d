"""Law 1: once its creation was acknowledged, a run exists until it is deleted, over any crash. Recovery resumes it."""

from __future__ import annotations

import pytest

from runstead.runtime.runs.types import RunCommand, RunId, RunStatus, ThreadId
from runstead.testing.fakes import Step
from tests.simulation.scenario import Scenario, a_spec

STEPS = (Step(takes=0.2, chunks=1), Step(), Step(takes=0.5))
UNDISTURBED = ["r1.0", "r1.1", "r1.2"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_kill_at_any_call_does_not_change_the_outcome(durability: str) -> None:
    """Kills not at random moments, but at the first call that the process makes of any port, at the second, and so
    on.
    """
    call = 0
    while _survives_a_kill_at(call := call + 1, durability):
        pass
    assert call > 20, "there were hardly any calls to be killed at"


def _survives_a_kill_at(call: int, durability: str) -> bool:
    """Return False if the run had ended before this number of calls."""
    with Scenario() as story:
        story.create(a_spec(RunId("r1"), *STEPS, durability=durability))
        process = story.kernel.process
        process.dies_at_call = process.calls + call
        story.wait(20)
        if process.alive:
            assert (story.status(RunId("r1")), story.log()) == ("success", UNDISTURBED)
            return False
        story.start()
        result = story.end_of(RunId("r1"), within=60)
        assert result.record.status is RunStatus.SUCCESS
        assert story.log() == UNDISTURBED
        assert story.thread_status() == "idle"
        return True


def test_kill_at_any_call_applies_a_resume_value_once() -> None:
    call = 0
    while _resume_survives_a_kill_at(call := call + 1):
        pass
    assert call > 15


def _resume_survives_a_kill_at(call: int) -> bool:
    with Scenario() as story:
        asking = a_spec(RunId("r1"), Step(), Step("ask"), Step(takes=0.1))
        story.create_and_wait(asking)
        assert story.thread_status() == "interrupted"
        answer = a_spec(RunId("r2"), input=None, command=RunCommand(resume="yes", has_resume=True))
        story.create(answer)
        process = story.kernel.process
        process.dies_at_call = process.calls + call
        story.wait(20)
        has_died, process.dies_at_call = not process.alive, None
        if has_died:
            story.start()
        assert story.end_of(RunId("r2"), within=60).record.status is RunStatus.SUCCESS
        assert story.log() == ["r1.0", "r1.1=yes", "r1.2"]
        return has_died


def test_run_accepted_just_before_a_kill_is_executed_after_restart(story: Scenario) -> None:
    for number in range(20):
        story.create(a_spec(RunId(f"r{number}"), thread_id=ThreadId(f"t{number}")))
    story.kill()
    story.start()
    for number in range(20):
        assert story.end_of(RunId(f"r{number}"), within=60).record.status is RunStatus.SUCCESS


def test_run_whose_worker_is_lost_too_often_is_a_dead_letter_that_can_be_retried(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=60), max_attempts=2))
    for _ in range(2):
        story.wait(1)
        story.kill()
        story.start()
    dead = story.end_of(RunId("r1"))
    assert (dead.record.status, dead.record.dead_letter) == (RunStatus.ERROR, True)
    assert dead.failure is not None
    assert dead.failure.error == "AttemptsExhausted"
    story.publish(lambda runs: runs.retry(RunId("r1")))
    assert story.end_of(RunId("r1")).record.status is RunStatus.SUCCESS
    assert story.log() == ["r1.0"]
