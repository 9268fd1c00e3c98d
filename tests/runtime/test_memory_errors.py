"""A run whose code gets a MemoryError is treated as if the kernel had ended its worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.execution.exhaustion import out_of_memory
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import RunId, RunRecord, RunStatus
from tests.faults.kernel import ALICE, Storage, a_spec
from tests.faults.one_graph import OneGraph

LIMITS = RunLimits(lease_term=timedelta(seconds=3), max_attempts=2)


class Needs(TypedDict):
    done: bool


class Hungry(OneGraph):
    """One real graph, whose node has no memory in its first executions."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        super().__init__(StateGraph(Needs).add_node("node", self._node).add_edge(START, "node").compile())

    async def _node(self, state: Needs) -> Needs:
        self._failures -= 1
        if self._failures >= 0:
            raise MemoryError
        return {"done": True}


async def ended(failures: int) -> RunRecord:
    storage = Storage()
    async with storage.worker(limits=LIMITS, agents=Hungry(failures)) as runs:
        with acting(ALICE):
            await runs.create_background(replace(a_spec("r1"), input={"done": False}))
        row = storage.tables.runs[RunId("r1")]
        for _ in range(1_000):
            if row.record.status.is_terminal:
                break
            await storage.clock.advance(0.1)
    return row.record


async def test_run_without_memory_is_attempted_again_as_after_a_lost_worker() -> None:
    run = await ended(failures=1)
    assert (run.status, run.attempt, run.lost_attempts) == (RunStatus.SUCCESS, 2, 1)


async def test_run_without_memory_in_its_last_attempt_fails_with_a_clear_error() -> None:
    run = await ended(failures=100)
    assert (run.status, run.attempt, run.dead_letter) == (RunStatus.ERROR, 2, False)
    assert run.failure is not None
    assert run.failure.error == "MemoryError"
    assert "ran out of memory" in run.failure.message


@pytest.mark.parametrize(
    ("error", "expected"), [(MemoryError(), True), (ExceptionGroup("", [MemoryError()]), True), (ValueError(), False)]
)
def test_out_of_memory_recognizes_memory_errors(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected
