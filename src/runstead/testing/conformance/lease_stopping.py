"""The part of the RunLeaseStore suite about stop requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runstead.runtime.runs.types import RunId, RunStatus, StopReason, ThreadId, WorkerId

from .run_storage import DONE, TERM, RunStorage


class LeaseStopping:
    async def test_request_stop_of_an_unknown_run_returns_none(self, storage: RunStorage) -> None:
        assert await storage.leases.request_stop(RunId("r-none"), StopReason.BY_USER) is None

    async def test_request_stop_before_the_start_removes_claims_not_kept(self, storage: RunStorage) -> None:
        kept = {"identity": "alice", "permissions": ["p"]}
        storage.actor = replace(storage.actor, claims={**kept, "token": "secret"})
        run = await storage.accept()
        await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        assert (await storage.stands(run)).actor == replace(storage.actor, claims=kept)

    @pytest.mark.parametrize("reason", [StopReason.BY_USER, StopReason.BY_DISCONNECT, StopReason.DELETED])
    async def test_request_stop_ends_a_waiting_run_at_once(self, storage: RunStorage, reason: StopReason) -> None:
        run = await storage.accept()
        stopped = await storage.leases.request_stop(run.run_id, reason)
        assert stopped is not None
        assert (stopped.effect, stopped.thread_status) == ("ended", "idle")
        ended = await storage.stands(run)
        assert stopped.record == ended
        assert (ended.status, ended.stop_requested) == (RunStatus.INTERRUPTED, reason)
        assert (ended.ended_at, ended.started_at, ended.attempt) == (storage.clock.now(), None, 0)
        assert (await storage.thread()).status == "idle"
        assert await storage.leases.claim(run.run_id, WorkerId("w-1"), TERM) is None

    async def test_request_stop_with_rollback_deletes_a_waiting_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        stopped = await storage.leases.request_stop(run.run_id, StopReason.BY_ROLLBACK)
        assert stopped is not None
        assert (stopped.effect, stopped.record.status) == ("ended", RunStatus.INTERRUPTED)
        assert await storage.run(run.run_id) is None

    async def test_request_stop_ends_a_delayed_run(self, storage: RunStorage) -> None:
        run = await storage.accept(after_seconds=60)
        stopped = await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        assert stopped is not None
        assert stopped.effect == "ended"
        assert await storage.leases.next_due() is None

    async def test_request_stop_makes_the_next_run_claimable(self, storage: RunStorage) -> None:
        run, behind = await storage.accept(), await storage.accept()
        rings = storage.bell.rings
        stopped = await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        assert stopped is not None
        assert stopped.thread_status == "busy"
        assert storage.bell.rings > rings
        assert await storage.leases.list_claimable(10) == [behind.run_id]

    async def test_request_stop_flags_a_held_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.begun(run)
        stopped = await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        assert stopped is not None
        assert (stopped.effect, stopped.thread_status) == ("flagged", None)
        assert stopped.record == await storage.stands(run)
        assert (stopped.record.status, stopped.record.stop_requested) == (RunStatus.RUNNING, StopReason.BY_USER)

    async def test_request_stop_does_not_change_an_ended_run(self, storage: RunStorage) -> None:
        ended = await storage.ended(await storage.accept())
        stopped = await storage.leases.request_stop(ended.run_id, StopReason.BY_ROLLBACK)
        assert stopped is not None
        assert (stopped.effect, stopped.record) == ("already_ended", ended)
        assert await storage.stands(ended) == ended

    async def test_request_stop_keeps_the_first_reason(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.begun(run)
        for reason in (StopReason.BY_DISCONNECT, StopReason.BY_USER, StopReason.DELETED):
            await storage.leases.request_stop(run.run_id, reason)
        assert (await storage.stands(run)).stop_requested is StopReason.BY_DISCONNECT

    async def test_request_stop_with_rollback_replaces_another_reason(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.begun(run)
        for reason in (StopReason.BY_USER, StopReason.BY_ROLLBACK, StopReason.SUPERSEDED_ROLLBACK, StopReason.BY_USER):
            await storage.leases.request_stop(run.run_id, reason)
        assert (await storage.stands(run)).stop_requested is StopReason.BY_ROLLBACK

    async def test_request_stop_flags_a_waiting_run_that_has_begun(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.leases.release(await storage.begun(run))
        rings = storage.bell.rings
        for reason in (StopReason.BY_USER, StopReason.BY_ROLLBACK):
            stopped = await storage.leases.request_stop(run.run_id, reason)
            assert stopped is not None
            assert stopped.effect == "flagged"
        assert storage.bell.rings >= rings
        lease = await storage.held(run)
        assert lease.run.stop_requested is StopReason.BY_ROLLBACK

    async def test_stop_flag_survives_a_release(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.begun(run)
        await storage.leases.request_stop(run.run_id, StopReason.BY_USER)
        await storage.leases.release(lease)
        assert (await storage.held(run)).run.stop_requested is StopReason.BY_USER

    async def test_concurrent_stop_requests_have_one_effect(self, storage: RunStorage) -> None:
        run = await storage.accept()
        stops = await asyncio.gather(*(storage.leases.request_stop(run.run_id, StopReason.BY_USER) for _ in range(10)))
        effects = sorted(stop.effect for stop in stops if stop is not None)
        assert effects == ["already_ended"] * 9 + ["ended"]

    async def test_concurrent_stop_and_claim_never_both_succeed(self, storage: RunStorage) -> None:
        for n in range(10):
            run = await storage.accept(ThreadId(f"t-{n}"))
            lease, stopped = await asyncio.gather(
                storage.leases.claim(run.run_id, WorkerId("w-1"), TERM),
                storage.leases.request_stop(run.run_id, StopReason.BY_USER),
            )
            assert stopped is not None
            assert (lease is None) == (stopped.effect == "ended")
            if lease is not None:
                await storage.leases.settle(lease, DONE)
