"""The conformance suite of the DeliveryStore port, including the deliveries that the ends of runs write.

Subclass it and provide ``storage`` (the run stores) and ``deliveries``, over the same database and clock.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pytest

from runstead.resources.webhooks import DeliveryAttempt, DeliveryFilter, DeliveryRecord, DeliveryStore, DueDelivery
from runstead.runtime.actor_context import OWN_ONLY, AccessScope, ActorContext, ActorRequired, acting
from runstead.runtime.runs.types import (
    Outcome,
    RunFailure,
    RunId,
    RunRecord,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadOutcome,
)

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, CREATE, STATELESS, RunStorage

URL: Final = "https://example.org/hook"
TERM: Final = timedelta(seconds=60)
SUCCESS: Final = Outcome(RunStatus.SUCCESS, ThreadOutcome(values=b'{"answer":42}'), output=b'{"answer":0}')


class DeliveryStoreConformance:
    """The suite of DeliveryStore. Subclass it and provide ``storage`` and ``deliveries``."""

    async def test_settle_writes_the_delivery_with_the_end_of_the_run(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        run = await storage.accept(webhook=URL, metadata={"a": 1})
        lease = await storage.begun(run)
        assert await found(deliveries) == []
        await storage.leases.settle(lease, SUCCESS)
        (owed,) = await found(deliveries)
        assert (owed.run_id, owed.thread_id, owed.url, owed.status) == (run.run_id, "t-1", URL, "pending")
        assert (owed.attempts, owed.created_at, owed.next_attempt_at) == (0, storage.clock.now(), storage.clock.now())
        (due,) = await deliveries.claim(10, TERM)
        payload = json.loads(due.body)
        assert (payload["run_id"], payload["status"], payload["values"]) == (run.run_id, "success", {"answer": 0})
        assert (payload["error"], payload["metadata"]["a"]) == (None, 1)
        assert due.actor == ALICE

    async def test_settle_twice_writes_one_delivery(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        lease = await storage.begun(await storage.accept(webhook=URL))
        await storage.leases.settle(lease, SUCCESS)
        await storage.leases.settle(lease, SUCCESS)
        assert len(await found(deliveries)) == 1

    async def test_settle_without_a_webhook_writes_no_delivery(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        await storage.ended(await storage.accept(), SUCCESS)
        assert await deliveries.claim(10, TERM) == []
        assert await deliveries.next_due() is None

    @pytest.mark.parametrize(
        ("outcome", "status"),
        [
            (Outcome(RunStatus.ERROR, failure=RunFailure("ValueError", "boom")), "error"),
            (Outcome(RunStatus.TIMEOUT), "timeout"),
            (Outcome(RunStatus.INTERRUPTED), "interrupted"),
            (Outcome(RunStatus.INTERRUPTED, rolled_back=True), "interrupted"),
        ],
        ids=["error", "timeout", "interrupted", "rolled back"],
    )
    async def test_every_end_of_a_run_writes_a_delivery(
        self, storage: RunStorage, deliveries: DeliveryStore, outcome: Outcome, status: str
    ) -> None:
        await storage.ended(await storage.accept(webhook=URL), outcome)
        (due,) = await deliveries.claim(10, TERM)
        payload = json.loads(due.body)
        assert payload["status"] == status
        assert payload["error"] == (outcome.failure.to_json() if outcome.failure else None)

    @pytest.mark.parametrize("reason", [StopReason.BY_USER, StopReason.BY_ROLLBACK])
    async def test_stop_of_a_run_that_never_began_writes_a_delivery(
        self, storage: RunStorage, deliveries: DeliveryStore, reason: StopReason
    ) -> None:
        run = await storage.accept(webhook=URL)
        await storage.leases.request_stop(run.run_id, reason)
        (due,) = await deliveries.claim(10, TERM)
        assert (json.loads(due.body)["status"], json.loads(due.body)["cancel_reason"]) == ("interrupted", reason.value)

    async def test_run_replaced_by_another_one_writes_a_delivery(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        first = await storage.accept(webhook=URL)
        await storage.accept(multitask_strategy="interrupt")
        assert [due.url for due in await deliveries.claim(10, TERM)] == [URL]
        assert [owed.run_id for owed in await found(deliveries)] == [first.run_id]

    async def test_dead_letter_writes_a_delivery(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        await storage.lost(await storage.accept(webhook=URL), max_attempts=1)
        (due,) = await deliveries.claim(10, TERM)
        assert json.loads(due.body)["error"]["error"] == "AttemptsExhausted"

    async def test_lost_attempt_writes_no_delivery(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        await storage.lost(await storage.accept(webhook=URL))
        assert await found(deliveries) == []

    async def test_delivery_outlives_a_temporary_thread(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        run = await storage.accept(None, scope=STATELESS, webhook=URL)
        await storage.ended(run, SUCCESS)
        assert not await storage.has_thread(run.thread_id)
        assert [json.loads(due.body)["values"] for due in await deliveries.claim(10, TERM)] == [{"answer": 0}]

    async def test_deleting_a_thread_deletes_ended_deliveries_but_not_pending_ones(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        await owed_by(storage)
        await settled(storage, deliveries, status_code=200)
        await owed_by(storage)
        with acting(ALICE):
            await storage.threads.delete(ThreadId("t-1"))
        assert [one.status for one in await found(deliveries)] == ["pending"]

    async def test_claimed_delivery_is_not_claimable_until_the_term_has_passed(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        for _ in range(5):
            await owed_by(storage)
        many = await asyncio.gather(*(deliveries.claim(2, TERM) for _ in range(4)))
        ids = [due.delivery_id for one in many for due in one]
        assert len(ids) == len(set(ids)) == 5
        assert await deliveries.claim(10, TERM) == []
        assert await deliveries.next_due() == storage.clock.now() + TERM
        await storage.clock.advance(TERM)
        assert sorted(due.delivery_id for due in await deliveries.claim(10, TERM)) == sorted(ids)

    async def test_settle_by_a_late_sender_is_refused(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        await owed_by(storage)
        (late,) = await deliveries.claim(1, TERM)
        await storage.clock.advance(TERM)
        (now,) = await deliveries.claim(1, TERM)
        assert not await deliveries.settle(late, attempt_of(storage, late, error="too late"), None)
        assert await deliveries.settle(now, attempt_of(storage, now, status_code=200), None)
        (one,) = await found(deliveries)
        assert (one.status, one.attempts) == ("delivered", 1)
        assert not await deliveries.settle(now, attempt_of(storage, now, status_code=200), None)

    async def test_failed_attempt_is_claimable_again_at_its_time(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        await owed_by(storage)
        again_at = storage.clock.now() + timedelta(seconds=30)
        await settled(storage, deliveries, status_code=503, again_at=again_at)
        assert await deliveries.claim(1, TERM) == []
        assert await deliveries.next_due() == again_at
        await storage.clock.advance(30)
        (due,) = await deliveries.claim(1, TERM)
        assert due.number == 2

    @pytest.mark.parametrize(
        ("status_code", "status"), [(200, "delivered"), (204, "delivered"), (404, "failed"), (None, "failed")]
    )
    async def test_settle_without_a_next_attempt_ends_the_delivery(
        self, storage: RunStorage, deliveries: DeliveryStore, status_code: int | None, status: str
    ) -> None:
        await owed_by(storage)
        await settled(storage, deliveries, status_code=status_code)
        (one,) = await found(deliveries)
        assert (one.status, one.ended_at, one.next_attempt_at) == (status, storage.clock.now(), None)
        assert await deliveries.next_due() is None

    async def test_attempts_returns_every_attempt(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        await owed_by(storage)
        first = await settled(storage, deliveries, error="no answer", again_at=storage.clock.now())
        second = await settled(storage, deliveries, status_code=200)
        with acting(ALICE):
            assert await deliveries.attempts(first.delivery_id) == [
                DeliveryAttempt(1, storage.clock.now(), storage.clock.now(), None, "no answer"),
                DeliveryAttempt(2, storage.clock.now(), storage.clock.now(), 200, None),
            ]
        assert second.number == 2

    async def test_redeliver_keeps_the_delivery_id(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        await owed_by(storage)
        before = await settled(storage, deliveries, status_code=200)
        with acting(ALICE):
            again = await deliveries.redeliver(before.delivery_id)
        assert again is not None
        assert (again.status, again.ended_at) == ("pending", None)
        (due,) = await deliveries.claim(1, TERM)
        assert (due.delivery_id, due.body, due.number) == (before.delivery_id, before.body, 2)

    async def test_foreign_delivery_looks_absent(self, storage: RunStorage, deliveries: DeliveryStore) -> None:
        await owed_by(storage)
        (one,) = await found(deliveries)
        for actor in (BOB, ALICE_ELSEWHERE):
            with acting(actor):
                assert await deliveries.get(one.delivery_id) is None
                assert await deliveries.attempts(one.delivery_id) == []
                assert await deliveries.redeliver(one.delivery_id) is None
                assert await deliveries.search(DeliveryFilter()) == []
                assert await deliveries.count(DeliveryFilter()) == 0

    async def test_delivery_of_a_shared_thread_is_accessible_within_reach(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"org": "acme"})
        await owed_by(storage)
        (one,) = await found(deliveries)
        acme = AccessScope(threads={"org": "acme"})
        for actor in (
            ALICE_ELSEWHERE.with_scope(acme),
            BOB.with_scope(AccessScope(threads={"org": "other"})),
            BOB.with_scope(OWN_ONLY),
        ):
            assert await found(deliveries, actor) == []
            with acting(actor):
                assert await deliveries.get(one.delivery_id) is None
                assert await deliveries.redeliver(one.delivery_id) is None
        await settled(storage, deliveries, status_code=200)
        assert [each.delivery_id for each in await found(deliveries, BOB.with_scope(acme))] == [one.delivery_id]
        with acting(BOB.with_scope(acme)):
            assert await deliveries.count(DeliveryFilter()) == 1
            assert len(await deliveries.attempts(one.delivery_id)) == 1
            again = await deliveries.redeliver(one.delivery_id)
        assert again is not None
        assert again.status == "pending"

    async def test_calls_for_users_require_an_actor(self, deliveries: DeliveryStore) -> None:
        for look in (
            lambda: deliveries.get("d"),
            lambda: deliveries.attempts("d"),
            lambda: deliveries.redeliver("d"),
            lambda: deliveries.search(DeliveryFilter()),
            lambda: deliveries.count(DeliveryFilter()),
        ):
            with pytest.raises(ActorRequired):
                await look()

    async def test_get_returns_none_for_unknown_ids(self, deliveries: DeliveryStore) -> None:
        with acting(ALICE):
            for delivery_id in ("d", "\ud800", "\0"):
                assert await deliveries.get(delivery_id) is None
                assert await deliveries.redeliver(delivery_id) is None
            assert await deliveries.search(DeliveryFilter(run_id=RunId("\ud800"))) == []

    async def test_search_returns_newest_first_and_combines_filters_with_and(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        runs: list[RunRecord] = []
        for name in ("x", "y", "y"):
            runs.append(await owed_by(storage, thread_id=f"t-{name}", metadata={"name": name}))
            await storage.clock.advance(1)
        newest_first = [run.run_id for run in reversed(runs)]
        assert [one.run_id for one in await found(deliveries)] == newest_first
        assert [one.run_id for one in await found(deliveries, thread_id="t-y")] == newest_first[:2]
        assert [one.run_id for one in await found(deliveries, metadata={"name": "x"})] == newest_first[2:]
        assert [one.run_id for one in await found(deliveries, thread_id="t-x", run_id=runs[1].run_id)] == []
        assert [one.run_id for one in await found(deliveries, status="failed")] == []
        with acting(ALICE):
            assert await deliveries.count(DeliveryFilter(thread_id=ThreadId("t-y"))) == 2
            (middle,) = await deliveries.search(DeliveryFilter(), limit=1, offset=1)
        assert middle.run_id == runs[1].run_id

    async def test_abandon_all_makes_claimed_deliveries_claimable(
        self, storage: RunStorage, deliveries: DeliveryStore
    ) -> None:
        await owed_by(storage)
        await deliveries.claim(1, TERM)
        assert await deliveries.abandon_all() == 1
        assert len(await deliveries.claim(1, TERM)) == 1


async def owed_by(storage: RunStorage, thread_id: str = "t-1", **fields: object) -> RunRecord:
    """Return a run that has ended and has a pending delivery."""
    return await storage.ended(await storage.accept(ThreadId(thread_id), scope=CREATE, webhook=URL, **fields), SUCCESS)


async def found(deliveries: DeliveryStore, actor: ActorContext = ALICE, **where: Any) -> Sequence[DeliveryRecord]:
    with acting(actor):
        return await deliveries.search(DeliveryFilter(**where), limit=100)


async def settled(
    storage: RunStorage,
    deliveries: DeliveryStore,
    *,
    status_code: int | None = None,
    error: str | None = None,
    again_at: Any = None,
) -> DueDelivery:
    """Claim the due delivery, and record the result of an attempt."""
    (due,) = await deliveries.claim(1, TERM)
    attempt = attempt_of(storage, due, status_code=status_code, error=error)
    assert await deliveries.settle(due, attempt, again_at)
    return due


def attempt_of(
    storage: RunStorage, due: DueDelivery, status_code: int | None = None, error: str | None = None
) -> DeliveryAttempt:
    now = storage.clock.now()
    return DeliveryAttempt(due.number, now, now, status_code, error)
