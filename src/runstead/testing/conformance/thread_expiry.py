"""The conformance suite of the ThreadExpiryStore port; it covers each sentence of its contract.

Subclass it and provide ``storage`` (see `run_storage`) and, over the same rows, ``expiry``.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runstead.resources.thread_expiry import ExpiredThread, ThreadExpiryStore
from runstead.resources.threads import ThreadExists, ThreadFilter, ThreadTtl, TtlStrategy
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import RunScope, ThreadId, ThreadOutcome

from .run_storage import ALICE, BOB, RunStorage

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class ThreadExpiryConformance:
    """The suite of ThreadExpiryStore. Subclass it and provide ``storage`` and ``expiry``."""

    async def test_take_returns_a_thread_unused_for_its_ttl(
        self, storage: RunStorage, expiry: ThreadExpiryStore
    ) -> None:
        await _kept(storage, ThreadId("t-1"))
        await storage.new_thread(ThreadId("t-ever"))
        await storage.clock.advance(HOUR - MINUTE)
        assert await expiry.take(10) == []
        await storage.clock.advance(MINUTE)
        (expired,) = await expiry.take(10)
        assert (expired.thread_id, expired.strategy) == ("t-1", "delete")
        assert (expired.owner.user_id, expired.owner.tenant_id) == (ALICE.user_id, ALICE.tenant_id)
        assert await storage.has_thread(ThreadId("t-ever"))

    async def test_take_returns_threads_of_all_users(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        await _kept(storage, ThreadId("t-1"))
        with acting(BOB):
            await storage.threads.create(ThreadId("t-2"), ttl=ThreadTtl(60))
        await storage.clock.advance(HOUR)
        assert {one.owner.user_id for one in await expiry.take(10)} == {ALICE.user_id, BOB.user_id}

    async def test_taken_thread_looks_absent_and_its_id_stays_reserved(
        self, storage: RunStorage, expiry: ThreadExpiryStore
    ) -> None:
        run = await storage.ended(await storage.accept(ThreadId("t-1")))
        await _kept(storage, ThreadId("t-1"))
        await storage.clock.advance(HOUR)
        (expired,) = await expiry.take(10)
        assert not await storage.has_thread(ThreadId("t-1"))
        for actor in (ALICE, BOB):
            with acting(actor):
                assert await storage.threads.search(ThreadFilter()) == []
                with pytest.raises(ThreadExists):
                    await storage.threads.create(ThreadId("t-1"), if_exists="do_nothing")
        with pytest.raises(ThreadNotFound):
            await storage.accept(ThreadId("t-1"))
        assert await expiry.finish(expired) == [run.run_id]
        assert await storage.run(run.run_id) is None
        made = await storage.new_thread(ThreadId("t-1"))
        with acting(ALICE):
            assert (made.values, await storage.threads.get_ttl(ThreadId("t-1"))) == (None, None)

    async def test_take_returns_unfinished_threads_again(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        await _kept(storage, ThreadId("t-1"))
        await _kept(storage, ThreadId("t-2"), strategy="keep_latest")
        await storage.clock.advance(HOUR)
        first = await expiry.take(10)
        assert await expiry.take(10) == first
        assert {one.owner.user_id for one in first} == {ALICE.user_id}
        for expired in first:
            await expiry.finish(expired)
        assert await expiry.take(10) == []

    async def test_concurrent_sweeps_take_every_thread(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        for number in range(10):
            await _kept(storage, ThreadId(f"t-{number}"))
        await storage.clock.advance(HOUR)
        taken = [one for each in await asyncio.gather(expiry.take(10), expiry.take(10)) for one in each]
        assert {expired.thread_id for expired in taken} == {f"t-{number}" for number in range(10)}
        await asyncio.gather(*(expiry.finish(expired) for expired in taken))
        for number in range(10):
            await storage.new_thread(ThreadId(f"t-{number}"))

    async def test_finish_twice_has_the_effect_of_one(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        await _kept(storage, ThreadId("t-1"))
        await storage.clock.advance(HOUR)
        (expired,) = await expiry.take(10)
        await expiry.finish(expired)
        made = await storage.new_thread(ThreadId("t-1"))
        assert await expiry.finish(expired) == []
        assert await storage.thread(ThreadId("t-1")) == made

    async def test_finish_deletes_only_taken_threads(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        made = await _kept(storage, ThreadId("t-1"))
        assert await expiry.finish(ExpiredThread(ThreadId("t-1"), ALICE, "delete")) == []
        assert await expiry.finish(ExpiredThread(ThreadId("t-none"), ALICE, "keep_latest")) == []
        assert await storage.thread(ThreadId("t-1")) == made

    @pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
    async def test_take_never_returns_a_busy_thread(
        self, storage: RunStorage, expiry: ThreadExpiryStore, strategy: TtlStrategy
    ) -> None:
        await _kept(storage, ThreadId("t-1"), strategy=strategy)
        await storage.begun(await storage.accept(ThreadId("t-1")))
        for _ in range(5):
            await storage.clock.advance(HOUR)
            assert await expiry.take(10) == []
        assert (await storage.thread(ThreadId("t-1"))).status == "busy"

    async def test_take_omits_a_thread_with_a_delayed_run(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        await _kept(storage, ThreadId("t-1"))
        run = await storage.accept(ThreadId("t-1"), after_seconds=10 * 3600)
        for _ in range(9):
            await storage.clock.advance(HOUR)
            assert await expiry.take(10) == []
        assert await storage.stands(run)

    async def test_ttl_counts_from_the_last_use(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        for thread_id in ("t-run", "t-state", "t-words", "t-idle"):
            await _kept(storage, ThreadId(thread_id))
        await storage.clock.advance(HOUR / 2)
        await storage.ended(await storage.accept(ThreadId("t-run")))
        with acting(ALICE):
            await storage.threads.set_state(ThreadId("t-state"), ThreadOutcome(values=b"1"))
            await storage.threads.update(ThreadId("t-words"), metadata={"a": 1})
        await storage.clock.advance(HOUR / 2)
        assert await _taken(expiry) == {"t-idle"}
        await storage.clock.advance(HOUR / 2 - MINUTE)
        assert await _taken(expiry) == set()
        await storage.clock.advance(MINUTE)
        assert await _taken(expiry) == {"t-run", "t-state", "t-words"}

    async def test_take_returns_a_kept_thread_again_after_its_ttl(
        self, storage: RunStorage, expiry: ThreadExpiryStore
    ) -> None:
        made = await _kept(storage, ThreadId("t-1"), strategy="keep_latest")
        for _ in range(3):
            await storage.clock.advance(HOUR - MINUTE)
            assert await _taken(expiry) == set()
            await storage.clock.advance(MINUTE)
            assert await _taken(expiry) == {"t-1"}
        assert await storage.thread(ThreadId("t-1")) == made

    async def test_ttl_set_later_counts_from_then(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        await storage.new_thread(ThreadId("t-1"))
        await storage.clock.advance(5 * HOUR)
        with acting(ALICE):
            await storage.threads.update(ThreadId("t-1"), metadata={}, ttl=ThreadTtl(60))
        assert await expiry.take(10) == []
        await storage.clock.advance(HOUR)
        assert await _taken(expiry) == {"t-1"}

    async def test_take_returns_at_most_limit_threads(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        for number in range(5):
            await _kept(storage, ThreadId(f"t-{number}"))
        # The first threads are in use, and must not hide the others.
        for thread_id in ("t-0", "t-1"):
            await storage.begun(await storage.accept(ThreadId(thread_id)))
        await storage.clock.advance(HOUR)
        assert len(await expiry.take(2)) == 2
        assert await _taken(expiry) == {"t-2", "t-3", "t-4"}

    async def test_take_never_returns_a_temporary_thread(self, storage: RunStorage, expiry: ThreadExpiryStore) -> None:
        run = await storage.accept(None, scope=RunScope("stateless", "create", "delete"))
        await storage.clock.advance(1_000 * HOUR)
        assert await expiry.take(10) == []
        assert await storage.stands(run)


async def _kept(storage: RunStorage, thread_id: ThreadId, *, strategy: TtlStrategy = "delete") -> object:
    """Give the thread a TTL of one hour; create it if it does not exist."""
    with acting(ALICE):
        if await storage.threads.get(thread_id) is None:
            return await storage.threads.create(thread_id, ttl=ThreadTtl(60, strategy))
        return await storage.threads.update(thread_id, metadata={}, ttl=ThreadTtl(60, strategy))


async def _taken(expiry: ThreadExpiryStore) -> set[ThreadId]:
    """Take all expired threads, and finish them."""
    taken = await expiry.take(100)
    for expired in taken:
        await expiry.finish(expired)
    return {expired.thread_id for expired in taken}
