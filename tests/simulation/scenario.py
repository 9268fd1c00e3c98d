"""A server on fakes and virtual time, for tests of one fixed sequence of events without random faults.

```python
with Story() as story:
    run = story.tell(lambda runs: runs.create_background(a_spec("r1", Step(takes=60))))
    story.wait(30)
    story.kill()
    story.start()
    assert story.tell(lambda runs: runs.join_wait(run.run_id)).record.status is RunStatus.SUCCESS
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, Self, TypeVar

from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import RunId, RunRecord, RunResult, RunScope, RunSpec, ThreadId
from runstead.testing.fakes import Script, Step

from .clients import ACTOR
from .kernel import Durable, FaultProfile, Kernel
from .ports import LatencyProfile
from .world import World

T = TypeVar("T")

CALM: Final = FaultProfile(
    stores=LatencyProfile(instant=1.0),
    retention=300,
    awaiting_retention=7200,
    limits=RunLimits(
        max_concurrent_runs=64, lease_term=timedelta(seconds=3), max_attempts=3, stop_grace=4.0, heartbeat=2.0
    ),
)
"""Calls take no time and do not fail."""

_FOR_EVER: Final = 100_000.0


def a_spec(run_id: RunId, *steps: Step, thread_id: ThreadId | None = ThreadId("t1"), **fields: Any) -> RunSpec:
    """Return the spec of a fake agent's run with these steps, or one short step; its thread is created with it."""
    script = Script(run_id, steps or (Step(),))
    defaults: dict[str, Any] = {
        "assistant_id": "agent",
        "graph_id": "agent",
        "scope": RunScope(if_not_exists="create"),
        "input": script.to_input(),
    }
    return RunSpec(**{**defaults, "run_id": run_id, "thread_id": thread_id, **fields})


class Scenario:
    """Server processes, in sequence or in parallel, over one storage."""

    def __init__(self, climate: FaultProfile = CALM, seed: int = 0) -> None:
        self.world = World(seed)
        self.durable = Durable(self.world)
        self.climate = climate
        self.kernels: list[Kernel] = []
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.world.close()

    @property
    def kernel(self) -> Kernel:
        """Return the process started last."""
        return self.kernels[-1]

    @property
    def now(self) -> float:
        return self.world.now

    def start(self) -> Kernel:
        """Start a process; it owns the storage if no other one lives."""
        alone = not any(kernel.process.alive for kernel in self.kernels)
        process = self.world.process(f"server-{len(self.kernels) + 1}")
        kernel = Kernel(process, self.durable, self.climate)
        self.kernels.append(kernel)
        self.world.complete(process, kernel.start(alone=alone), _FOR_EVER)
        return kernel

    def kill(self) -> None:
        """Kill the process started last (SIGKILL)."""
        self.kernel.process.kill()

    def close(self, grace: float = 10.0) -> None:
        """Close it (SIGTERM), and wait for its end."""
        kernel = self.kernel
        self.world.complete(kernel.process, kernel.close(grace), _FOR_EVER)
        kernel.process.kill()

    def publish(
        self,
        verb: Callable[[RunsFacade], Awaitable[T]],
        *,
        actor: ActorContext | None = ACTOR,
        kernel: Kernel | None = None,
        within: float = _FOR_EVER,
    ) -> T:
        """Call ``verb`` in a process, and let the time pass that it takes. ``actor`` None: without a bound actor."""
        kernel = kernel or self.kernel

        async def acted() -> T:
            if actor is None:
                return await verb(kernel.facade)
            with acting(actor):
                return await verb(kernel.facade)

        return self.world.complete(kernel.process, acted(), self.now + within)

    def create(self, spec: RunSpec, *, kernel: Kernel | None = None) -> RunRecord:
        """Create a run in the background."""
        return self.publish(lambda runs: runs.create_background(spec), kernel=kernel)

    def create_and_wait(self, spec: RunSpec) -> RunResult:
        """Create a run, and wait for its end."""
        return self.publish(lambda runs: runs.create_and_wait(spec))

    def end_of(self, run_id: RunId, *, within: float = _FOR_EVER) -> RunResult:
        """Wait for the end of a run."""
        return self.publish(lambda runs: runs.join_wait(run_id), within=within)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.world.sleep_until(self.now + seconds)

    def log(self, thread_id: ThreadId = ThreadId("t1")) -> list[str]:
        """Return the log lines in the thread's state."""
        config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        latest = self.durable.checkpoints.saver.get_tuple(config)
        return [] if latest is None else list(latest.checkpoint["channel_values"]["log"])

    def status(self, run_id: RunId) -> str | None:
        """Return the run's stored status; None if there is no such run."""
        row = self.durable.tables.runs.get(run_id)
        return None if row is None else row.record.status.value

    def thread_status(self, thread_id: ThreadId = ThreadId("t1")) -> str | None:
        row = self.durable.tables.threads.get(thread_id)
        return None if row is None else row.record.status
