"""The part of the thread and run store suites about actors with more or less access than to their own rows.

It is included in `ThreadStoreConformance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from runstead.resources.threads import ThreadExists, ThreadFilter, ThreadTtl
from runstead.runtime.actor_context import OWN_ONLY, AccessScope, ActorContext, acting
from runstead.runtime.metadata_filter import AllOf, AnyOf, FieldEquals
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import RunFilter, RunScope, ThreadId, ThreadOutcome, WorkerId

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, DONE, STATELESS, TERM, RunStorage

ACME: Final = AccessScope(threads={"org": "acme"})
WHO_REACH: Final = (
    BOB.with_scope(ACME),
    BOB.with_scope(AccessScope(threads={"members": ["bob"]})),
    BOB.with_scope(AccessScope(threads={"org": "acme", "members": ["bob", "alice"]})),
    BOB.with_scope(AccessScope(threads={})),
    BOB.with_scope(AccessScope(thread_ids=frozenset({"t-1"}))),
    BOB.with_scope(AccessScope(threads={"org": "other"}, thread_ids=frozenset({"t-1"}))),
    ALICE.with_scope(ACME),
    BOB.with_scope(AccessScope(threads=AnyOf(({"org": "other"}, {"members": ["bob"]})))),
    BOB.with_scope(AccessScope(threads=AllOf(({"org": "acme"}, AnyOf(({"team": "blue"}, {"members": ["bob"]})))))),
    BOB.with_scope(AccessScope(threads=FieldEquals("members", ["alice", "bob"]))),
)
WHO_DO_NOT: Final = (
    BOB,
    BOB.with_scope(AccessScope(threads={"org": "other"})),
    BOB.with_scope(AccessScope(threads={"org": ["acme"]})),
    BOB.with_scope(AccessScope(threads={"members": ["eve"]})),
    BOB.with_scope(AccessScope(threads={"org": "acme", "team": "blue"})),
    BOB.with_scope(AccessScope(threads=AnyOf(({"org": "other"}, {"members": ["eve"]})))),
    BOB.with_scope(AccessScope(threads=AllOf(({"org": "acme"}, AnyOf(({"team": "blue"}, {"members": ["eve"]})))))),
    BOB.with_scope(AccessScope(threads=FieldEquals("members", ["alice"]))),
    BOB.with_scope(AccessScope(threads=FieldEquals("team", None))),
    BOB.with_scope(AccessScope(threads=AnyOf(()))),
    BOB.with_scope(AccessScope(assistants={}, crons={}, assistant_ids=frozenset({"t-1"}))),
    BOB.with_scope(AccessScope(thread_ids=frozenset({"t-2"}))),
    # No access extends to another tenant.
    ALICE_ELSEWHERE.with_scope(ACME),
    ALICE_ELSEWHERE.with_scope(AccessScope(threads={})),
    ALICE_ELSEWHERE.with_scope(AccessScope(threads=AllOf(()))),
    ALICE_ELSEWHERE.with_scope(AccessScope(thread_ids=frozenset({"t-1"}))),
    # A filter also limits access to the actor's own threads.
    ALICE.with_scope(AccessScope(threads={"org": "other"})),
)
OF_ACME: Final = {"org": "acme", "members": ["alice", "bob"]}


class ThreadSharing:
    @pytest.mark.parametrize("actor", WHO_REACH, ids=str)
    async def test_thread_within_reach_is_accessible(self, storage: RunStorage, actor: ActorContext) -> None:
        made = await storage.new_thread(ThreadId("t-1"), metadata=OF_ACME)
        run = await storage.accept(ThreadId("t-1"))
        with acting(actor):
            found = await storage.threads.get(ThreadId("t-1"))
            assert found is not None
            assert found.created_at == made.created_at
            assert await storage.threads.search(ThreadFilter(ids=[ThreadId("t-1")])) == [found]
            assert await storage.threads.count(ThreadFilter(metadata={"org": "acme"})) == 1
            assert await storage.threads.create(ThreadId("t-1"), if_exists="do_nothing") == found
            with pytest.raises(ThreadExists):
                await storage.threads.create(ThreadId("t-1"))
            assert await storage.query.get_run(run.run_id) == run
            assert await storage.query.list_runs(RunFilter(ThreadId("t-1"))) == [run]
            assert await storage.query.count_runs(RunFilter()) == 1
            changed = await storage.threads.update(ThreadId("t-1"), metadata={"seen": True}, ttl=ThreadTtl(5))
            assert changed is not None
            assert changed.metadata["seen"] is True
            assert await storage.threads.get_ttl(ThreadId("t-1")) == ThreadTtl(5)
            await storage.threads.set_state(ThreadId("t-1"), ThreadOutcome("interrupted", values=b"1"))
            await storage.threads.set_title(ThreadId("t-1"), "Ours")
            named = await storage.threads.get(ThreadId("t-1"))
            assert named is not None
            assert (named.metadata["title"], named.values) == ("Ours", b"1")
            assert await storage.delete.delete_run(run.run_id)
            assert await storage.threads.delete(ThreadId("t-1"))
        assert not await storage.has_thread(ThreadId("t-1"))

    async def test_access_to_several_threads_ends_at_them(self, storage: RunStorage) -> None:
        # Not a parameter of the tests above: the order of a set in a test's name differs between processes.
        for thread_id in ("t-1", "t-2", "t-3"):
            await storage.new_thread(ThreadId(thread_id))
        runs = [await storage.accept(ThreadId(thread_id)) for thread_id in ("t-1", "t-2", "t-3")]
        with acting(BOB.with_scope(AccessScope(thread_ids=frozenset({"t-1", "t-2"})))):
            assert [await storage.query.get_run(run.run_id) for run in runs] == [*runs[:2], None]
            threads = [await storage.threads.get(run.thread_id) for run in runs]
            assert [thread is not None for thread in threads] == [True, True, False]

    @pytest.mark.parametrize("actor", WHO_DO_NOT, ids=str)
    async def test_thread_out_of_reach_looks_absent(self, storage: RunStorage, actor: ActorContext) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata=OF_ACME)
        run = await storage.accept(ThreadId("t-1"))
        before = await storage.thread(ThreadId("t-1"))
        with acting(actor):
            assert await storage.threads.get(ThreadId("t-1")) is None
            assert await storage.threads.get_ttl(ThreadId("t-1")) is None
            assert await storage.threads.update(ThreadId("t-1"), metadata={"b": 2}) is None
            assert not await storage.threads.delete(ThreadId("t-1"))
            assert await storage.threads.search(ThreadFilter()) == []
            assert await storage.threads.count(ThreadFilter(ids=[ThreadId("t-1")])) == 0
            await storage.threads.set_state(ThreadId("t-1"), ThreadOutcome("error", values=b"1"))
            await storage.threads.set_title(ThreadId("t-1"), "theirs")
            with pytest.raises(ThreadExists):
                await storage.threads.create(ThreadId("t-1"), if_exists="do_nothing")
            assert await storage.query.get_run(run.run_id) is None
            assert await storage.query.list_runs(RunFilter(thread_id=ThreadId("t-1"))) == []
            assert await storage.query.count_runs(RunFilter()) == 0
            assert not await storage.delete.delete_run(run.run_id)
        storage.actor = actor
        with pytest.raises(ThreadNotFound):
            await storage.accept(ThreadId("t-1"))
        storage.actor = ALICE
        assert await storage.thread(ThreadId("t-1")) == before
        assert await storage.stands(run) == run

    async def test_create_within_a_wide_reach_is_owned_by_its_creator(self, storage: RunStorage) -> None:
        """Thread and run belong to their creator, even one with wide access, and that access is not stored."""
        await storage.new_thread(ThreadId("t-1"), metadata=OF_ACME)
        storage.actor = BOB.with_scope(ACME)
        run = await storage.accept(ThreadId("t-1"), scope=RunScope())
        await storage.new_thread(ThreadId("t-2"))
        assert (run.actor, run.actor.access_scope) == (BOB, OWN_ONLY)
        storage.actor = BOB
        assert await storage.run(run.run_id) == run
        assert not await storage.has_thread(ThreadId("t-1"))
        assert await storage.has_thread(ThreadId("t-2"))
        storage.actor = ALICE
        assert await storage.run(run.run_id) is None
        assert not await storage.has_thread(ThreadId("t-2"))

    async def test_runs_of_several_users_execute_in_turn_on_one_thread(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata=OF_ACME)
        hers = await storage.accept(ThreadId("t-1"))
        storage.actor = BOB.with_scope(ACME)
        his = await storage.accept(ThreadId("t-1"))
        assert [run.run_id for run in await _runs(storage)] == [his.run_id, hers.run_id]
        assert await storage.leases.claim(his.run_id, WorkerId("w-2"), TERM) is None
        assert (await storage.leases.settle(await storage.begun(hers), DONE)).record.status == "success"
        assert (await storage.leases.settle(await storage.begun(his), DONE)).record.actor == BOB

    async def test_run_without_its_thread_is_matched_by_its_own_metadata(self, storage: RunStorage) -> None:
        ours, other = [
            await storage.ended(await storage.accept(None, scope=STATELESS, metadata={"org": org}))
            for org in ("acme", "other")
        ]
        storage.actor = BOB.with_scope(ACME)
        assert await storage.run(ours.run_id) == ours
        assert await storage.run(other.run_id) is None
        assert [run.run_id for run in await _runs(storage)] == [ours.run_id]

    async def test_run_on_a_thread_is_matched_by_the_threads_metadata(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"org": "other"})
        run = await storage.accept(ThreadId("t-1"), metadata={"org": "acme"})
        storage.actor = BOB.with_scope(ACME)
        assert await storage.run(run.run_id) is None

    async def test_update_may_remove_access_of_its_caller(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata=OF_ACME)
        with acting(BOB.with_scope(ACME)):
            changed = await storage.threads.update(ThreadId("t-1"), metadata={"org": "other"})
            assert changed is not None
            assert changed.metadata["org"] == "other"
            assert await storage.threads.get(ThreadId("t-1")) is None

    async def test_create_returns_a_thread_that_the_filter_does_not_match(self, storage: RunStorage) -> None:
        with acting(BOB.with_scope(ACME)):
            assert (await storage.threads.create(ThreadId("t-1"), metadata={"org": "none"})).thread_id == "t-1"
            assert await storage.threads.get(ThreadId("t-1")) is None


async def _runs(storage: RunStorage, **where: Any) -> Sequence[Any]:
    with acting(storage.actor):
        return await storage.query.list_runs(RunFilter(**where), limit=100)
