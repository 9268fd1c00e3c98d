"""The storage behind the suites of the run, lease and thread stores, with short forms of common calls.

An adapter joins all three suites with one fixture:

```python
class TestMyRunStores(RunStoreConformance):
    @pytest.fixture
    async def storage(self) -> AsyncIterator[RunStorage]:
        bell, clock = Bell(), ManualClock()
        async with my_database() as db:
            yield RunStorage(MyRunStore(db, clock, bell), ..., clock=clock, bell=bell)
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, assert_never

from runstead.resources.threads import ThreadRecord, ThreadStore
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.store import (
    Admission,
    Admit,
    CreatedRun,
    Refuse,
    RunCreateStore,
    RunDeleteStore,
    RunLeaseStore,
    RunQueryStore,
    RunUsageStore,
    Steer,
)
from runstead.runtime.runs.types import (
    Lease,
    MultitaskStrategy,
    Outcome,
    RunId,
    RunRecord,
    RunScope,
    RunSpec,
    RunStatus,
    StopReason,
    ThreadId,
    WorkerId,
)
from runstead.testing.clock import ManualClock

ALICE: Final = ActorContext("alice", scopes=frozenset({"runs:write"}), auth_source="api_key", subject_id="s-1")
BOB: Final = ActorContext("bob")
ALICE_ELSEWHERE: Final = ActorContext("alice", tenant_id="another")

TERM: Final = timedelta(seconds=30)
CREATE: Final = RunScope(if_not_exists="create")
STATELESS: Final = RunScope(kind="stateless", on_completion="delete")
DONE: Final = Outcome(RunStatus.SUCCESS)


class EnqueueRecorder:
    """Counts the signals of a store that a run may be claimable."""

    def __init__(self) -> None:
        self.rings = 0

    def __call__(self) -> None:
        self.rings += 1


def decide(strategy: MultitaskStrategy, in_flight: Sequence[RunId]) -> Admission:
    """Decide on admission as the kernel does; written again here, since stores carry out any decision."""
    if not in_flight:
        return Admit()
    match strategy:
        case "reject":
            return Refuse(tuple(in_flight))
        case "enqueue":
            return Admit()
        case "interrupt":
            return Admit(tuple(in_flight), StopReason.SUPERSEDED)
        case "rollback":
            return Admit(tuple(in_flight), StopReason.SUPERSEDED_ROLLBACK)
        case "steer":
            return Steer()
        case _:
            assert_never(strategy)


def a_spec(thread_id: ThreadId | None = ThreadId("t-1"), **fields: Any) -> RunSpec:
    """Return a specification that creates its thread, unless ``fields`` override that."""
    return RunSpec(**{"assistant_id": "a-1", "graph_id": "g-1", "scope": CREATE, "thread_id": thread_id, **fields})


@dataclass
class RunStorage:
    """The ports of one storage, on one clock. Its stores ring ``bell``."""

    create: RunCreateStore
    query: RunQueryStore
    delete: RunDeleteStore
    leases: RunLeaseStore
    threads: ThreadStore
    usage: RunUsageStore
    clock: ManualClock
    bell: EnqueueRecorder
    actor: ActorContext = field(default=ALICE)

    async def accept(self, thread_id: ThreadId | None = ThreadId("t-1"), **fields: object) -> RunRecord:
        """Create one run, and return its record."""
        return (await self.created(thread_id, **fields)).record

    async def created(self, thread_id: ThreadId | None = ThreadId("t-1"), **fields: object) -> CreatedRun:
        """Create one run, and return the whole result."""
        with acting(self.actor):
            (created,) = await self.create.create_runs([a_spec(thread_id, **fields)], decide)
        return created

    async def accept_all(self, specs: Sequence[RunSpec]) -> Sequence[CreatedRun]:
        with acting(self.actor):
            return await self.create.create_runs(specs, decide)

    async def held(self, run: RunRecord, worker: str = "w-1") -> Lease:
        """Claim a run that must be claimable."""
        lease = await self.leases.claim(run.run_id, WorkerId(worker), TERM)
        assert lease is not None, f"run {run.run_id} could not be claimed"
        return lease

    async def begun(self, run: RunRecord, worker: str = "w-1", base: str | None = None) -> Lease:
        """Claim a run and begin it."""
        return await self.leases.begin(await self.held(run, worker), base)

    async def ended(self, run: RunRecord, outcome: Outcome = DONE) -> RunRecord:
        """Claim, begin and settle a run."""
        return (await self.leases.settle(await self.begun(run), outcome)).record

    async def lost(self, run: RunRecord, max_attempts: int = 10) -> RunRecord:
        """Claim a run, begin it, lose its worker, and recover it."""
        await self.begun(run)
        await self.clock.advance(TERM)
        recovery = await self.leases.recover(run.run_id, max_attempts)
        assert recovery is not None
        return recovery.record

    async def run(self, run_id: RunId) -> RunRecord | None:
        with acting(self.actor):
            return await self.query.get_run(run_id)

    async def stands(self, run: RunRecord) -> RunRecord:
        """Return the current record of the run, which must exist."""
        found = await self.run(run.run_id)
        assert found is not None, f"run {run.run_id} is gone"
        return found

    async def thread(self, thread_id: ThreadId = ThreadId("t-1")) -> ThreadRecord:
        with acting(self.actor):
            found = await self.threads.get(thread_id)
        assert found is not None, f"thread {thread_id} is gone"
        return found

    async def has_thread(self, thread_id: ThreadId) -> bool:
        with acting(self.actor):
            return await self.threads.get(thread_id) is not None

    async def new_thread(
        self, thread_id: ThreadId = ThreadId("t-1"), metadata: JsonMapping | None = None
    ) -> ThreadRecord:
        with acting(self.actor):
            return await self.threads.create(thread_id, metadata=metadata)
