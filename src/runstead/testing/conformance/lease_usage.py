"""The part of the RunLeaseStore suite about usage, which a RunUsageStore reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from runstead.runtime.actor_context import ActorContext, acting, thread_access
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.store import ThreadUsage, UsageGroup, UsageQuery
from runstead.runtime.runs.types import ModelUsage, Outcome, RunCompletionData, RunStatus, ThreadId

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, TERM, RunStorage

ONE: Final = ModelUsage("m", "p", "lead_agent", 1, 10, 2, 12, 3, 4, 1)
TWO: Final = ONE.plus(ONE)
OTHER: Final = ModelUsage("n", None, "subagent", 1, 5, 5, 10)


class LeaseUsage:
    async def used(self, storage: RunStorage, thread_id: str = "t-1") -> ThreadUsage:
        with acting(storage.actor):
            return await storage.usage.of_thread(ThreadId(thread_id))

    async def test_record_usage_is_visible_while_the_run_runs(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        completion = RunCompletionData(last_ai_message="hello").plus([ONE])
        await storage.leases.record_usage(lease, completion, [ONE])
        assert (await storage.stands(run)).completion == completion
        assert await self.used(storage) == ThreadUsage(1, (ONE,))

    async def test_record_usage_replaces_what_the_attempt_wrote_before(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        for usage in ([ONE], [TWO], [TWO, OTHER], [TWO, OTHER]):
            await storage.leases.record_usage(lease, RunCompletionData(), usage)
        assert await self.used(storage) == ThreadUsage(1, (TWO, OTHER))

    async def test_usage_adds_up_over_attempts(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.record_usage(lease, RunCompletionData().plus([ONE]), [ONE])
        await storage.leases.release(lease)
        lease = await storage.begun(run, "w-2")
        assert lease.run.completion == RunCompletionData().plus([ONE])
        await storage.leases.settle(lease, Outcome(RunStatus.SUCCESS, usage=(ONE, OTHER)))
        assert await self.used(storage) == ThreadUsage(1, (TWO, OTHER))

    async def test_usage_of_a_run_without_a_worker_is_kept(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        await storage.leases.record_usage(lease, RunCompletionData().plus([ONE]), [ONE])
        await storage.clock.advance(TERM)
        recovery = await storage.leases.recover(lease.run_id, 1)
        assert recovery is not None
        assert recovery.record.dead_letter
        assert recovery.record.completion == RunCompletionData().plus([ONE])
        assert await self.used(storage) == ThreadUsage(1, (ONE,))

    async def test_usage_outlives_a_rolled_back_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.settle(lease, Outcome(RunStatus.INTERRUPTED, usage=(ONE,), rolled_back=True))
        assert await storage.run(run.run_id) is None
        assert await self.used(storage) == ThreadUsage(1, (ONE,))

    async def test_record_usage_of_a_stale_attempt_is_refused(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        await storage.clock.advance(TERM)
        await storage.leases.recover(lease.run_id, 10)
        with pytest.raises(LeaseLost):
            await storage.leases.record_usage(lease, RunCompletionData(), [ONE])
        assert await self.used(storage) == ThreadUsage()

    async def test_usage_is_read_by_its_user_and_by_those_with_access_to_the_thread(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        await storage.leases.record_usage(lease, RunCompletionData(), [ONE])
        for other in (BOB, ALICE_ELSEWHERE):
            with acting(other):
                assert await storage.usage.of_thread(ThreadId("t-1")) == ThreadUsage()
                today = storage.clock.now().date()
                assert await storage.usage.grouped(UsageQuery(today, today)) == []
        with acting(BOB), thread_access("t-1"):
            assert await storage.usage.of_thread(ThreadId("t-1")) == ThreadUsage(1, (ONE,))
        with acting(ALICE_ELSEWHERE), thread_access("t-1"):
            assert await storage.usage.of_thread(ThreadId("t-1")) == ThreadUsage()

    async def test_grouped_counts_a_call_for_the_day_on_which_it_ended(self, storage: RunStorage) -> None:
        first = storage.clock.now().date()
        lease = await storage.begun(await storage.accept())
        await storage.leases.record_usage(lease, RunCompletionData(), [ONE])
        await storage.clock.advance(timedelta(days=1))
        await storage.leases.record_usage(lease, RunCompletionData(), [TWO])
        other = await storage.begun(await storage.accept(ThreadId("t-2")))
        await storage.leases.record_usage(other, RunCompletionData(), [OTHER, replace(OTHER, model="o")])
        second = first + timedelta(days=1)
        both = UsageGroup((second.isoformat(),), 2, (ONE, OTHER, replace(OTHER, model="o")))
        with acting(ALICE):
            by_day = UsageQuery(first, second, ("day",))
            assert await storage.usage.grouped(by_day) == [both, UsageGroup((first.isoformat(),), 1, (ONE,))]
            assert await storage.usage.grouped(replace(by_day, since=second)) == [both]
            assert await storage.usage.grouped(replace(by_day, limit=1, offset=1)) == [
                UsageGroup((first.isoformat(),), 1, (ONE,))
            ]

    async def test_grouped_reaches_own_runs_those_of_the_tenant_or_all(self, storage: RunStorage) -> None:
        for number, actor in enumerate((ALICE, BOB, ALICE_ELSEWHERE)):
            storage.actor = actor
            run = await storage.accept(ThreadId(f"t-{number}"), graph_id="g-2" if actor is BOB else "g-1")
            await storage.leases.record_usage(await storage.begun(run), RunCompletionData(), [ONE])
        today = storage.clock.now().date()
        by_user = UsageQuery(today, today, ("tenant", "user", "graph", "model", "caller"))

        def group(actor: ActorContext, graph_id: str) -> UsageGroup:
            return UsageGroup((actor.tenant_id, actor.user_id, graph_id, "m", "lead_agent"), 1, (ONE,))

        own, of_bob, elsewhere = group(ALICE, "g-1"), group(BOB, "g-2"), group(ALICE_ELSEWHERE, "g-1")
        with acting(ALICE):
            assert await storage.usage.grouped(by_user) == [own]
            assert await storage.usage.grouped(replace(by_user, reach="tenant")) == [own, of_bob]
            everything = await storage.usage.grouped(replace(by_user, reach="all"))
            assert sorted(everything, key=lambda one: one.key) == sorted(
                [own, of_bob, elsewhere], key=lambda one: one.key
            )
            assert await storage.usage.grouped(replace(by_user, dimensions=(), reach="all")) == [
                UsageGroup((), 3, (ONE.plus(ONE).plus(ONE),))
            ]
