"""What every thread and run store must do for an actor who reaches more than what is their own, or less.

It comes along with `ThreadStoreConformance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from runstead.resources.threads import ThreadExists, ThreadFilter, ThreadTtl
from runstead.runtime.actor_context import OWN, ActorContext, Reach, acting
from runstead.runtime.metadata_filter import AllOf, AnyOf, FieldEquals
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import RunFilter, RunScope, ThreadAfter

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, DONE, STATELESS, TERM, RunStorage

ACME: Final = Reach(threads={"org": "acme"})
WHO_REACH: Final = (
    BOB.within(ACME),
    BOB.within(Reach(threads={"members": ["bob"]})),
    BOB.within(Reach(threads={"org": "acme", "members": ["bob", "alice"]})),
    BOB.within(Reach(threads={})),
    BOB.within(Reach(thread_ids=frozenset({"t-1"}))),
    BOB.within(Reach(threads={"org": "other"}, thread_ids=frozenset({"t-1"}))),
    ALICE.within(ACME),
    BOB.within(Reach(threads=AnyOf(({"org": "other"}, {"members": ["bob"]})))),
    BOB.within(Reach(threads=AllOf(({"org": "acme"}, AnyOf(({"team": "blue"}, {"members": ["bob"]})))))),
    BOB.within(Reach(threads=FieldEquals("members", ["alice", "bob"]))),
)
WHO_DO_NOT: Final = (
    BOB,
    BOB.within(Reach(threads={"org": "other"})),
    BOB.within(Reach(threads={"org": ["acme"]})),
    BOB.within(Reach(threads={"members": ["eve"]})),
    BOB.within(Reach(threads={"org": "acme", "team": "blue"})),
    BOB.within(Reach(threads=AnyOf(({"org": "other"}, {"members": ["eve"]})))),
    BOB.within(Reach(threads=AllOf(({"org": "acme"}, AnyOf(({"team": "blue"}, {"members": ["eve"]})))))),
    BOB.within(Reach(threads=FieldEquals("members", ["alice"]))),
    BOB.within(Reach(threads=FieldEquals("team", None))),
    BOB.within(Reach(threads=AnyOf(()))),
    BOB.within(Reach(assistants={}, crons={}, assistant_ids=frozenset({"t-1"}))),
    BOB.within(Reach(thread_ids=frozenset({"t-2"}))),
    # Nothing reaches into another tenant.
    ALICE_ELSEWHERE.within(ACME),
    ALICE_ELSEWHERE.within(Reach(threads={})),
    ALICE_ELSEWHERE.within(Reach(threads=AllOf(()))),
    ALICE_ELSEWHERE.within(Reach(thread_ids=frozenset({"t-1"}))),
    # A filter says what is there, of one's own as well.
    ALICE.within(Reach(threads={"org": "other"})),
)
OF_ACME: Final = {"org": "acme", "members": ["alice", "bob"]}


class ThreadSharing:
    @pytest.mark.parametrize("actor", WHO_REACH, ids=str)
    async def test_what_is_reached_is_there(self, storage: RunStorage, actor: ActorContext) -> None:
        made = await storage.new_thread("t-1", metadata=OF_ACME)
        run = await storage.accept("t-1")
        with acting(actor):
            found = await storage.threads.get("t-1")
            assert found is not None
            assert found.created_at == made.created_at
            assert await storage.threads.search(ThreadFilter(ids=["t-1"])) == [found]
            assert await storage.threads.count(ThreadFilter(metadata={"org": "acme"})) == 1
            assert await storage.threads.create("t-1", if_exists="do_nothing") == found
            with pytest.raises(ThreadExists):
                await storage.threads.create("t-1")
            assert await storage.query.get_run(run.run_id) == run
            assert await storage.query.list_runs(RunFilter("t-1")) == [run]
            assert await storage.query.count_runs(RunFilter()) == 1
            changed = await storage.threads.update("t-1", metadata={"seen": True}, ttl=ThreadTtl(5))
            assert changed is not None
            assert changed.metadata["seen"] is True
            assert await storage.threads.get_ttl("t-1") == ThreadTtl(5)
            await storage.threads.set_state("t-1", ThreadAfter("interrupted", values=b"1"))
            await storage.threads.set_title("t-1", "Ours")
            named = await storage.threads.get("t-1")
            assert named is not None
            assert (named.metadata["title"], named.values) == ("Ours", b"1")
            assert await storage.delete.delete_run(run.run_id)
            assert await storage.threads.delete("t-1")
        assert not await storage.has_thread("t-1")

    @pytest.mark.parametrize("actor", WHO_DO_NOT, ids=str)
    async def test_what_is_not_reached_looks_like_nothing(self, storage: RunStorage, actor: ActorContext) -> None:
        await storage.new_thread("t-1", metadata=OF_ACME)
        run = await storage.accept("t-1")
        before = await storage.thread("t-1")
        with acting(actor):
            assert await storage.threads.get("t-1") is None
            assert await storage.threads.get_ttl("t-1") is None
            assert await storage.threads.update("t-1", metadata={"b": 2}) is None
            assert not await storage.threads.delete("t-1")
            assert await storage.threads.search(ThreadFilter()) == []
            assert await storage.threads.count(ThreadFilter(ids=["t-1"])) == 0
            await storage.threads.set_state("t-1", ThreadAfter("error", values=b"1"))
            await storage.threads.set_title("t-1", "theirs")
            with pytest.raises(ThreadExists):
                await storage.threads.create("t-1", if_exists="do_nothing")
            assert await storage.query.get_run(run.run_id) is None
            assert await storage.query.list_runs(RunFilter(thread_id="t-1")) == []
            assert await storage.query.count_runs(RunFilter()) == 0
            assert not await storage.delete.delete_run(run.run_id)
        storage.actor = actor
        with pytest.raises(ThreadNotFound):
            await storage.accept("t-1")
        storage.actor = ALICE
        assert await storage.thread("t-1") == before
        assert await storage.stands(run) == run

    async def test_what_is_made_is_one_s_own(self, storage: RunStorage) -> None:
        """Whoever makes it in a wide reach: the thread and the run are theirs, and their reach is not kept."""
        await storage.new_thread("t-1", metadata=OF_ACME)
        storage.actor = BOB.within(ACME)
        run = await storage.accept("t-1", scope=RunScope())
        await storage.new_thread("t-2")
        assert (run.actor, run.actor.reach) == (BOB, OWN)
        storage.actor = BOB
        assert await storage.run(run.run_id) == run
        assert not await storage.has_thread("t-1")
        assert await storage.has_thread("t-2")
        storage.actor = ALICE
        assert await storage.run(run.run_id) is None
        assert not await storage.has_thread("t-2")

    async def test_runs_of_several_take_their_turns_on_one_thread(self, storage: RunStorage) -> None:
        await storage.new_thread("t-1", metadata=OF_ACME)
        hers = await storage.accept("t-1")
        storage.actor = BOB.within(ACME)
        his = await storage.accept("t-1")
        assert [run.run_id for run in await _runs(storage)] == [his.run_id, hers.run_id]
        assert await storage.leases.claim(his.run_id, "w-2", TERM) is None
        assert (await storage.leases.settle(await storage.begun(hers), DONE)).record.status == "success"
        assert (await storage.leases.settle(await storage.begun(his), DONE)).record.actor == BOB

    async def test_runs_whose_thread_has_gone_speak_for_themselves(self, storage: RunStorage) -> None:
        ours, other = [
            await storage.ended(await storage.accept(None, scope=STATELESS, metadata={"org": org}))
            for org in ("acme", "other")
        ]
        storage.actor = BOB.within(ACME)
        assert await storage.run(ours.run_id) == ours
        assert await storage.run(other.run_id) is None
        assert [run.run_id for run in await _runs(storage)] == [ours.run_id]

    async def test_a_run_is_as_its_thread_is_and_not_as_it_says(self, storage: RunStorage) -> None:
        await storage.new_thread("t-1", metadata={"org": "other"})
        run = await storage.accept("t-1", metadata={"org": "acme"})
        storage.actor = BOB.within(ACME)
        assert await storage.run(run.run_id) is None

    async def test_a_change_may_take_something_from_who_makes_it(self, storage: RunStorage) -> None:
        await storage.new_thread("t-1", metadata=OF_ACME)
        with acting(BOB.within(ACME)):
            changed = await storage.threads.update("t-1", metadata={"org": "other"})
            assert changed is not None
            assert changed.metadata["org"] == "other"
            assert await storage.threads.get("t-1") is None

    async def test_one_that_is_made_is_told_though_it_does_not_match(self, storage: RunStorage) -> None:
        with acting(BOB.within(ACME)):
            assert (await storage.threads.create("t-1", metadata={"org": "none"})).thread_id == "t-1"
            assert await storage.threads.get("t-1") is None


async def _runs(storage: RunStorage, **where: Any) -> Sequence[Any]:
    with acting(storage.actor):
        return await storage.query.list_runs(RunFilter(**where), limit=100)
