"""Law 3: every run reaches exactly one terminal status; statuses only move along the lifecycle table."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.runtime.runs.types import RunId, RunStatus
from runstead.testing.fakes import Step
from tests.simulation.scenario import Scenario, a_spec

_P, _S, _R = RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING


@pytest.mark.parametrize(
    ("step", "fields", "end", "thread"),
    [
        (Step(), {}, RunStatus.SUCCESS, "idle"),
        (Step("ask"), {}, RunStatus.SUCCESS, "interrupted"),
        (Step("fail"), {}, RunStatus.ERROR, "error"),
        (Step("hang"), {"timeout_seconds": 5}, RunStatus.TIMEOUT, "interrupted"),
    ],
)
def test_run_passes_through_each_status_once(
    story: Scenario, step: Step, fields: dict[str, Any], end: RunStatus, thread: str
) -> None:
    story.create_and_wait(a_spec(RunId("r1"), step, **fields))
    assert story.durable.witness.statuses(RunId("r1")) == [_P, _S, _R, end]
    assert story.thread_status() == thread


def test_timeout_takes_the_configured_time(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1"), Step("hang"), timeout_seconds=5))
    assert story.now == pytest.approx(5, abs=0.1)


def test_run_cancelled_while_pending_ends_without_starting(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=5)))
    story.create(a_spec(RunId("r2")))
    story.publish(lambda runs: runs.cancel(RunId("r2")))
    assert story.durable.witness.statuses(RunId("r2")) == [_P, RunStatus.INTERRUPTED]


def test_settling_is_idempotent(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), Step("hang")))
    story.wait(1)
    effects = [story.publish(lambda runs: runs.cancel(RunId("r1"), wait=True)).effect for _ in range(5)]
    assert effects == ["flagged", "already_ended", "already_ended", "already_ended", "already_ended"]
    assert story.durable.witness.statuses(RunId("r1")) == [_P, _S, _R, RunStatus.INTERRUPTED]


def test_lost_run_is_pending_again_and_ends_once(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=10)))
    story.wait(1)
    story.kill()
    story.start()
    story.end_of(RunId("r1"))
    assert story.durable.witness.statuses(RunId("r1")) == [_P, _S, _R, _P, _S, _R, RunStatus.SUCCESS]
