"""Law 8: `close()` is not a cancel, a disconnect is not a cancel (unless requested); a slow reader delays no other."""

from __future__ import annotations

import pytest

from runstead.runtime.runs.types import OnDisconnect, RunId, RunStatus
from runstead.testing.fakes import Step
from tests.simulation.readers import Reader
from tests.simulation.scenario import Scenario, a_spec

TALKS = [Step(takes=1, chunks=4) for _ in range(3)]


def test_close_releases_runs_and_the_next_server_resumes_them(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), *TALKS))
    story.wait(1.5)
    story.close(grace=0.2)
    assert story.status(RunId("r1")) == "pending"
    assert story.thread_status() == "busy"
    story.start()
    result = story.end_of(RunId("r1"))
    assert (result.record.status, result.record.attempt, result.record.lost_attempts) == (RunStatus.SUCCESS, 2, 0)
    assert story.log() == ["r1.0", "r1.1", "r1.2"]


def test_close_with_grace_lets_runs_finish(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), *TALKS))
    story.wait(1.5)
    story.close(grace=10)
    assert story.status(RunId("r1")) == "success"
    assert story.now == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("on_disconnect", "end"), [("continue", "success"), ("cancel", "interrupted")])
def test_reader_disconnect_cancels_the_run_only_if_requested(
    story: Scenario, on_disconnect: OnDisconnect, end: str
) -> None:
    reader = Reader.of(story, a_spec(RunId("r1"), *TALKS, on_disconnect=on_disconnect))
    story.wait(1.5)
    reader.hang_up()
    story.wait(60)
    assert story.status(RunId("r1")) == end


def test_joined_reader_disconnect_does_not_cancel(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), *TALKS, on_disconnect="cancel"))
    reader = Reader.of(story, RunId("r1"))
    story.wait(1.5)
    reader.hang_up()
    story.wait(60)
    assert story.status(RunId("r1")) == "success"


def test_slow_reader_within_the_window_loses_nothing_and_delays_no_one(story: Scenario) -> None:
    spec = a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom"))
    slow = Reader.of(story, spec, seconds_per_batch=20)
    story.wait(0)
    quick = Reader.of(story, RunId("r1"))
    story.wait(3.1)
    assert (story.status(RunId("r1")), quick.is_done, slow.is_done) == ("success", True, False)
    story.wait(600)
    assert slow.is_done
    assert slow.ids == quick.ids
