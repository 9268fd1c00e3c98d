"""The part of the RunLeaseStore suite about lost workers."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runstead.runtime.runs.exceptions import RunNotRetriable, ThreadBusy
from runstead.runtime.runs.store import SUSPECT_LOSSES, UNCOUNTED_STARTS
from runstead.runtime.runs.types import RunId, RunRecord, RunStatus, StopReason, ThreadId

from .run_storage import STATELESS, TERM, RunStorage


class LeaseRecovering:
    async def test_list_expired_returns_held_runs_with_expired_leases(self, storage: RunStorage) -> None:
        first, second = await storage.accept(ThreadId("t-1")), await storage.accept(ThreadId("t-2"))
        await storage.held(first)
        await storage.clock.advance(10)
        await storage.held(second)
        await storage.accept(ThreadId("t-3"))
        assert await storage.leases.list_expired() == []
        await storage.clock.advance(20)
        assert await storage.leases.list_expired() == [first.run_id]
        await storage.clock.advance(10)
        assert await storage.leases.list_expired() == [first.run_id, second.run_id]
        assert await storage.leases.list_expired(limit=1) == [first.run_id]

    async def test_ended_returns_the_given_runs_that_ended_before_a_time(self, storage: RunStorage) -> None:
        early, late, going = [await storage.accept(ThreadId(f"t-{number}")) for number in range(3)]
        early = await storage.ended(early)
        moment = storage.clock.now()
        await storage.clock.advance(1)
        await storage.ended(late)
        await storage.begun(going)
        asked = [early.run_id, late.run_id, going.run_id, RunId("r-none")]
        assert await storage.leases.list_ended_before(asked, moment) == []
        await storage.clock.advance(1)
        assert await storage.leases.list_ended_before(asked, storage.clock.now() - timedelta(seconds=1)) == [early]
        found = await storage.leases.list_ended_before(asked, storage.clock.now())
        assert {record.run_id for record in found} == {early.run_id, late.run_id}
        assert await storage.leases.list_ended_before([], storage.clock.now()) == []

    async def test_recover_makes_an_expired_run_pending(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.begun(run, base="c-1")
        await storage.clock.advance(TERM)
        rings = storage.bell.rings
        recovery = await storage.leases.recover(run.run_id, 3)
        assert recovery is not None
        assert (recovery.result, recovery.record) == ("waiting", await storage.stands(run))
        assert storage.bell.rings > rings
        waiting = recovery.record
        assert (waiting.status, waiting.lost_attempts, waiting.attempt) == (RunStatus.PENDING, 1, 1)
        assert waiting.base_checkpoint_id == "c-1"
        assert await storage.leases.list_claimable(10) == [run.run_id]
        assert (await storage.held(run, "w-2")).attempt == 2

    async def test_recover_returns_none_unless_the_lease_has_expired(self, storage: RunStorage) -> None:
        run = await storage.accept()
        assert await storage.leases.recover(run.run_id, 3) is None
        assert await storage.leases.recover(RunId("r-none"), 3) is None
        lease = await storage.held(run)
        assert await storage.leases.recover(run.run_id, 3) is None
        await storage.clock.advance(TERM)
        await storage.leases.renew(lease, TERM)
        assert await storage.leases.recover(run.run_id, 3) is None
        assert (await storage.stands(run)).lost_attempts == 0

    async def test_recover_by_many_at_once_succeeds_once(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.held(run)
        await storage.clock.advance(TERM)
        recoveries = await asyncio.gather(*(storage.leases.recover(run.run_id, 3) for _ in range(10)))
        assert sum(recovery is not None for recovery in recoveries) == 1
        assert (await storage.stands(run)).lost_attempts == 1

    async def test_recover_after_too_many_lost_attempts_makes_a_dead_letter(self, storage: RunStorage) -> None:
        run, behind = await storage.accept(), await storage.accept()
        await storage.lost(run, max_attempts=2)
        rings = storage.bell.rings
        dead = await storage.lost(run, max_attempts=2)
        assert storage.bell.rings > rings
        assert dead == await storage.stands(run)
        assert (dead.status, dead.dead_letter, dead.lost_attempts) == (RunStatus.ERROR, True, 2)
        assert dead.ended_at == storage.clock.now()
        assert dead.failure is not None
        assert dead.failure.error == "AttemptsExhausted"
        assert await storage.leases.list_claimable(10) == [behind.run_id]

    async def test_recover_counts_no_worker_that_was_lost_while_the_run_waited(self, storage: RunStorage) -> None:
        run = await storage.accept()
        for losses in range(SUSPECT_LOSSES):
            # Before that, a run that ends its worker by being read would never be a dead letter.
            await storage.held(run)
            assert (await self._recovered(storage, run)).lost_attempts == losses + 1
        for _ in range(UNCOUNTED_STARTS):
            await storage.held(run)
            assert (await self._recovered(storage, run)).lost_attempts == SUSPECT_LOSSES
        await storage.held(run)
        assert (await self._recovered(storage, run)).lost_attempts == SUSPECT_LOSSES + 1
        assert (await storage.lost(run)).lost_attempts == SUSPECT_LOSSES + 2

    async def _recovered(self, storage: RunStorage, run: RunRecord) -> RunRecord:
        await storage.clock.advance(TERM)
        recovery = await storage.leases.recover(run.run_id, 10)
        assert recovery is not None
        return recovery.record

    async def test_dead_letter_sets_its_thread_to_error(self, storage: RunStorage) -> None:
        dead = await storage.lost(await storage.accept(), max_attempts=1)
        thread = await storage.thread()
        assert thread.status == "error"
        assert dead.failure is not None
        assert thread.error == dead.failure.to_json()

    async def test_recover_prefers_the_attempt_limit_of_the_spec(self, storage: RunStorage) -> None:
        once = await storage.lost(await storage.accept(ThreadId("t-1"), max_attempts=1), max_attempts=5)
        assert once.dead_letter
        often = await storage.lost(await storage.accept(ThreadId("t-2"), max_attempts=5), max_attempts=1)
        assert often.status is RunStatus.PENDING

    async def test_release_counts_no_lost_attempt(self, storage: RunStorage) -> None:
        run = await storage.accept()
        for _ in range(3):
            await storage.leases.release(await storage.begun(run))
        assert (await storage.lost(run, max_attempts=2)).status is RunStatus.PENDING

    async def test_recover_of_a_run_with_a_stop_request_keeps_it_pending(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.begun(run)
        await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        await storage.clock.advance(TERM)
        recovery = await storage.leases.recover(run.run_id, 1)
        assert recovery is not None
        assert recovery.result == "waiting"
        assert (await storage.held(run)).run.stop_requested is StopReason.BY_USER

    async def test_abandon_all_lets_every_lease_expire(self, storage: RunStorage) -> None:
        runs = [await storage.accept(ThreadId(f"t-{n}")) for n in range(3)]
        await storage.begun(runs[0])
        await storage.held(runs[1])
        assert await storage.leases.abandon_all() == 2
        assert set(await storage.leases.list_expired()) == {runs[0].run_id, runs[1].run_id}
        for run in runs[:2]:
            assert await storage.leases.recover(run.run_id, 3) is not None
        assert await storage.leases.abandon_all() == 0

    async def test_release_all_releases_held_runs_without_counting_lost_attempts(self, storage: RunStorage) -> None:
        begun, claimed, waiting = [await storage.accept(ThreadId(f"t-{n}")) for n in range(3)]
        await storage.begun(begun)
        await storage.held(claimed)
        await storage.leases.request_stop(claimed.run_id, StopReason.BY_USER)
        rings = storage.bell.rings
        assert await storage.leases.release_all() == 2
        assert storage.bell.rings > rings
        assert await storage.leases.list_expired() == []
        assert set(await storage.leases.list_claimable(10)) == {begun.run_id, claimed.run_id, waiting.run_id}
        stands = await storage.stands(begun)
        assert (stands.status, stands.lost_attempts, stands.attempt) == (RunStatus.PENDING, 0, 1)
        again = await storage.held(claimed)
        assert (again.attempt, again.run.stop_requested) == (2, StopReason.BY_USER)
        assert await storage.leases.release_all() == 1

    async def test_retry_makes_a_dead_letter_pending(self, storage: RunStorage) -> None:
        dead = await storage.lost(await storage.accept(), max_attempts=1)
        rings = storage.bell.rings
        again = await storage.leases.retry(dead.run_id)
        assert again is not None
        assert again == await storage.stands(dead)
        assert (again.status, again.lost_attempts, again.dead_letter) == (RunStatus.PENDING, 0, False)
        assert (again.failure, again.ended_at, again.stop_requested) == (None, None, None)
        assert storage.bell.rings > rings
        assert (await storage.thread()).status == "busy"
        assert (await storage.held(dead)).attempt == dead.attempt + 1

    async def test_retry_refuses_runs_that_are_no_dead_letters(self, storage: RunStorage) -> None:
        assert await storage.leases.retry(RunId("r-none")) is None
        run = await storage.accept()
        with pytest.raises(RunNotRetriable):
            await storage.leases.retry(run.run_id)
        await storage.ended(run)
        with pytest.raises(RunNotRetriable):
            await storage.leases.retry(run.run_id)

    async def test_retry_refuses_a_dead_letter_on_a_busy_thread(self, storage: RunStorage) -> None:
        dead = await storage.lost(await storage.accept(), max_attempts=1)
        other = await storage.accept()
        with pytest.raises(ThreadBusy) as busy:
            await storage.leases.retry(dead.run_id)
        assert busy.value.run_ids == (other.run_id,)
        assert (await storage.stands(dead)).dead_letter

    async def test_dead_letter_keeps_its_temporary_thread_for_a_retry(self, storage: RunStorage) -> None:
        dead = await storage.lost(await storage.accept(None, scope=STATELESS), max_attempts=1)
        assert await storage.has_thread(dead.thread_id)
        await storage.leases.retry(dead.run_id)
        await storage.ended(dead)
        assert not await storage.has_thread(dead.thread_id)
