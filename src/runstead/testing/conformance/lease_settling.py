"""The part of the RunLeaseStore suite about the ends of runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runstead.runtime.runs.exceptions import LeaseLost, RollbackRequested
from runstead.runtime.runs.store import Settled
from runstead.runtime.runs.types import (
    Outcome,
    RunCompletionData,
    RunFailure,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadOutcome,
)

from .run_storage import DONE, STATELESS, TERM, RunStorage

UNDONE = Outcome(RunStatus.INTERRUPTED, rolled_back=True)


class LeaseSettling:
    async def test_settle_writes_all_fields_of_the_outcome(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.clock.advance(5)
        completion = RunCompletionData(total_tokens=7, last_ai_message="bye \ud83d", message_count=2)
        failure = RunFailure("ValueError", "no \0 good \ud800")
        outcome = Outcome(
            RunStatus.ERROR,
            ThreadOutcome("error", values=b'{"x":1}', error=failure),
            failure=failure,
            completion=completion,
            final_checkpoint_id="c-9",
        )
        settled = await storage.leases.settle(lease, outcome)
        now = storage.clock.now()
        ended = settled.record
        assert ended == await storage.stands(run)
        assert (ended.status, ended.ended_at, ended.updated_at) == (RunStatus.ERROR, now, now)
        assert (ended.failure, ended.completion, ended.final_checkpoint_id) == (failure, completion, "c-9")
        assert (ended.attempt, ended.dead_letter) == (1, False)

    async def test_settle_removes_claims_that_are_not_kept(self, storage: RunStorage) -> None:
        kept = {"identity": "alice", "display_name": "Alice", "is_authenticated": True, "permissions": ["p"]}
        storage.actor = replace(storage.actor, claims={**kept, "token": "secret", "org": "acme"})
        settled = await storage.accept()
        assert (await storage.stands(settled)).actor.claims == storage.actor.claims
        lease = await storage.begun(settled)
        assert lease.run.actor.claims == storage.actor.claims
        assert (await storage.leases.settle(lease, DONE)).record == await storage.stands(settled)
        assert (await storage.stands(settled)).actor == replace(storage.actor, claims=kept)

    async def test_create_does_not_store_unstored_claims(self, storage: RunStorage) -> None:
        claims = {"identity": "alice", "token": "secret", "org": "acme"}
        storage.actor = replace(storage.actor, claims=claims, unstored=frozenset({"token"}))
        lease = await storage.held(await storage.accept())
        assert lease.run.actor.claims == {"identity": "alice", "org": "acme"}

    @pytest.mark.parametrize("status", ["idle", "interrupted", "error"])
    async def test_settle_writes_the_outcome_to_the_thread(self, storage: RunStorage, status: str) -> None:
        run = await storage.accept()
        failure = RunFailure("E", "m")
        after = ThreadOutcome(status, b'{"messages":[]}', b'{"task":[{"value":1}]}', failure)  # type: ignore[arg-type]
        settled = await storage.leases.settle(await storage.begun(run), Outcome(RunStatus.SUCCESS, after))
        thread = await storage.thread()
        assert settled.thread_status == thread.status == status
        assert (thread.values, thread.interrupts) == (b'{"messages":[]}', b'{"task":[{"value":1}]}')
        assert thread.error == {"error": "E", "message": "m"}
        assert thread.state_updated_at == thread.updated_at == storage.clock.now()

    async def test_settle_without_values_keeps_the_stored_values(self, storage: RunStorage) -> None:
        await storage.ended(await storage.accept(), Outcome(RunStatus.SUCCESS, ThreadOutcome(values=b"[1]")))
        stored = (await storage.thread()).state_updated_at
        await storage.clock.advance(5)
        failed = Outcome(RunStatus.ERROR, ThreadOutcome("error", error=RunFailure("E", "m"), interrupts=b'{"a":[]}'))
        await storage.ended(await storage.accept(), failed)
        await storage.ended(await storage.accept(), DONE)
        thread = await storage.thread()
        assert (thread.values, thread.state_updated_at) == (b"[1]", stored)
        assert (thread.interrupts, thread.error, thread.status) == (b"{}", None, "idle")

    async def test_settle_stores_values_byte_for_byte(self, storage: RunStorage) -> None:
        odd = '"\\u0000 grüße"'.encode()
        await storage.ended(await storage.accept(), Outcome(RunStatus.SUCCESS, ThreadOutcome(values=odd)))
        assert (await storage.thread()).values == odd

    async def test_settle_accepts_a_run_that_did_not_begin(self, storage: RunStorage) -> None:
        lease = await storage.held(await storage.accept())
        ended = (await storage.leases.settle(lease, Outcome(RunStatus.INTERRUPTED))).record
        assert (ended.status, ended.started_at) == (RunStatus.INTERRUPTED, None)

    async def test_settle_twice_returns_the_first_result(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        first = await storage.leases.settle(lease, DONE)
        await storage.clock.advance(5)
        second = await storage.leases.settle(lease, Outcome(RunStatus.ERROR, failure=RunFailure("E", "late")))
        assert second == first
        assert await storage.stands(run) == first.record

    async def test_concurrent_settles_return_the_same_result(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        outcomes = [Outcome(RunStatus.SUCCESS), Outcome(RunStatus.ERROR)]
        one, two = await asyncio.gather(*(storage.leases.settle(lease, outcome) for outcome in outcomes))
        assert one == two

    async def test_settle_with_an_expired_lease_succeeds_before_its_recovery(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        await storage.clock.advance(2 * TERM)
        assert (await storage.leases.settle(lease, DONE)).record.status is RunStatus.SUCCESS
        assert await storage.leases.list_expired() == []

    async def test_settle_of_a_dead_letter_by_its_late_worker_raises_lease_lost(self, storage: RunStorage) -> None:
        lease = await storage.begun(await storage.accept())
        await storage.clock.advance(TERM)
        await storage.leases.recover(lease.run_id, 1)
        with pytest.raises(LeaseLost):
            await storage.leases.settle(lease, DONE)

    async def test_settle_of_a_deleted_run_raises_lease_lost(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.release(lease)
        await storage.leases.settle(await storage.held(run), UNDONE)
        with pytest.raises(LeaseLost):
            await storage.leases.settle(lease, DONE)

    async def test_settle_makes_the_next_run_claimable(self, storage: RunStorage) -> None:
        first, second = await storage.accept(), await storage.accept()
        lease = await storage.begun(first)
        assert await storage.leases.list_claimable(10) == []
        rings = storage.bell.rings
        settled = await storage.leases.settle(lease, Outcome(RunStatus.SUCCESS, ThreadOutcome("interrupted")))
        assert storage.bell.rings > rings
        assert settled.thread_status == (await storage.thread()).status == "busy"
        assert await storage.leases.list_claimable(10) == [second.run_id]

    async def test_thread_status_is_the_last_result_after_the_last_waiting_run(self, storage: RunStorage) -> None:
        first, second = await storage.accept(), await storage.accept()
        interrupted = Outcome(RunStatus.SUCCESS, ThreadOutcome("interrupted"))
        await storage.leases.settle(await storage.begun(first), interrupted)
        stopped = await storage.leases.request_stop(second.run_id, StopReason.BY_USER)
        assert stopped is not None
        assert stopped.thread_status == (await storage.thread()).status == "interrupted"

    async def test_begun_run_follows_a_question_of_its_own_thread_only(self, storage: RunStorage) -> None:
        threads = [ThreadId(f"t-{number}") for number in range(1, 4)]
        asked = Outcome(RunStatus.SUCCESS, ThreadOutcome("interrupted"))
        for number, thread_id in enumerate(threads):
            await storage.ended(await storage.accept(thread_id), asked if number == 1 else DONE)
        begun = [await storage.begun(await storage.accept(thread_id)) for thread_id in threads]
        assert [lease.follows_question for lease in begun] == [False, True, False]

    async def test_thread_with_a_delayed_run_is_busy(self, storage: RunStorage) -> None:
        first = await storage.accept()
        delayed = await storage.accept(after_seconds=60)
        settled = await storage.leases.settle(await storage.begun(first), DONE)
        assert settled == Settled(settled.record, "busy")
        assert await storage.leases.list_claimable(10) == []
        stopped = await storage.leases.request_stop(delayed.run_id, StopReason.BY_USER)
        assert stopped is not None
        assert stopped.thread_status == (await storage.thread()).status == "idle"

    async def test_settle_undone_deletes_the_run(self, storage: RunStorage) -> None:
        run, behind = await storage.accept(), await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.request_stop(run.run_id, StopReason.BY_ROLLBACK)
        settled = await storage.leases.settle(lease, UNDONE)
        assert (settled.record.run_id, settled.record.status) == (run.run_id, RunStatus.INTERRUPTED)
        assert await storage.run(run.run_id) is None
        again = await storage.leases.settle(lease, UNDONE)
        assert (again.record.run_id, again.record.status) == (run.run_id, RunStatus.INTERRUPTED)
        assert await storage.leases.list_claimable(10) == [behind.run_id]

    async def test_settle_undone_restores_the_threads_previous_graph(self, storage: RunStorage) -> None:
        await storage.ended(await storage.accept(graph_id="g-before", assistant_id="a-before"))
        lease = await storage.begun(await storage.accept(graph_id="g-other", assistant_id="a-other"))
        assert (await storage.thread()).metadata["graph_id"] == "g-other"
        await storage.leases.request_stop(lease.run_id, StopReason.BY_ROLLBACK)
        await storage.leases.settle(lease, UNDONE)
        metadata = (await storage.thread()).metadata
        assert (metadata["graph_id"], metadata["assistant_id"]) == ("g-before", "a-before")

    async def test_rollback_of_a_waiting_run_restores_the_previous_graph(self, storage: RunStorage) -> None:
        await storage.begun(await storage.accept(graph_id="g-before"))
        waiting = await storage.accept(graph_id="g-other")
        await storage.leases.request_stop(waiting.run_id, StopReason.BY_ROLLBACK)
        assert (await storage.thread()).metadata["graph_id"] == "g-before"

    @pytest.mark.parametrize("reason", [reason for reason in StopReason if reason.rolls_back])
    async def test_settle_of_a_run_to_roll_back_requires_an_undone_outcome(
        self, storage: RunStorage, reason: StopReason
    ) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.request_stop(run.run_id, reason)
        with pytest.raises(RollbackRequested):
            await storage.leases.settle(lease, DONE)
        assert (await storage.stands(run)).status is RunStatus.RUNNING
        await storage.leases.settle(lease, UNDONE)
        assert await storage.run(run.run_id) is None

    async def test_settle_may_succeed_despite_a_stop_without_rollback(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        settled = await storage.leases.settle(lease, DONE)
        assert settled.record.status is RunStatus.SUCCESS
        assert settled.record.stop_requested is StopReason.BY_USER

    async def test_settle_deletes_a_temporary_thread_but_not_its_run(self, storage: RunStorage) -> None:
        run = await storage.accept(None, scope=STATELESS)
        settled = await storage.leases.settle(await storage.begun(run), DONE)
        assert settled.thread_status == "idle"
        assert not await storage.has_thread(run.thread_id)
        assert (await storage.stands(run)).status is RunStatus.SUCCESS

    async def test_stop_before_the_start_deletes_a_temporary_thread(self, storage: RunStorage) -> None:
        run = await storage.accept(None, scope=STATELESS)
        await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        assert not await storage.has_thread(run.thread_id)

    async def test_settle_writes_the_title_to_the_thread(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"mine": 1})
        await storage.ended(await storage.accept(), Outcome(RunStatus.SUCCESS, title="x" * 300))
        metadata = (await storage.thread()).metadata
        assert (metadata["title"], metadata["mine"]) == ("x" * 200, 1)
