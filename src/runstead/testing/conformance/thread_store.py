"""The conformance suite of the ThreadStore port; it covers each sentence of its contract.

Subclass it and provide ``storage``; see `run_storage`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from runstead.resources.threads import SortOrder, ThreadExists, ThreadFilter, ThreadSortField, ThreadTtl
from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import Outcome, RunFailure, RunStatus, ThreadId, ThreadOutcome

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, DONE, RunStorage
from .sharing import ThreadSharing

STRANGERS: Final = (BOB, ALICE_ELSEWHERE)


class ThreadStoreConformance(ThreadSharing):
    """The suite of ThreadStore. Subclass it and provide ``storage``."""

    async def test_create_makes_an_idle_empty_thread(self, storage: RunStorage) -> None:
        with acting(ALICE):
            made = await storage.threads.create(ThreadId("t-1"), metadata={"a": [1, None]}, config={"tags": ["x"]})
        now = storage.clock.now()
        assert made == await storage.thread(ThreadId("t-1"))
        assert (made.thread_id, made.status, made.metadata, made.config) == (
            "t-1",
            "idle",
            {"a": [1, None]},
            {"tags": ["x"]},
        )
        assert (made.created_at, made.updated_at, made.state_updated_at) == (now, now, None)
        assert (made.values, made.interrupts, made.error) == (None, b"{}", None)

    async def test_create_without_an_id_makes_a_new_one(self, storage: RunStorage) -> None:
        with acting(ALICE):
            ids = {(await storage.threads.create()).thread_id for _ in range(3)}
        assert len(ids) == 3

    async def test_calls_require_an_actor(self, storage: RunStorage) -> None:
        threads = storage.threads
        await storage.new_thread(ThreadId("t-1"))
        for call in (
            lambda: threads.create(ThreadId("t-2")),
            lambda: threads.get(ThreadId("t-1")),
            lambda: threads.update(ThreadId("t-1"), metadata={}),
            lambda: threads.get_ttl(ThreadId("t-1")),
            lambda: threads.delete(ThreadId("t-1")),
            lambda: threads.search(ThreadFilter()),
            lambda: threads.count(ThreadFilter()),
            lambda: threads.set_state(ThreadId("t-1"), ThreadOutcome()),
            lambda: threads.set_title(ThreadId("t-1"), "x"),
        ):
            with pytest.raises(ActorRequired):
                await call()

    async def test_create_with_an_existing_id_raises_or_returns_it_unchanged(self, storage: RunStorage) -> None:
        made = await storage.new_thread(ThreadId("t-1"), metadata={"a": 1})
        with acting(ALICE):
            with pytest.raises(ThreadExists):
                await storage.threads.create(ThreadId("t-1"), metadata={"b": 2})
            found = await storage.threads.create(ThreadId("t-1"), metadata={"b": 2}, if_exists="do_nothing")
        assert found == made

    @pytest.mark.parametrize("stranger", STRANGERS)
    async def test_foreign_thread_looks_absent(self, storage: RunStorage, stranger: ActorContext) -> None:
        with acting(ALICE):
            made = await storage.threads.create(ThreadId("t-1"), metadata={"a": 1}, ttl=ThreadTtl(5))
        with acting(stranger):
            assert await storage.threads.get(ThreadId("t-1")) is None
            assert await storage.threads.get_ttl(ThreadId("t-1")) is None
            assert await storage.threads.update(ThreadId("t-1"), metadata={"b": 2}, ttl=ThreadTtl(1)) is None
            assert not await storage.threads.delete(ThreadId("t-1"))
            assert await storage.threads.search(ThreadFilter()) == []
            assert await storage.threads.search(ThreadFilter(ids=[ThreadId("t-1")])) == []
            assert await storage.threads.count(ThreadFilter(metadata={"a": 1})) == 0
            await storage.threads.set_state(ThreadId("t-1"), ThreadOutcome("error", values=b"1"))
            await storage.threads.set_title(ThreadId("t-1"), "theirs")
            with pytest.raises(ThreadExists):
                await storage.threads.create(ThreadId("t-1"), if_exists="do_nothing")
        assert await storage.thread(ThreadId("t-1")) == made
        with acting(ALICE):
            assert await storage.threads.get_ttl(ThreadId("t-1")) == ThreadTtl(5)

    async def test_thread_has_no_ttl_until_update_sets_one(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"))
        with acting(ALICE):
            assert await storage.threads.get_ttl(ThreadId("t-1")) is None
            await storage.threads.update(ThreadId("t-1"), metadata={}, ttl=ThreadTtl(0.5, "keep_latest"))
            await storage.threads.update(ThreadId("t-1"), metadata={"a": 1})
            assert await storage.threads.get_ttl(ThreadId("t-1")) == ThreadTtl(0.5, "keep_latest")
            await storage.threads.update(ThreadId("t-1"), metadata={}, ttl=ThreadTtl(60))
            assert await storage.threads.get_ttl(ThreadId("t-1")) == ThreadTtl(60, "delete")

    async def test_delete_removes_the_ttl(self, storage: RunStorage) -> None:
        with acting(ALICE):
            await storage.threads.create(ThreadId("t-1"), ttl=ThreadTtl(60))
            await storage.threads.create(ThreadId("t-1"), ttl=ThreadTtl(1), if_exists="do_nothing")
            assert await storage.threads.get_ttl(ThreadId("t-1")) == ThreadTtl(60)
            await storage.threads.delete(ThreadId("t-1"))
            await storage.threads.create(ThreadId("t-1"))
            assert await storage.threads.get_ttl(ThreadId("t-1")) is None

    @pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e12])
    def test_ttl_refuses_minutes_that_are_not_positive_and_finite(self, minutes: float) -> None:
        with pytest.raises(ValueError, match="more than 0"):
            ThreadTtl(minutes)

    async def test_search_includes_values_up_to_values_bytes(self, storage: RunStorage) -> None:
        for number, size in enumerate((50_000, 0, 12_000, 3_000)):
            await storage.new_thread(ThreadId(f"t-{number}"))
            if size:
                await _leave(
                    storage, ThreadId(f"t-{number}"), ThreadOutcome("idle", values=b'"' + b"x" * (size - 2) + b'"')
                )

        async def read(values_bytes: int | None) -> list[tuple[bool, bool]]:
            with acting(ALICE):
                found = await storage.threads.search(ThreadFilter(), sort_by="thread_id", values_bytes=values_bytes)
                whole = await storage.threads.search(ThreadFilter(), sort_by="thread_id")
            assert [replace(one, values=None, omits_values=False) for one in found] == [
                replace(one, values=None) for one in whole
            ]
            assert all(one.values in (None, of_whole.values) for one, of_whole in zip(found, whole, strict=True))
            return [(one.values is not None, one.omits_values) for one in reversed(found)]

        read_, none, omitted = (True, False), (False, False), (False, True)
        assert await read(None) == [read_, none, read_, read_]
        # A store that encrypts needs up to three times as much, and the limits leave room for that.
        assert await read(200_000) == [read_, none, read_, read_]
        # The page begins with the last thread here.
        assert await read(50_000) == [omitted, none, read_, read_]
        assert await read(12_000) == [omitted, none, omitted, read_]
        # At least one, so that every thread's values can be read.
        assert await read(1) == [omitted, none, omitted, read_]
        assert await read(0) == [omitted, none, omitted, omitted]

    async def test_calls_for_unknown_threads_return_nothing(self, storage: RunStorage) -> None:
        with acting(ALICE):
            for thread_id in ("t-none", "\ud800", "../x", "' OR 1=1 --"):
                assert await storage.threads.get(ThreadId(thread_id)) is None
                assert await storage.threads.get_ttl(ThreadId(thread_id)) is None
                assert await storage.threads.update(ThreadId(thread_id), metadata={"a": 1}) is None
                assert not await storage.threads.delete(ThreadId(thread_id))
                await storage.threads.set_title(ThreadId(thread_id), "x")
                await storage.threads.set_state(ThreadId(thread_id), ThreadOutcome())
            assert await storage.threads.count(ThreadFilter()) == 0

    async def test_update_merges_metadata_by_key(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"a": {"x": 1}, "b": 1})
        await storage.clock.advance(5)
        with acting(ALICE):
            updated = await storage.threads.update(ThreadId("t-1"), metadata={"a": {"y": 2}, "c": "\ud800"})
        assert updated == await storage.thread(ThreadId("t-1"))
        assert updated is not None
        assert updated.metadata == {"a": {"y": 2}, "b": 1, "c": "\ud800"}
        assert updated.updated_at == storage.clock.now()
        assert updated.created_at < updated.updated_at

    async def test_delete_removes_the_thread_and_its_runs(self, storage: RunStorage) -> None:
        ended = await storage.ended(await storage.accept(ThreadId("t-1")))
        waiting = await storage.accept(ThreadId("t-1"))
        other = await storage.accept(ThreadId("t-2"))
        with acting(ALICE):
            assert await storage.threads.delete(ThreadId("t-1"))
            assert not await storage.threads.delete(ThreadId("t-1"))
        assert not await storage.has_thread(ThreadId("t-1"))
        assert [await storage.run(run.run_id) for run in (ended, waiting)] == [None, None]
        assert await storage.leases.list_claimable(10) == [other.run_id]

    async def test_delete_refuses_a_thread_with_a_held_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.held(run)
        with acting(ALICE), pytest.raises(ThreadBusy) as busy:
            await storage.threads.delete(ThreadId("t-1"))
        assert busy.value.run_ids == (run.run_id,)
        await storage.leases.settle(lease, DONE)

    async def test_search_combines_filters_with_and_before_the_limit(self, storage: RunStorage) -> None:
        for n in range(5):
            await storage.new_thread(ThreadId(f"t-{n}"), metadata={"kind": "chat", "n": n})
        await storage.new_thread(ThreadId("t-5"), metadata={"kind": "other"})
        assert await _ids(storage, ThreadFilter(metadata={"n": 0}), limit=1) == ["t-0"]
        assert await _ids(
            storage, ThreadFilter(ids=[ThreadId("t-0"), ThreadId("t-5"), ThreadId("t-none"), ThreadId("\ud800")])
        ) == ["t-0", "t-5"]
        assert await _ids(storage, ThreadFilter(ids=[])) == []
        assert await _ids(storage, ThreadFilter(ids=[ThreadId("t-5")], metadata={"kind": "chat"})) == []
        await storage.accept(ThreadId("t-3"))
        assert await _ids(storage, ThreadFilter(status="busy", metadata={"kind": "chat"})) == ["t-3"]
        with acting(ALICE):
            assert await storage.threads.count(ThreadFilter(metadata={"kind": "chat"})) == 5
            assert await storage.threads.count(ThreadFilter(status="idle")) == 5

    async def test_search_matches_values_by_containment(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-none"))
        for thread_id, values in (("t-1", b'{"a":{"b":1,"c":[1,2]}}'), ("t-2", b'{"a":{"b":2}}')):
            await storage.ended(
                await storage.accept(ThreadId(thread_id)), Outcome(RunStatus.SUCCESS, ThreadOutcome(values=values))
            )
        assert await _ids(storage, ThreadFilter(values={"a": {"b": 1}})) == ["t-1"]
        assert await _ids(storage, ThreadFilter(values={"a": {"c": [2]}})) == ["t-1"]
        assert await _ids(storage, ThreadFilter(values={"a": {}})) == ["t-1", "t-2"]
        assert await _ids(storage, ThreadFilter(values={"z": 1})) == []

    async def test_search_returns_pages_in_a_stable_order(self, storage: RunStorage) -> None:
        for thread_id in ("t-2", "t-1", "t-3"):
            await storage.new_thread(ThreadId(thread_id))
        await storage.clock.advance(1)
        await storage.new_thread(ThreadId("t-0"))
        assert await _ids(storage, sort_by="created_at", sort_order="desc") == ["t-0", "t-1", "t-2", "t-3"]
        assert await _ids(storage, sort_by="created_at", sort_order="asc") == ["t-1", "t-2", "t-3", "t-0"]
        assert await _ids(storage, sort_by="thread_id", sort_order="desc") == ["t-3", "t-2", "t-1", "t-0"]
        pages = [await _ids(storage, sort_by="created_at", sort_order="desc", limit=2, offset=n) for n in (0, 2, 4)]
        assert pages == [["t-0", "t-1"], ["t-2", "t-3"], []]
        assert await _ids(storage, limit=0) == []

    async def test_search_sorts_by_changing_fields(self, storage: RunStorage) -> None:
        for thread_id in ("t-1", "t-2", "t-3"):
            await storage.new_thread(ThreadId(thread_id))
        await storage.clock.advance(1)
        await _leave(storage, ThreadId("t-2"), ThreadOutcome("error", values=b"1"))
        await storage.clock.advance(1)
        await _leave(storage, ThreadId("t-1"), ThreadOutcome("interrupted", values=b"1"))
        assert await _ids(storage, sort_by="updated_at", sort_order="desc") == ["t-1", "t-2", "t-3"]
        assert await _ids(storage, sort_by="state_updated_at", sort_order="desc") == ["t-1", "t-2", "t-3"]
        assert await _ids(storage, sort_by="state_updated_at", sort_order="asc") == ["t-2", "t-1", "t-3"]
        assert await _ids(storage, sort_by="status", sort_order="asc") == ["t-2", "t-3", "t-1"]

    async def test_set_state_writes_all_fields(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"))
        failure = RunFailure("E", "m")
        await _leave(storage, ThreadId("t-1"), ThreadOutcome("interrupted", b'{"x":1}', b'{"t":[]}', failure))
        thread = await storage.thread(ThreadId("t-1"))
        assert (thread.status, thread.values, thread.interrupts) == ("interrupted", b'{"x":1}', b'{"t":[]}')
        assert thread.error == {"error": "E", "message": "m"}
        assert thread.state_updated_at == storage.clock.now()

    async def test_set_state_keeps_a_busy_thread_busy(self, storage: RunStorage) -> None:
        await storage.begun(await storage.accept())
        await _leave(storage, ThreadId("t-1"), ThreadOutcome("idle", values=b"2"))
        thread = await storage.thread(ThreadId("t-1"))
        assert (thread.status, thread.values) == ("busy", b"2")

    async def test_set_title_writes_the_metadata(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"mine": 1})
        with acting(ALICE):
            await storage.threads.set_title(ThreadId("t-1"), "A talk")
        assert (await storage.thread(ThreadId("t-1"))).metadata == {"mine": 1, "title": "A talk"}

    async def test_set_state_takes_the_title_from_the_values(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"mine": 1})
        for values, title in (
            (b'{"title":"Gr\xc3\xbc\xc3\x9fe \\"you\\" \\\\ %s :x"}', 'Grüße "you" \\ %s :x'),
            (b'{"title":"' + b"x" * 300 + b'"}', "x" * 200),
            # No title: the thread keeps its own.
            (b'{"other":1}', "x" * 200),
            (b'{"title":""}', "x" * 200),
            (b'{"title":7}', "x" * 200),
            (b'{"title":{"title":"deep"}}', "x" * 200),
            (b'{"title":"A talk"}', "A talk"),
        ):
            await _leave(storage, ThreadId("t-1"), ThreadOutcome("idle", values=values))
            assert (await storage.thread(ThreadId("t-1"))).metadata == {"mine": 1, "title": title}, values

    async def test_set_state_keeps_a_set_title_while_the_values_title_is_unchanged(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"))
        await _leave(storage, ThreadId("t-1"), ThreadOutcome("idle", values=b'{"title":"theirs","n":1}'))
        with acting(ALICE):
            await storage.threads.set_title(ThreadId("t-1"), "mine")
        await _leave(storage, ThreadId("t-1"), ThreadOutcome("idle", values=b'{"title":"theirs","n":2}'))
        assert (await storage.thread(ThreadId("t-1"))).metadata["title"] == "mine"


async def _ids(
    storage: RunStorage,
    where: ThreadFilter | None = None,
    *,
    sort_by: ThreadSortField = "thread_id",
    sort_order: SortOrder = "asc",
    **page: Any,
) -> list[ThreadId]:
    with acting(storage.actor):
        found = await storage.threads.search(where or ThreadFilter(), sort_by=sort_by, sort_order=sort_order, **page)
    return [thread.thread_id for thread in found]


async def _leave(storage: RunStorage, thread_id: ThreadId, after: ThreadOutcome) -> None:
    with acting(storage.actor):
        await storage.threads.set_state(thread_id, after)
