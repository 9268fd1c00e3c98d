"""The part of the run store suite about queries and deletion."""

from __future__ import annotations

from typing import Final

import pytest

from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import AssistantId, RunFilter, RunId, RunStatus, StopReason, ThreadId

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, RunStorage

MATCHES: Final[tuple[tuple[JsonObject, bool], ...]] = (
    ({}, True),
    ({"name": "x"}, True),
    ({"name": "y"}, False),
    ({"name": "x", "nested": {"a": 1}}, True),
    ({"nested": {"a": 1, "z": 1}}, False),
    ({"list": [3]}, True),
    ({"list": [4]}, False),
    ({"list": [{"deep": True}]}, True),
    ({"missing": None}, False),
    ({"nothing": None}, True),
    ({"number": 1.0}, True),
    ({"number": True}, False),
    ({"odd ' key\"": "; drop table runs"}, False),
)


class RunFinding:
    async def test_queries_require_an_actor(self, storage: RunStorage) -> None:
        run = await storage.accept()
        with pytest.raises(ActorRequired):
            await storage.query.get_run(run.run_id)
        with pytest.raises(ActorRequired):
            await storage.query.list_runs(RunFilter())
        with pytest.raises(ActorRequired):
            await storage.query.count_runs(RunFilter())

    async def test_get_run_returns_none_for_unknown_ids(self, storage: RunStorage) -> None:
        assert await storage.run(RunId("r-none")) is None
        assert await storage.run(RunId("\ud800")) is None
        assert await storage.run(RunId("' OR 1=1 --")) is None

    @pytest.mark.parametrize("stranger", [BOB, ALICE_ELSEWHERE])
    async def test_foreign_run_looks_absent(self, storage: RunStorage, stranger: ActorContext) -> None:
        run = await storage.accept()
        storage.actor = stranger
        assert await storage.run(run.run_id) is None
        assert await _list(storage, RunFilter()) == []
        assert await _list(storage, RunFilter(thread_id=run.thread_id)) == []
        with acting(stranger):
            assert await storage.query.count_runs(RunFilter()) == 0
            assert not await storage.delete.delete_run(run.run_id)
        storage.actor = ALICE
        assert await storage.run(run.run_id) == run

    async def test_get_latest_run_returns_the_newest_begun_run(self, storage: RunStorage) -> None:
        assert await _latest(storage) is None
        first = await storage.accept()
        assert await _latest(storage) is None
        await storage.ended(first)
        await storage.accept(ThreadId("t-2"))
        waiting = await storage.accept()
        assert await _latest(storage) == first.run_id
        await storage.leases.request_stop(waiting.run_id, StopReason.BY_USER)
        assert await _latest(storage) == first.run_id
        third = await storage.accept()
        await storage.begun(third)
        assert await _latest(storage) == third.run_id
        assert await _latest(storage, ThreadId("\ud800")) is None

    @pytest.mark.parametrize("stranger", [BOB, ALICE_ELSEWHERE])
    async def test_get_latest_run_of_a_foreign_thread_returns_none(
        self, storage: RunStorage, stranger: ActorContext
    ) -> None:
        await storage.ended(await storage.accept())
        storage.actor = stranger
        assert await _latest(storage) is None

    async def test_thread_is_foreign_to_other_users_only(self, storage: RunStorage) -> None:
        run = await storage.accept()
        for actor, is_foreign in ((ALICE, False), (BOB, True), (ALICE_ELSEWHERE, True)):
            with acting(actor):
                assert await storage.query.is_foreign_thread(run.thread_id) is is_foreign
                assert not await storage.query.is_foreign_thread(ThreadId("t-none"))
                assert not await storage.query.is_foreign_thread(ThreadId("\ud800"))
        with acting(BOB.with_access_to(run.thread_id)):
            assert not await storage.query.is_foreign_thread(run.thread_id)

    async def test_list_runs_returns_pages_newest_first(self, storage: RunStorage) -> None:
        ids = [(await storage.accept(ThreadId(f"t-{n}"))).run_id for n in range(5)]
        assert await _list(storage, RunFilter()) == ids[::-1]
        assert await _list(storage, RunFilter(), limit=2) == [ids[4], ids[3]]
        assert await _list(storage, RunFilter(), limit=2, offset=3) == [ids[1], ids[0]]
        assert await _list(storage, RunFilter(), limit=0) == []

    async def test_list_runs_combines_filters_with_and_before_the_limit(self, storage: RunStorage) -> None:
        wanted = await storage.accept(ThreadId("t-1"), metadata={"color": "red"})
        await storage.ended(wanted)
        for n in range(5):
            await storage.accept(ThreadId(f"t-{n}"), metadata={"color": "blue"})
        where = RunFilter(ThreadId("t-1"), statuses=[RunStatus.SUCCESS], metadata={"color": "red"})
        assert await _list(storage, where, limit=1) == [wanted.run_id]
        assert await _list(storage, RunFilter(ThreadId("t-1"), statuses=[RunStatus.ERROR])) == []
        both = RunFilter(ThreadId("t-1"), statuses=[RunStatus.SUCCESS, RunStatus.PENDING])
        assert len(await _list(storage, both)) == 2
        with acting(storage.actor):
            assert await storage.query.count_runs(both) == 2
            assert await storage.query.count_runs(RunFilter(metadata={"color": "blue"})) == 5

    @pytest.mark.parametrize(("wanted", "matches"), MATCHES)
    async def test_list_runs_matches_metadata_by_containment(
        self, storage: RunStorage, wanted: JsonObject, matches: bool
    ) -> None:
        held = {"name": "x", "nested": {"a": 1, "b": 2}, "list": [1, 3, {"deep": True, "x": 0}], "nothing": None}
        run = await storage.accept(metadata={**held, "number": 1})
        assert await _list(storage, RunFilter(metadata=wanted)) == ([run.run_id] if matches else [])

    async def test_list_runs_supports_metadata_beyond_strict_json(self, storage: RunStorage) -> None:
        hard = await storage.accept(metadata={"nan": float("nan"), "half": "\ud800", "big": 2**80})
        assert await _list(storage, RunFilter(metadata={"half": "\ud800", "big": 2**80})) == [hard.run_id]
        assert await _list(storage, RunFilter(metadata={"color": "red"})) == []

    async def test_list_runs_of_an_unknown_thread_is_empty(self, storage: RunStorage) -> None:
        await storage.accept()
        assert await _list(storage, RunFilter(thread_id=ThreadId("t-none"))) == []
        assert await _list(storage, RunFilter(thread_id=ThreadId("\ud800"))) == []

    async def test_list_runs_filters_by_assistant(self, storage: RunStorage) -> None:
        run = await storage.accept(ThreadId("t-1"), assistant_id="a-2")
        await storage.accept(ThreadId("t-1"))
        assert await _list(storage, RunFilter(assistant_id=AssistantId("a-2"))) == [run.run_id]
        assert await _list(storage, RunFilter(ThreadId("t-none"), assistant_id=AssistantId("a-2"))) == []
        assert await _list(storage, RunFilter(assistant_id=AssistantId("\ud800"))) == []

    async def test_list_runs_filters_dead_letters(self, storage: RunStorage) -> None:
        dead = await storage.lost(await storage.accept(ThreadId("t-1")), max_attempts=1)
        await storage.accept(ThreadId("t-2"))
        assert await _list(storage, RunFilter(dead_letters_only=True)) == [dead.run_id]

    async def test_delete_run_requires_an_actor(self, storage: RunStorage) -> None:
        run = await storage.accept()
        with pytest.raises(ActorRequired):
            await storage.delete.delete_run(run.run_id)

    async def test_delete_run_removes_an_ended_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        await storage.ended(run)
        assert await _delete(storage, run.run_id)
        assert await storage.run(run.run_id) is None
        assert not await _delete(storage, run.run_id)
        assert not await _delete(storage, RunId("\ud800"))

    async def test_delete_run_refuses_a_held_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        lease = await storage.held(run)
        with pytest.raises(ThreadBusy) as busy:
            await _delete(storage, run.run_id)
        assert busy.value.run_ids == (run.run_id,)
        await storage.leases.begin(lease, None)

    async def test_delete_run_removes_a_waiting_run(self, storage: RunStorage) -> None:
        run = await storage.accept()
        behind = await storage.accept()
        rings = storage.bell.rings
        assert await _delete(storage, run.run_id)
        assert storage.bell.rings > rings
        assert await storage.leases.list_claimable(10) == [behind.run_id]

    async def test_delete_run_updates_the_status_of_the_thread(self, storage: RunStorage) -> None:
        one, two = await storage.accept(), await storage.accept()
        await _delete(storage, one.run_id)
        assert (await storage.thread()).status == "busy"
        await _delete(storage, two.run_id)
        assert (await storage.thread()).status == "idle"


async def _list(storage: RunStorage, where: RunFilter, *, limit: int = 10, offset: int = 0) -> list[RunId]:
    with acting(storage.actor):
        return [run.run_id for run in await storage.query.list_runs(where, limit=limit, offset=offset)]


async def _latest(storage: RunStorage, thread_id: ThreadId = ThreadId("t-1")) -> RunId | None:
    with acting(storage.actor):
        run = await storage.query.get_latest_run(thread_id)
    return None if run is None else run.run_id


async def _delete(storage: RunStorage, run_id: RunId) -> bool:
    with acting(storage.actor):
        return await storage.delete.delete_run(run_id)
