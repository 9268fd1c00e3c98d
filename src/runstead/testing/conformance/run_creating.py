"""The part of the run store suite about the creation of runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import pytest

from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.runtime.runs.exceptions import (
    IdempotencyMismatch,
    RunConflict,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from runstead.runtime.runs.store import Admission, Admit, CreatedRun
from runstead.runtime.runs.types import (
    AssistantId,
    CheckpointRef,
    Idempotency,
    MultitaskStrategy,
    Outcome,
    RunCommand,
    RunId,
    RunScope,
    RunSpec,
    RunStatus,
    StopReason,
    ThreadId,
    WorkerId,
)

from .run_storage import ALICE_ELSEWHERE, BOB, DONE, STATELESS, RunStorage, a_spec, decide

AGAIN: Final = Idempotency("the same", "as before")
EXISTING: Final = RunScope(if_not_exists="reject")
HARD: Final[tuple[object, ...]] = (2**70, -(2**64), "\ud800 half", "nul \0", float("inf"), 1e308, {"": {}}, "\u2028")


class RunCreating:
    async def test_create_stores_the_run_as_returned(self, storage: RunStorage) -> None:
        run = await storage.accept(
            run_id="r-1", input={"messages": [{"role": "user", "content": "grüße"}]}, metadata={"k": [1, {"x": None}]}
        )
        now = storage.clock.now()
        assert (run.run_id, run.thread_id, run.assistant_id) == ("r-1", "t-1", "a-1")
        assert (run.status, run.attempt, run.lost_attempts, run.dead_letter) == (RunStatus.PENDING, 0, 0, False)
        assert (run.created_at, run.updated_at, run.due_at) == (now, now, now)
        assert run.actor == storage.actor
        assert await storage.run(RunId("r-1")) == run

    async def test_create_writes_the_thread_config_to_the_thread_only(self, storage: RunStorage) -> None:
        first = await storage.accept(thread_config={"tags": ["a"], "configurable": {}})
        assert (await storage.thread()).config == {"tags": ["a"], "configurable": {}}
        assert first.spec.thread_config is None
        assert await storage.stands(first) == first
        await storage.accept()
        assert (await storage.thread()).config == {"tags": ["a"], "configurable": {}}
        await storage.accept(thread_config={"configurable": {"k": "grüße"}})
        assert (await storage.thread()).config == {"configurable": {"k": "grüße"}}
        await storage.accept(thread_config={"recursion_limit": 3}, after_seconds=60)
        assert (await storage.thread()).config == {"recursion_limit": 3}

    async def test_create_stores_every_field_of_the_spec(self, storage: RunStorage) -> None:
        spec = RunSpec(
            assistant_id=AssistantId("a-2"),
            graph_id="g-2",
            thread_id=ThreadId("t-9"),
            run_id=RunId("r-9"),
            scope=RunScope(kind="stateless", if_not_exists="create", on_completion="keep"),
            input=[1, 2.5, None, True, "x", {"y": []}],
            command=RunCommand(resume={"i": None}, has_resume=True, update=[["k", 1]], goto=("n", {"node": "m"})),
            config={"configurable": {"model": "m"}, "tags": ["a"], "recursion_limit": 7},
            context={"who": "me"},
            metadata={"m": 1},
            stream_modes=("updates", "messages-tuple"),
            stream_subgraphs=True,
            stream_resumable=True,
            checkpoint=CheckpointRef("c-1", "child:1", {"": "c-0"}),
            durability="exit",
            interrupt_before=("a", "b"),
            interrupt_after=("*",),
            multitask_strategy="rollback",
            on_disconnect="cancel",
            after_seconds=3,
            timeout_seconds=1.5,
            max_attempts=2,
            idempotency=Idempotency("k-1", "f-1"),
        )
        (created,) = await storage.accept_all([spec])
        assert created.record.spec == spec
        found = await storage.run(RunId("r-9"))
        assert found is not None
        assert found.spec == spec

    @pytest.mark.parametrize("hard", HARD, ids=ascii)
    async def test_create_stores_values_beyond_strict_json_unchanged(self, storage: RunStorage, hard: object) -> None:
        run = await storage.accept(input={"it": [hard, None]}, metadata={"it": hard})
        found = await storage.stands(run)
        assert found.spec.input == {"it": [hard, None]}
        assert found.metadata == {"it": hard}

    async def test_create_stores_nan_as_nan(self, storage: RunStorage) -> None:
        run = await storage.accept(input={"it": float("nan"), "nothing": None})
        found = (await storage.stands(run)).spec.input
        assert found["it"] != found["it"]
        assert found["nothing"] is None

    async def test_create_requires_an_actor(self, storage: RunStorage) -> None:
        with pytest.raises(ActorRequired):
            await storage.create.create_runs([a_spec()], decide)

    async def test_create_without_ids_makes_new_ones(self, storage: RunStorage) -> None:
        one = await storage.accept(None)
        two = await storage.accept(None)
        assert len({one.run_id, two.run_id, one.thread_id, two.thread_id}) == 4
        assert await storage.has_thread(one.thread_id)

    async def test_create_with_an_existing_run_id_of_any_user_is_a_conflict(self, storage: RunStorage) -> None:
        await storage.accept(run_id="r-1")
        with pytest.raises(RunConflict):
            await storage.accept(run_id="r-1")
        storage.actor = BOB
        with pytest.raises(RunConflict):
            await storage.accept(ThreadId("t-2"), run_id="r-1")

    async def test_create_makes_a_thread_only_if_the_scope_allows_it(self, storage: RunStorage) -> None:
        with pytest.raises(ThreadNotFound):
            await storage.accept(ThreadId("t-none"), scope=EXISTING)
        await storage.accept(ThreadId("t-none"))
        await storage.accept(ThreadId("t-none"), scope=EXISTING)

    async def test_create_of_a_stateless_run_makes_its_thread(self, storage: RunStorage) -> None:
        run = await storage.accept(None, scope=STATELESS)
        assert await storage.has_thread(run.thread_id)

    @pytest.mark.parametrize("scope", [EXISTING, RunScope(if_not_exists="create"), STATELESS])
    @pytest.mark.parametrize("stranger", [BOB, ALICE_ELSEWHERE])
    async def test_create_on_a_foreign_thread_raises_thread_not_found(
        self, storage: RunStorage, scope: RunScope, stranger: ActorContext
    ) -> None:
        run = await storage.accept(ThreadId("t-1"))
        storage.actor = stranger
        with pytest.raises(ThreadNotFound):
            await storage.accept(ThreadId("t-1"), scope=scope)
        assert await storage.run(run.run_id) is None

    async def test_create_marks_the_thread_busy_with_its_graph_and_assistant(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"), metadata={"mine": 1, "graph_id": "old"})
        await storage.accept(ThreadId("t-1"))
        thread = await storage.thread(ThreadId("t-1"))
        assert thread.status == "busy"
        assert thread.metadata == {"mine": 1, "graph_id": "g-1", "assistant_id": "a-1"}

    async def test_create_numbers_runs_of_a_thread_in_order(self, storage: RunStorage) -> None:
        runs = [await storage.accept() for _ in range(3)]
        places = [run.queue_seq for run in runs]
        assert places == sorted(set(places))

    async def test_create_passes_runs_in_flight_to_decide_oldest_first(self, storage: RunStorage) -> None:
        asked: list[tuple[MultitaskStrategy, list[RunId]]] = []

        def remember(strategy: MultitaskStrategy, in_flight: Sequence[RunId]) -> Admission:
            asked.append((strategy, list(in_flight)))
            return Admit()

        ended = await storage.accept()
        await storage.ended(ended)
        held = await storage.accept()
        await storage.held(held)
        delayed = await storage.accept(after_seconds=60)
        waiting = await storage.accept()
        await storage.accept(ThreadId("t-2"))
        with acting(storage.actor):
            await storage.create.create_runs([a_spec(ThreadId("t-1"), multitask_strategy="interrupt")], remember)
        assert asked == [("interrupt", [held.run_id, delayed.run_id, waiting.run_id])]

    async def test_delayed_run_counts_as_in_flight(self, storage: RunStorage) -> None:
        delayed = await storage.accept(after_seconds=60)
        assert delayed.due_at == storage.clock.now() + timedelta(seconds=60)
        for after_seconds in (0, 100):
            with pytest.raises(ThreadBusy) as busy:
                await storage.accept(ThreadId("t-1"), multitask_strategy="reject", after_seconds=after_seconds)
            assert busy.value.run_ids == (delayed.run_id,)

    async def test_create_of_a_delayed_run_marks_the_thread_busy(self, storage: RunStorage) -> None:
        await storage.new_thread(ThreadId("t-1"))
        await storage.accept(ThreadId("t-1"), after_seconds=60)
        await storage.accept(ThreadId("t-2"), after_seconds=60)
        assert (
            (await storage.thread(ThreadId("t-1"))).status == (await storage.thread(ThreadId("t-2"))).status == "busy"
        )

    @pytest.mark.parametrize(("strategy", "is_left"), [("interrupt", True), ("rollback", False)])
    async def test_interrupt_and_rollback_end_a_delayed_run(
        self, storage: RunStorage, strategy: MultitaskStrategy, is_left: bool
    ) -> None:
        delayed = await storage.accept(after_seconds=60)
        with acting(storage.actor):
            (created,) = await storage.create.create_runs(
                [a_spec(ThreadId("t-1"), multitask_strategy=strategy)], decide
            )
        assert [(one.run_id, one.status) for one in created.ended] == [(delayed.run_id, RunStatus.INTERRUPTED)]
        assert (await storage.run(delayed.run_id) is not None) is is_left
        assert await storage.leases.list_claimable(10) == [created.record.run_id]

    async def test_create_with_a_negative_delay_is_due_at_once(self, storage: RunStorage) -> None:
        run = await storage.accept(after_seconds=-60)
        assert run.due_at == storage.clock.now()

    async def test_create_that_is_refused_leaves_nothing(self, storage: RunStorage) -> None:
        first = await storage.accept()
        with pytest.raises(ThreadBusy) as busy:
            await storage.accept(run_id="r-2", multitask_strategy="reject")
        assert busy.value.run_ids == (first.run_id,)
        assert await storage.run(RunId("r-2")) is None

    async def test_interrupt_flags_the_held_run_and_ends_waiting_ones(self, storage: RunStorage) -> None:
        held = await storage.accept()
        await storage.begun(held)
        waiting = await storage.accept()
        created = await storage.created(multitask_strategy="interrupt")
        assert created.stopping == (held.run_id,)
        assert [ended.run_id for ended in created.ended] == [waiting.run_id]
        assert (await storage.stands(held)).stop_requested is StopReason.SUPERSEDED
        ended = await storage.stands(waiting)
        assert (ended.status, ended.ended_at) == (RunStatus.INTERRUPTED, storage.clock.now())
        assert ended == created.ended[0]
        assert await storage.leases.claim(waiting.run_id, WorkerId("w-2"), timedelta(seconds=1)) is None

    async def test_rollback_flags_the_held_run_and_deletes_waiting_ones(self, storage: RunStorage) -> None:
        held = await storage.accept()
        await storage.begun(held)
        waiting = await storage.accept()
        created = await storage.created(multitask_strategy="rollback")
        assert created.stopping == (held.run_id,)
        assert [(ended.run_id, ended.status) for ended in created.ended] == [(waiting.run_id, RunStatus.INTERRUPTED)]
        assert (await storage.stands(held)).stop_requested is StopReason.SUPERSEDED_ROLLBACK
        assert await storage.run(waiting.run_id) is None

    async def test_rollback_flags_a_waiting_run_that_has_begun(self, storage: RunStorage) -> None:
        begun = await storage.accept()
        await storage.lost(begun)
        created = await storage.created(multitask_strategy="rollback")
        assert (created.stopping, created.ended) == ((begun.run_id,), ())
        lease = await storage.held(begun)
        assert lease.run.stop_requested is StopReason.SUPERSEDED_ROLLBACK

    async def test_create_of_a_batch_sees_its_earlier_runs(self, storage: RunStorage) -> None:
        specs = [
            a_spec(ThreadId("t-1")),
            a_spec(ThreadId("t-1"), multitask_strategy="interrupt"),
            a_spec(ThreadId("t-2")),
        ]
        first, second, third = await storage.accept_all(specs)
        assert first.record.status is RunStatus.INTERRUPTED
        assert [ended.run_id for ended in second.ended] == [first.record.run_id]
        assert set(await storage.leases.list_claimable(10)) == {second.record.run_id, third.record.run_id}

    async def test_create_of_a_batch_is_atomic(self, storage: RunStorage) -> None:
        await storage.accept(ThreadId("t-1"))
        with pytest.raises(ThreadBusy):
            await storage.accept_all(
                [a_spec(ThreadId("t-2"), run_id="r-2"), a_spec(ThreadId("t-1"), multitask_strategy="reject")]
            )
        assert await storage.run(RunId("r-2")) is None
        assert not await storage.has_thread(ThreadId("t-2"))

    async def test_create_with_a_used_key_returns_the_current_run(self, storage: RunStorage) -> None:
        first = await storage.accept(run_id="r-1", idempotency=AGAIN)
        await storage.begun(first)
        # The thread is busy, and would refuse any other request.
        again = await storage.created(run_id="r-2", idempotency=AGAIN, multitask_strategy="reject")
        assert (again.repeated, again.record) == (True, await storage.run(RunId("r-1")))
        assert again.record.status is RunStatus.RUNNING
        assert await storage.run(RunId("r-2")) is None

    async def test_concurrent_creates_with_one_key_create_one_run(self, storage: RunStorage) -> None:
        created = await asyncio.gather(*(storage.created(None, scope=STATELESS, idempotency=AGAIN) for _ in range(20)))
        assert len({one.record.run_id for one in created}) == 1
        assert [one.repeated for one in created].count(False) == 1
        assert len(await storage.leases.list_claimable(100)) == 1

    async def test_create_with_a_used_key_and_another_request_is_refused(self, storage: RunStorage) -> None:
        first = await storage.accept(idempotency=AGAIN)
        with pytest.raises(IdempotencyMismatch) as refused:
            await storage.accept(idempotency=Idempotency(AGAIN.key, "another"))
        assert refused.value.run_id == first.run_id

    @pytest.mark.parametrize("stranger", [BOB, ALICE_ELSEWHERE])
    async def test_idempotency_keys_are_separate_per_user(self, storage: RunStorage, stranger: ActorContext) -> None:
        mine = await storage.created(ThreadId("t-1"), idempotency=AGAIN)
        storage.actor = stranger
        theirs = await storage.created(ThreadId("t-2"), idempotency=AGAIN)
        assert not theirs.repeated
        assert theirs.record.run_id != mine.record.run_id

    async def test_idempotency_key_of_a_refused_run_is_free(self, storage: RunStorage) -> None:
        await storage.accept(ThreadId("t-1"))
        with pytest.raises(ThreadBusy):
            await storage.accept(ThreadId("t-1"), multitask_strategy="reject", idempotency=AGAIN)
        assert not (await storage.created(ThreadId("t-1"), idempotency=AGAIN)).repeated

    async def test_create_with_the_key_of_a_deleted_run_raises_run_not_found(self, storage: RunStorage) -> None:
        run = await storage.accept(idempotency=AGAIN)
        await storage.ended(run)
        with acting(storage.actor):
            await storage.delete.delete_run(run.run_id)
        with pytest.raises(RunNotFound):
            await storage.accept(idempotency=AGAIN)

    async def test_create_gives_a_new_thread_the_metadata_of_its_first_run(self, storage: RunStorage) -> None:
        run = await storage.accept(ThreadId("t-1"), metadata={"owner": "alice", "graph_id": "g-0"})
        assert (await storage.thread(run.thread_id)).metadata == {
            "owner": "alice",
            "graph_id": "g-1",
            "assistant_id": "a-1",
        }

    async def test_create_of_an_empty_batch_returns_nothing(self, storage: RunStorage) -> None:
        assert list(await storage.accept_all([])) == []

    async def test_create_rings_the_bell(self, storage: RunStorage) -> None:
        before = storage.bell.rings
        await storage.accept(ThreadId("t-1"))
        assert storage.bell.rings > before
        before = storage.bell.rings
        await storage.accept(ThreadId("t-2"), after_seconds=60)
        assert storage.bell.rings > before

    @pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback", "enqueue"])
    async def test_concurrent_creates_on_a_thread_leave_at_most_one_claimable(
        self, storage: RunStorage, strategy: MultitaskStrategy
    ) -> None:
        lease = await storage.begun(await storage.accept())
        tries = [storage.created(run_id=f"r-{n}", multitask_strategy=strategy) for n in range(50)]
        created = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(one, ThreadBusy) for one in created) == (50 if strategy == "reject" else 0)
        assert not [one for one in created if isinstance(one, BaseException) and not isinstance(one, ThreadBusy)]
        assert await storage.leases.list_claimable(100) == []
        rolled_back = strategy == "rollback"
        await storage.leases.settle(lease, Outcome(RunStatus.INTERRUPTED, rolled_back=True) if rolled_back else DONE)
        accepted = [one.record for one in created if isinstance(one, CreatedRun)]
        order = [run.run_id for run in sorted(accepted, key=lambda run: run.queue_seq)]
        next_up = {"reject": [], "enqueue": order[:1], "interrupt": order[-1:], "rollback": order[-1:]}
        assert await storage.leases.list_claimable(100) == next_up[strategy]
        left = [run for run_id in order if (run := await storage.run(run_id)) is not None]
        assert len(left) == {"reject": 0, "enqueue": 50, "interrupt": 50, "rollback": 1}[strategy]
