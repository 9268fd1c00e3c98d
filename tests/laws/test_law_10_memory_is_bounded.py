"""Law 10: memory is bounded: after many finished runs a process is as large as after a few."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.fakes import Step
from tests.simulation.readers import Reader
from tests.simulation.scenario import CALM, Scenario, a_spec

KINDS = (Step(), Step("fail"), Step("ask"), Step(takes=0.1, chunks=2))


@pytest.fixture(autouse=True)
def unrecorded() -> Iterator[None]:
    """A run that fails is logged with its traceback, and pytest keeps all log records."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


def run_many(story: Scenario, first: int, last: int) -> None:
    """Finish runs of all kinds on separate threads, and let the retention of their streams pass."""
    for number in range(first, last):
        reader = Reader.of(
            story, a_spec(RunId(f"r{number}"), KINDS[number % len(KINDS)], thread_id=ThreadId(f"t{number}"))
        )
        story.wait(0.2)
        assert reader.is_done
    story.wait(60)


def census() -> Counter[str]:
    """Numbers of objects of Runstead's kernel and bridge, and of asyncio."""
    gc.collect()
    names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return Counter(
        name for name in names if name.startswith(("runstead.runtime.runs.internal", "runstead.infra", "_asyncio"))
    )


def test_thousand_finished_runs_leave_no_more_objects_than_a_hundred() -> None:
    with Scenario(replace(CALM, retention=10, awaiting_retention=20)) as story:
        run_many(story, 0, 100)
        before = census()
        run_many(story, 100, 1000)
        after = census()
        assert story.kernel.facade.active_runs == 0
        assert after - before == Counter(), "these have become more"


def test_thousand_readers_of_finished_and_unknown_runs_leave_no_objects(story: Scenario) -> None:
    story.create_and_wait(a_spec(RunId("r1")))
    reader = Reader.of(story, RunId("r1"))
    before = census()
    for _ in range(1000):
        reader = Reader.of(story, RunId("r1"))
        story.wait(0)
        assert reader.is_done
        with pytest.raises(RunNotFound):
            story.end_of(RunId("r-none"))
    assert census() - before == Counter()
