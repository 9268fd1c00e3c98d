"""Law 2: one run at a time on a thread, under any interleaving, by any number of workers."""

from __future__ import annotations

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import MultitaskStrategy, RunId, RunSpec, ThreadId
from runstead.testing.fakes import Step
from tests.simulation.clients import ACTOR
from tests.simulation.kernel import FaultProfile
from tests.simulation.ports import LatencyProfile
from tests.simulation.scenario import CALM, Scenario, a_spec

NUMBER = 50
SLOW = FaultProfile(stores=LatencyProfile(instant=0.3, slowest=0.05), limits=CALM.limits)


def double_text(story: Scenario, strategy: MultitaskStrategy) -> list[RunId]:
    """Send fifty runs for one thread at once; return the accepted ones, in the order of acceptance."""
    specs = [
        a_spec(RunId(f"r{n}"), Step(takes=0.3), Step(takes=0.1), multitask_strategy=strategy) for n in range(NUMBER)
    ]
    story.create(a_spec(RunId("r-first"), Step(takes=1)))
    kernel = story.kernel
    sending = [kernel.process.spawn(_send(story, spec)) for spec in specs]
    story.world.run(lambda: all(task.done() for task in sending), until=story.now + 600)
    story.wait(300)
    accepted = [row for row in story.durable.witness.all_moves if row.before is None and row.after is not None]
    return [move.after.run_id for move in accepted if move.after is not None]


async def _send(story: Scenario, spec: RunSpec) -> None:
    with acting(ACTOR):
        try:
            await story.kernel.facade.create_background(spec)
        except ThreadBusy:
            return


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback", "reject"])
def test_fifty_concurrent_inputs_never_overlap(strategy: MultitaskStrategy) -> None:
    with Scenario(SLOW) as story:
        accepted = double_text(story, strategy)
        assert story.durable.effects.overlaps == []
        assert {status for run_id in accepted if (status := story.status(run_id))} <= {"success", "interrupted"}
        assert story.thread_status() == "idle"
        match strategy:
            case "enqueue":
                assert len(accepted) == NUMBER + 1
                assert story.log() == [f"{run}.{n}" for run in accepted for n in range(1 if run == "r-first" else 2)]
            case "interrupt":
                assert story.status(accepted[-1]) == "success"
                assert all(story.status(run_id) == "interrupted" for run_id in accepted[:-1])
            case "rollback":
                # Each rolled back the one before, so that only the last one has had an effect.
                assert story.log() == [f"{accepted[-1]}.0", f"{accepted[-1]}.1"]
                assert all(story.status(run_id) is None for run_id in accepted[:-1])
                assert story.durable.checkpoints.marks == frozenset()
            case "reject":
                assert accepted == ["r-first"]


def test_workers_of_two_processes_never_work_on_one_thread_at_once() -> None:
    with Scenario(SLOW) as story:
        first = story.kernel
        second = story.start()
        for number in range(40):
            spec = a_spec(RunId(f"r{number}"), Step(takes=0.2), thread_id=ThreadId(f"t{number % 3}"))
            story.create(spec, kernel=(first, second)[number % 2])
        story.wait(120)
        assert story.durable.effects.overlaps == []
        assert {story.status(RunId(f"r{number}")) for number in range(40)} == {"success"}
        for thread in range(3):
            assert story.log(ThreadId(f"t{thread}")) == [f"r{number}.0" for number in range(thread, 40, 3)]
        assert len({effect.worker for effect in story.durable.effects.done}) == 2, "one worker did everything"
