"""Required observers hear of each end at least once, also if the worker died right after it had written the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_ends import RunEnds, SqlRunEndOutbox
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.recovery.end_notifications import EndNotifier
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import Lease, Outcome, RunCompletionData, RunRecord, RunStatus, StopReason, WorkerId
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import ALICE, DONE, TERM, a_spec, decide

ENDS = RunEnds(notifies=True)


class Hearing:
    """A required observer that fails as often as it is asked to."""

    required = True

    def __init__(self, failures: int) -> None:
        self.failures, self.heard = failures, list[RunLifecycleEvent]()

    async def on_event(self, event: RunLifecycleEvent) -> None:
        self.heard.append(event)
        if len(self.heard) <= self.failures:
            raise ConnectionError("away")


class Deployment:
    """Stores of one database, and a process that notifies observers."""

    def __init__(self, database: Any) -> None:
        self.clock = ManualClock()
        self.create = SqlRunCreateStore(database, self.clock, lambda: None, ends=ENDS)
        self.leases = SqlRunLeaseStore(database, self.clock, lambda: None, ends=ENDS)
        self.query_store, self.outbox = SqlRunQueryStore(database), SqlRunEndOutbox(database, self.clock)
        self.required_observers: list[Hearing] = []

    async def accepted(self, **fields: Any) -> RunRecord:
        with acting(ALICE):
            (created,) = await self.create.create_runs([a_spec(**fields)], decide)
        return created.record

    async def begun(self, run: RunRecord) -> Lease:
        lease = await self.leases.claim(run.run_id, WorkerId("w"), TERM)
        assert lease is not None
        return await self.leases.begin(lease, None)

    async def heard(self, failures: int = 0) -> list[RunLifecycleEvent]:
        """Return the events of which a new process notifies an observer."""
        observer = Hearing(failures)
        self.required_observers = [observer]
        runtime: Any = self
        await EndNotifier(runtime, self.outbox).notify()
        return observer.heard


@pytest.fixture
def deployment(database: Database) -> Deployment:
    return Deployment(database)


async def test_end_of_a_worker_that_died_after_settling_is_notified_once(deployment: Deployment) -> None:
    lease = await deployment.begun(await deployment.accepted())
    completion = RunCompletionData(last_ai_message="hello")
    await deployment.leases.settle(lease, Outcome(RunStatus.SUCCESS, completion=completion))
    (event,) = await deployment.heard()
    assert (event.event_type, event.run_id) == (RunLifecycleEventType.RUN_COMPLETED, lease.run_id)
    assert event.payload["completion"]["last_ai_message"] == "hello"
    assert event.run is not None
    assert await deployment.heard() == []


async def test_observer_that_fails_is_notified_again_after_a_pause(deployment: Deployment) -> None:
    await deployment.leases.settle(await deployment.begun(await deployment.accepted()), DONE)
    first = await deployment.heard(failures=1)
    assert await deployment.heard() == []
    await deployment.clock.advance(timedelta(seconds=1))
    again = await deployment.heard()
    assert [event.event_id for event in again] == [event.event_id for event in first]
    await deployment.clock.advance(timedelta(hours=1))
    assert await deployment.heard() == []


async def test_process_that_dies_while_it_notifies_leaves_the_notification(deployment: Deployment) -> None:
    await deployment.leases.settle(await deployment.begun(await deployment.accepted()), DONE)
    (claimed,) = await deployment.outbox.claim(10, timedelta(minutes=1))
    assert await deployment.heard() == []
    await deployment.clock.advance(timedelta(minutes=1))
    (event,) = await deployment.heard()
    assert event.run_id == claimed.run_id


async def test_ends_without_a_worker_are_notified_too(deployment: Deployment) -> None:
    waiting = await deployment.accepted()
    await deployment.leases.request_stop(waiting.run_id, StopReason.BY_USER)
    undone = await deployment.begun(await deployment.accepted())
    await deployment.leases.settle(undone, Outcome(RunStatus.INTERRUPTED, rolled_back=True))
    dead = await deployment.begun(await deployment.accepted())
    await deployment.clock.advance(TERM)
    await deployment.leases.recover(dead.run_id, 1)
    events = {event.run_id: event for event in await deployment.heard()}
    assert events[waiting.run_id].payload["reason"] == "user_interrupt"
    assert events[undone.run_id].event_type is RunLifecycleEventType.RUN_CANCELLED
    assert events[undone.run_id].run is None
    assert events[dead.run_id].payload["error"]["error"] == "AttemptsExhausted"
