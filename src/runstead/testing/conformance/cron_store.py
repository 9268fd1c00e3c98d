"""The conformance suite of the CronStore port, including the creation of runs at due times.

Subclass it and provide ``storage`` (the run stores) and ``crons``, over the same database and clock.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from runstead.resources.crons import CronFilter, CronRecord, CronStore
from runstead.runtime.actor_context import AccessScope, ActorContext, ActorRequired, acting
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.exceptions import CronMoved, ThreadBusy, ThreadNotFound
from runstead.runtime.runs.types import AssistantId, CronId, CronTick, RunFilter, RunRecord, ThreadId

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, STATELESS, RunStorage, a_spec, decide

EVERY_MINUTE: Final = "* * * * *"
MINUTE: Final = timedelta(minutes=1)
CRON: Final = CronId("c-1")


class CronStoreConformance:
    """The suite of CronStore. Subclass it and provide ``storage`` and ``crons``."""

    async def test_create_and_get_return_the_cron_as_written(self, storage: RunStorage, crons: CronStore) -> None:
        await storage.new_thread()
        for cron in (
            a_cron(storage),
            a_cron(storage, "c-2", thread_id="t-1", timezone="Europe/Paris", end_time=storage.clock.now() + MINUTE,
                   metadata={"a": [1]}, payload={"input": {"x": None}}, enabled=False),
            a_cron(storage, "c-3", on_run_completed="keep", next_run_date=None),
        ):  # fmt: skip
            with acting(ALICE):
                assert await crons.create(cron) == cron
                assert await crons.get(cron.cron_id) == cron

    async def test_create_refuses_a_thread_of_another_user(self, storage: RunStorage, crons: CronStore) -> None:
        await storage.new_thread()
        for actor, thread_id in ((ALICE, "t-2"), (BOB, "t-1"), (ALICE_ELSEWHERE, "t-1")):
            with acting(actor), pytest.raises(ThreadNotFound):
                await crons.create(a_cron(storage, "c-1", thread_id=thread_id))

    async def test_deleting_a_thread_deletes_its_crons(self, storage: RunStorage, crons: CronStore) -> None:
        await storage.new_thread()
        await made(crons, a_cron(storage, "c-1", thread_id="t-1"))
        await made(crons, a_cron(storage, "c-2"))
        with acting(ALICE):
            await storage.threads.delete(ThreadId("t-1"))
        assert [cron.cron_id for cron in await found(crons)] == ["c-2"]

    async def test_update_stores_the_latest_credentials_of_the_owner(
        self, storage: RunStorage, crons: CronStore
    ) -> None:
        await made(crons, a_cron(storage))
        shown = dataclasses.replace(ALICE, subject_id="another", scopes=frozenset({"write"}))
        reaching = dataclasses.replace(BOB, access_scope=AccessScope(crons={}))
        for changer, expected in ((shown, shown), (reaching, shown)):
            with acting(changer):
                changed = await crons.update(CRON, lambda cron: dataclasses.replace(cron, metadata={"a": 1}))
            assert changed is not None
            assert changed.actor == expected
            with acting(ALICE):
                assert await crons.get(CRON) == changed

    async def test_concurrent_updates_are_all_applied(self, storage: RunStorage, crons: CronStore) -> None:
        await made(crons, a_cron(storage))

        def name(key: str) -> Any:
            return lambda cron: dataclasses.replace(cron, metadata={**cron.metadata, key: 1})

        with acting(ALICE):
            await asyncio.gather(*(crons.update(CRON, name(f"k{number}")) for number in range(8)))
            changed = await crons.get(CRON)
        assert changed is not None
        assert len(changed.metadata) == 8

    async def test_update_that_raises_changes_nothing(self, storage: RunStorage, crons: CronStore) -> None:
        before = await made(crons, a_cron(storage))

        def refuse(cron: CronRecord) -> CronRecord:
            raise ValueError("no")

        with acting(ALICE):
            with pytest.raises(ValueError, match="no"):
                await crons.update(CRON, refuse)
            assert await crons.get(CRON) == before

    async def test_delete_removes_the_cron_once(self, storage: RunStorage, crons: CronStore) -> None:
        await made(crons, a_cron(storage))
        with acting(ALICE):
            assert await crons.delete(CRON)
            assert not await crons.delete(CRON)
            assert await crons.get(CRON) is None

    async def test_foreign_cron_looks_absent(self, storage: RunStorage, crons: CronStore) -> None:
        before = await made(crons, a_cron(storage))
        for actor in (BOB, ALICE_ELSEWHERE):
            with acting(actor):
                assert await crons.get(CRON) is None
                assert await crons.update(CRON, lambda cron: dataclasses.replace(cron, enabled=False)) is None
                assert not await crons.delete(CRON)
                assert await crons.search(CronFilter()) == []
                assert await crons.count(CronFilter()) == 0
        assert await found(crons) == [before]

    async def test_cron_within_reach_is_accessible_to_other_users(self, storage: RunStorage, crons: CronStore) -> None:
        before = await made(crons, a_cron(storage, "c-1", metadata={"org": "acme"}))
        acme = AccessScope(crons={"org": "acme"})
        for actor in (BOB.with_scope(acme), ALICE.with_scope(acme)):
            with acting(actor):
                assert await crons.get(CRON) == before
                assert await crons.search(CronFilter()) == [before]
                assert await crons.count(CronFilter(metadata={"org": "acme"})) == 1
        for actor in (
            ALICE_ELSEWHERE.with_scope(acme),
            BOB.with_scope(AccessScope(crons={"org": "other"})),
            BOB.with_scope(AccessScope(threads={}, assistants={})),
            ALICE.with_scope(AccessScope(crons={"org": "other"})),
        ):
            with acting(actor):
                assert await crons.get(CRON) is None
                assert await crons.update(CRON, lambda cron: dataclasses.replace(cron, enabled=False)) is None
                assert not await crons.delete(CRON)
                assert await crons.search(CronFilter()) == []
                assert await crons.count(CronFilter()) == 0
        with acting(BOB.with_scope(acme)):
            changed = await crons.update(CRON, lambda cron: dataclasses.replace(cron, enabled=False))
            assert changed is not None
            # Its runs still belong to its owner.
            assert (changed.enabled, changed.actor) == (False, ALICE)
            assert await crons.delete(CRON)

    async def test_create_accepts_a_thread_within_reach(self, storage: RunStorage, crons: CronStore) -> None:
        await storage.new_thread()
        on_it = BOB.with_access_to("t-1")
        cron = await made(crons, a_cron(storage, "c-1", thread_id="t-1", actor=BOB), on_it)
        storage.actor = on_it
        run = await ticked(storage, cron, ThreadId("t-1"))
        assert (run.actor, run.thread_id) == (BOB, "t-1")

    async def test_calls_for_users_require_an_actor(self, storage: RunStorage, crons: CronStore) -> None:
        for use in (
            lambda: crons.create(a_cron(storage)),
            lambda: crons.get(CRON),
            lambda: crons.update(CRON, lambda cron: cron),
            lambda: crons.delete(CRON),
            lambda: crons.search(CronFilter()),
            lambda: crons.count(CronFilter()),
        ):
            with pytest.raises(ActorRequired):
                await use()

    async def test_get_returns_none_for_unknown_ids(self, crons: CronStore) -> None:
        with acting(ALICE):
            for cron_id in map(CronId, ("c-9", "\ud800", "\0")):
                assert await crons.get(cron_id) is None
                assert not await crons.delete(cron_id)
            assert await crons.search(CronFilter(assistant_id=AssistantId("\0"))) == []

    async def test_search_combines_filters_with_and(self, storage: RunStorage, crons: CronStore) -> None:
        await storage.new_thread()
        await made(crons, a_cron(storage, "c-1", thread_id="t-1", metadata={"a": 1, "b": 2}))
        await made(crons, a_cron(storage, "c-2", enabled=False, metadata={"a": 1}))
        await made(crons, a_cron(storage, "c-3", assistant_id="a-2"))
        for where, ids in (
            ({}, ["c-1", "c-2", "c-3"]),
            ({"enabled": True}, ["c-1", "c-3"]),
            ({"enabled": False}, ["c-2"]),
            ({"assistant_id": "a-2"}, ["c-3"]),
            ({"thread_id": "t-1"}, ["c-1"]),
            ({"metadata": {"a": 1}}, ["c-1", "c-2"]),
            ({"metadata": {"a": 1}, "enabled": True}, ["c-1"]),
            ({"thread_id": "t-1", "assistant_id": "a-2"}, []),
        ):
            assert sorted(cron.cron_id for cron in await found(crons, **where)) == ids, where
            with acting(ALICE):
                assert await crons.count(CronFilter(**where)) == len(ids)

    async def test_search_returns_the_requested_order(self, storage: RunStorage, crons: CronStore) -> None:
        now = storage.clock.now()
        for cron_id, end in (("c-1", None), ("c-2", 2), ("c-3", 1)):
            await made(crons, a_cron(storage, cron_id, end_time=None if end is None else now + end * MINUTE))
            await storage.clock.advance(1)
        for order, ids in (
            ({}, ["c-3", "c-2", "c-1"]),
            ({"sort_by": "created_at", "sort_order": "asc"}, ["c-1", "c-2", "c-3"]),
            ({"sort_by": "end_time", "sort_order": "asc"}, ["c-3", "c-2", "c-1"]),
            ({"sort_by": "end_time", "sort_order": "desc"}, ["c-2", "c-3", "c-1"]),
            ({"limit": 1, "offset": 1}, ["c-2"]),
        ):
            with acting(ALICE):
                page: Any = order
                assert [cron.cron_id for cron in await crons.search(CronFilter(), **page)] == ids, order

    async def test_due_returns_due_crons_oldest_first(self, storage: RunStorage, crons: CronStore) -> None:
        now = storage.clock.now()
        await made(crons, a_cron(storage, "late", next_run_date=now - MINUTE))
        await made(crons, a_cron(storage, "now", next_run_date=now))
        await made(crons, a_cron(storage, "soon", next_run_date=now + MINUTE))
        await made(crons, a_cron(storage, "off", next_run_date=now - MINUTE, enabled=False))
        await made(crons, a_cron(storage, "over", next_run_date=None))
        assert [cron.cron_id for cron in await crons.due(10)] == ["late", "now"]
        assert [cron.cron_id for cron in await crons.due(1)] == ["late"]
        assert await crons.next_due() == now - MINUTE

    async def test_tick_creates_a_run_and_advances_the_cron(self, storage: RunStorage, crons: CronStore) -> None:
        cron = await made(crons, a_cron(storage, "c-1", next_run_date=storage.clock.now()))
        run = await ticked(storage, cron)
        (moved,) = await found(crons)
        assert moved.next_run_date == storage.clock.now() + MINUTE
        assert (moved.last_run_id, moved.last_error) == (run.run_id, None)
        stands = await storage.stands(run)
        assert stands.spec.tick == run.spec.tick

    async def test_tick_by_many_at_once_creates_one_run(self, storage: RunStorage, crons: CronStore) -> None:
        cron = await made(crons, a_cron(storage, "c-1", next_run_date=storage.clock.now()))
        tried = await asyncio.gather(*(ticked(storage, cron) for _ in range(6)), return_exceptions=True)
        assert sum(isinstance(one, RunRecord) for one in tried) == 1
        assert sum(isinstance(one, CronMoved) for one in tried) == 5
        assert len(await runs_of(storage)) == 1

    @pytest.mark.parametrize("meanwhile", ["deleted", "switched off", "changed", "of another user"])
    async def test_tick_of_a_changed_cron_creates_no_run(
        self, storage: RunStorage, crons: CronStore, meanwhile: str
    ) -> None:
        cron = await made(crons, a_cron(storage, "c-1", next_run_date=storage.clock.now()))
        later = storage.clock.now() + timedelta(hours=1)
        with acting(ALICE):
            match meanwhile:
                case "deleted":
                    await crons.delete(CRON)
                case "switched off":
                    await crons.update(CRON, lambda one: dataclasses.replace(one, enabled=False))
                case "changed":
                    await crons.update(CRON, lambda one: dataclasses.replace(one, next_run_date=later))
        if meanwhile == "of another user":
            storage.actor = BOB
        with pytest.raises(CronMoved):
            await ticked(storage, cron)
        assert await runs_of(storage) == []
        assert not await storage.has_thread(ThreadId("t-new"))

    async def test_tick_whose_run_is_refused_does_not_advance_the_cron(
        self, storage: RunStorage, crons: CronStore
    ) -> None:
        await storage.accept()
        due = storage.clock.now()
        cron = await made(crons, a_cron(storage, "c-1", thread_id="t-1", next_run_date=due))
        with pytest.raises(ThreadBusy):
            await ticked(storage, cron, thread_id=ThreadId("t-1"), multitask_strategy="reject")
        assert [one.next_run_date for one in await found(crons)] == [due]

    async def test_skip_of_a_due_time_succeeds_once(self, storage: RunStorage, crons: CronStore) -> None:
        now = storage.clock.now()
        await made(crons, a_cron(storage, "c-1", next_run_date=now))
        assert await crons.skip(CRON, now, now + MINUTE, "busy")
        assert not await crons.skip(CRON, now, now + MINUTE, "busy")
        (cron,) = await found(crons)
        assert (cron.next_run_date, cron.last_error, cron.last_run_id) == (now + MINUTE, "busy", None)
        await storage.clock.advance(MINUTE)
        await ticked(storage, cron)
        assert [one.last_error for one in await found(crons)] == [None]


def a_cron(storage: RunStorage, cron_id: str = CRON, **fields: object) -> CronRecord:
    now = storage.clock.now()
    basis: JsonObject = {
        "assistant_id": "a-1",
        "schedule": EVERY_MINUTE,
        "payload": {},
        "actor": ALICE,
        "created_at": now,
        "updated_at": now,
        "next_run_date": now + MINUTE,
    }
    return CronRecord(cron_id=CronId(cron_id), **{**basis, **fields})


async def made(crons: CronStore, cron: CronRecord, actor: ActorContext = ALICE) -> CronRecord:
    with acting(actor):
        return await crons.create(cron)


async def found(crons: CronStore, **where: Any) -> Sequence[CronRecord]:
    with acting(ALICE):
        return await crons.search(CronFilter(**where), limit=100)


async def ticked(
    storage: RunStorage, cron: CronRecord, thread_id: ThreadId | None = None, **fields: object
) -> RunRecord:
    """Create the run for the cron's due time."""
    due: datetime | None = cron.next_run_date
    assert due is not None
    tick = CronTick(cron.cron_id, due.isoformat(), (due + MINUTE).isoformat())
    scope = {} if thread_id else {"scope": STATELESS}
    with acting(storage.actor):
        (created,) = await storage.create.create_runs([a_spec(thread_id, tick=tick, **scope, **fields)], decide)
    return created.record


async def runs_of(storage: RunStorage) -> Sequence[RunRecord]:
    with acting(storage.actor):
        return await storage.query.list_runs(RunFilter(), limit=100, offset=0)
