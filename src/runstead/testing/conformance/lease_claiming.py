"""The part of the RunLeaseStore suite about claim, renew, begin and release."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.types import RunId, RunStatus, StopReason, ThreadId, WorkerId

from .run_storage import DONE, TERM, RunStorage


class LeaseClaiming:
    async def test_claim_starts_the_run_and_returns_its_lease(self, storage: RunStorage) -> None:
        run = await storage.accept(input={"x": 1})
        lease = await storage.leases.claim(run.run_id, WorkerId("w-1"), TERM)
        assert lease is not None
        assert (lease.run_id, lease.thread_id, lease.worker, lease.attempt) == (run.run_id, "t-1", "w-1", 1)
        assert lease.deadline == storage.clock.now() + TERM
        assert lease.run == await storage.stands(run)
        assert (lease.run.status, lease.run.attempt) == (RunStatus.STARTING, 1)
        assert (lease.run.spec, lease.run.actor) == (run.spec, storage.actor)

    async def test_lease_calls_require_no_actor(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.held(run)
        await storage.leases.renew(lease, TERM)
        await storage.leases.begin(lease, None)
        await storage.leases.release(lease)
        await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        assert await storage.leases.list_expired() == []

    async def test_claim_returns_none_for_a_held_ended_or_unknown_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.held(run)
        assert await storage.leases.claim(run.run_id, WorkerId("w-2"), TERM) is None
        await storage.leases.settle(lease, DONE)
        assert await storage.leases.claim(run.run_id, WorkerId("w-2"), TERM) is None
        assert await storage.leases.claim(RunId("r-none"), WorkerId("w-2"), TERM) is None

    async def test_claim_by_many_at_once_succeeds_once(self, storage: RunStorage) -> None:
        run = await storage.accept()
        claims = [storage.leases.claim(run.run_id, WorkerId(f"w-{n}"), TERM) for n in range(20)]
        leases = [lease for lease in await asyncio.gather(*claims) if lease is not None]
        assert len(leases) == 1
        assert (await storage.stands(run)).attempt == 1

    async def test_claim_of_a_delayed_run_succeeds_when_it_is_due(self, storage: RunStorage) -> None:
        run = await storage.accept(after_seconds=60)
        await storage.clock.advance(59)
        assert await storage.leases.claim(run.run_id, WorkerId("w-1"), TERM) is None
        await storage.clock.advance(1)
        await storage.held(run)
        assert (await storage.thread()).status == "busy"

    async def test_claim_prefers_a_begun_run_to_an_earlier_delayed_one(self, storage: RunStorage) -> None:
        delayed = await storage.accept(after_seconds=60)
        begun = await storage.accept()
        await storage.leases.release(await storage.begun(begun))
        await storage.clock.advance(60)
        assert await storage.leases.list_claimable(10) == [begun.run_id]
        assert await storage.leases.claim(delayed.run_id, WorkerId("w-1"), TERM) is None
        await storage.leases.settle(await storage.begun(begun), DONE)
        await storage.held(delayed)

    async def test_claim_succeeds_only_for_the_head_of_a_thread(self, storage: RunStorage) -> None:
        first, second = await storage.accept(), await storage.accept()
        elsewhere = await storage.accept(ThreadId("t-2"))
        assert await storage.leases.claim(second.run_id, WorkerId("w-1"), TERM) is None
        lease = await storage.held(first)
        assert await storage.leases.claim(second.run_id, WorkerId("w-1"), TERM) is None
        await storage.held(elsewhere)
        await storage.leases.settle(lease, DONE)
        await storage.held(second)

    async def test_claim_of_a_later_run_succeeds_before_a_run_that_is_not_due(self, storage: RunStorage) -> None:
        delayed = await storage.accept(after_seconds=60)
        later = await storage.accept()
        lease = await storage.held(later)
        await storage.clock.advance(61)
        assert await storage.leases.claim(delayed.run_id, WorkerId("w-1"), TERM) is None
        await storage.leases.settle(lease, DONE)
        await storage.held(delayed)

    async def test_claim_among_due_runs_requires_the_lowest_number(self, storage: RunStorage) -> None:
        delayed = await storage.accept(after_seconds=60)
        later = await storage.accept()
        await storage.clock.advance(61)
        assert await storage.leases.claim(later.run_id, WorkerId("w-1"), TERM) is None
        await storage.held(delayed)

    async def test_claim_increments_the_attempt(self, storage: RunStorage) -> None:
        run = await storage.accept()
        attempts = []
        for _ in range(3):
            lease = await storage.held(run)
            attempts.append(lease.attempt)
            await storage.leases.release(lease)
        assert attempts == [1, 2, 3]

    async def test_renew_extends_the_lease_by_a_term_from_now(self, storage: RunStorage) -> None:
        lease = await storage.held(await storage.accept())
        await storage.clock.advance(20)
        renewed = await storage.leases.renew(lease, TERM)
        assert renewed.deadline == storage.clock.now() + TERM
        assert (renewed.attempt, renewed.worker, renewed.run.spec) == (lease.attempt, lease.worker, lease.run.spec)
        await storage.clock.advance(29)
        assert await storage.leases.list_expired() == []
        await storage.clock.advance(1)
        assert await storage.leases.list_expired() == [lease.run_id]

    async def test_renew_returns_the_stop_request(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        assert (await storage.leases.renew(lease, TERM)).run.stop_requested is None
        await storage.leases.request_stop(lease.run_id, StopReason.BY_USER)
        renewed = await storage.leases.renew(lease, TERM)
        assert renewed.run.stop_requested is StopReason.BY_USER
        assert renewed.run == await storage.stands(lease.run)

    async def test_renew_of_an_expired_lease_succeeds_before_its_recovery(self, storage: RunStorage) -> None:
        lease = await storage.held(await storage.accept())
        await storage.clock.advance(2 * TERM)
        await storage.leases.renew(lease, TERM)
        assert await storage.leases.list_expired() == []

    async def test_begin_records_start_and_base_checkpoint_once(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run, base="c-1")
        started = storage.clock.now()
        assert lease.run == await storage.stands(run)
        assert (lease.run.status, lease.run.started_at) == (RunStatus.RUNNING, started)
        assert lease.run.base_checkpoint_id == "c-1"
        await storage.leases.release(lease)
        await storage.clock.advance(5)
        again = await storage.begun(run, base="c-2")
        assert (again.run.started_at, again.run.base_checkpoint_id) == (started, "c-1")

    async def test_begin_keeps_an_absent_base_checkpoint(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.leases.release(await storage.begun(run, base=None))
        assert (await storage.begun(run, base="c-2")).run.base_checkpoint_id is None

    async def test_release_makes_the_run_claimable_at_once(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        rings = storage.bell.rings
        await storage.leases.release(lease)
        assert storage.bell.rings > rings
        released = await storage.stands(run)
        assert (released.status, released.lost_attempts) == (RunStatus.PENDING, 0)
        assert await storage.leases.list_claimable(10) == [run.run_id]
        assert (await storage.thread()).status == "busy"
        await storage.held(run, "w-2")

    @pytest.mark.parametrize("how", ["released", "recovered", "succeeded"])
    async def test_calls_of_a_late_worker_raise_lease_lost(self, storage: RunStorage, how: str) -> None:
        run = await storage.accept()
        late = await storage.begun(run, "w-1")
        if how == "released":
            await storage.leases.release(late)
        else:
            await storage.clock.advance(TERM)
            assert await storage.leases.recover(run.run_id, 10) is not None
        if how == "succeeded":
            await storage.begun(run, "w-1")
        before = await storage.stands(run)
        with pytest.raises(LeaseLost):
            await storage.leases.renew(late, TERM)
        with pytest.raises(LeaseLost):
            await storage.leases.begin(late, "c-9")
        with pytest.raises(LeaseLost):
            await storage.leases.settle(late, DONE)
        with pytest.raises(LeaseLost):
            await storage.leases.release(late)
        assert await storage.stands(run) == before

    async def test_waiting_returns_claimable_runs_oldest_due_time_first(self, storage: RunStorage) -> None:
        third = await storage.accept(ThreadId("t-3"), after_seconds=30)
        first = await storage.accept(ThreadId("t-1"))
        await storage.accept(ThreadId("t-1"))
        await storage.clock.advance(10)
        second = await storage.accept(ThreadId("t-2"))
        held = await storage.accept(ThreadId("t-4"))
        await storage.held(held)
        await storage.accept(ThreadId("t-4"))
        await storage.accept(ThreadId("t-5"), after_seconds=3600)
        await storage.clock.advance(20)
        assert await storage.leases.list_claimable(10) == [first.run_id, second.run_id, third.run_id]
        assert await storage.leases.list_claimable(2) == [first.run_id, second.run_id]

    async def test_next_due_returns_the_earliest_delayed_run(self, storage: RunStorage) -> None:
        assert await storage.leases.next_due() is None
        await storage.accept(ThreadId("t-1"))
        assert await storage.leases.next_due() is None
        await storage.accept(ThreadId("t-2"), after_seconds=60)
        sooner = await storage.accept(ThreadId("t-3"), after_seconds=20)
        assert await storage.leases.next_due() == sooner.due_at == storage.clock.now() + timedelta(seconds=20)
        await storage.clock.advance(60)
        assert await storage.leases.next_due() is None
