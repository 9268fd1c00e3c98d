"""The conformance suite of the SteeringStore port.

Subclass it and provide ``storage`` (the run stores) and ``steering``, over the same database and clock. The stores must
accept at most ``LIMITS`` messages on a thread.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.runtime.runs.exceptions import LeaseLost, RunConflict
from runstead.runtime.runs.steering import (
    MessageId,
    MessageLimits,
    MessageNotFound,
    MessageNotWaiting,
    TakenMessage,
    TakingTask,
    TooManyMessages,
)
from runstead.runtime.runs.store import CreatedRun, SteeringStore
from runstead.runtime.runs.types import Idempotency, Lease, Outcome, RunId, RunStatus, ThreadId, ThreadOutcome, WorkerId

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, DONE, STATELESS, TERM, RunStorage, a_spec, decide

LIMITS: Final = MessageLimits(count=5, content_bytes=2_000)
T1: Final = ThreadId("t-1")
TASK: Final = TakingTask("task-1", "", "c-1", 1)
LATER: Final = TakingTask("task-2", "", "c-2", 2)
ASKED: Final = Outcome(RunStatus.SUCCESS, ThreadOutcome(status="interrupted", interrupts=b'{"task":[{"id":"i"}]}'))


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"type": "human", "content": text, "id": f"id-{text}"}]}


async def send(storage: RunStorage, text: str, **fields: Any) -> CreatedRun:
    return await storage.created(T1, input=said(text), multitask_strategy="steer", **fields)


async def begun(storage: RunStorage, run_id: RunId, worker: str = "w-1") -> Lease:
    lease = await storage.leases.claim(run_id, WorkerId(worker), TERM)
    assert lease is not None
    return await storage.leases.begin(lease, None)


async def working(storage: RunStorage, *texts: str) -> tuple[Lease, list[MessageId]]:
    """Begin a run on the thread, and send messages to it. Return its lease and the messages."""
    lease = await begun(storage, (await storage.accept(T1)).run_id)
    sent = [await send(storage, text) for text in texts]
    return lease, [one.message.message_id for one in sent if one.message is not None]


def texts_of(messages: Any) -> list[str]:
    return [message["content"] for one in messages for message in one.messages]


def taken_by(lease: Lease, message_id: MessageId, task: TakingTask = TASK) -> TakenMessage:
    return TakenMessage(message_id, lease.run_id, lease.attempt, task)


class SteeringStoreConformance:
    """The suite of SteeringStore. Subclass it and provide ``storage`` and ``steering``."""

    async def test_steer_stores_a_message_for_the_run_in_flight_and_creates_no_run(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, _ = await working(storage)
        created = await send(storage, "hello")
        assert created.message is not None
        assert (created.record.run_id, created.record.message_id) == (lease.run_id, created.message.message_id)
        with acting(ALICE):
            (found,) = await steering.list(T1)
            assert found == await steering.get(T1, created.message.message_id)
        assert (found.status, found.run_id, found.created_at) == ("waiting", lease.run_id, storage.clock.now())
        assert texts_of([found]) == ["hello"]

    async def test_steer_creates_a_run_if_none_of_the_user_and_the_assistant_is_in_flight(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        alone = await send(storage, "first")
        other = await send(storage, "other", assistant_id="a-2")
        assert (alone.message, other.message) == (None, None)
        assert other.record.assistant_id == "a-2"
        with acting(ALICE):
            assert await steering.list(T1) == []
        temporary = await storage.accept(None, scope=STATELESS)
        sent = await storage.created(temporary.thread_id, input=said("x"), multitask_strategy="steer")
        assert sent.message is None

    async def test_messages_of_a_thread_are_limited_in_number_and_bytes(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        _, ids = await working(storage, *"abcde")
        with pytest.raises(TooManyMessages, match="5 messages"):
            await send(storage, "f")
        with acting(ALICE):
            await steering.withdraw(T1, ids[0])
        with pytest.raises(TooManyMessages, match="bytes"):
            await send(storage, "x" * LIMITS.content_bytes)
        await send(storage, "f")

    async def test_repeated_request_stores_one_message(self, storage: RunStorage, steering: SteeringStore) -> None:
        again = Idempotency("key", "print")
        await working(storage)
        first, second = [await send(storage, "once", idempotency=again) for _ in range(2)]
        assert first.message is not None
        assert second.message is not None
        assert first.message.message_id == second.message.message_id
        with acting(ALICE):
            assert len(await steering.list(T1)) == 1

    async def test_id_of_another_message_is_refused(self, storage: RunStorage, steering: SteeringStore) -> None:
        await working(storage)
        first, second = [await send(storage, "once", run_id=RunId("m-1")) for _ in range(2)]
        assert (first.message, second.repeated) == (second.message, True)
        with pytest.raises(RunConflict):
            await send(storage, "another text", run_id=RunId("m-1"))
        for stranger, thread_id in ((ALICE, "t-2"), (BOB, "t-3"), (ALICE_ELSEWHERE, "t-4")):
            with acting(stranger):
                await storage.create.create_runs([a_spec(ThreadId(thread_id))], decide)
                same = a_spec(ThreadId(thread_id), input=said("once"), multitask_strategy="steer", run_id=RunId("m-1"))
                with pytest.raises(RunConflict):
                    await storage.create.create_runs([same], decide)
        with acting(ALICE):
            assert [texts_of([one]) for one in await steering.list(T1)] == [["once"]]

    async def test_take_returns_messages_in_order_and_repeats_them_for_the_same_task_only(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, ids = await working(storage, "a", "b")
        assert texts_of((await steering.take(lease, TASK)).messages) == ["a", "b"]
        await send(storage, "c")
        assert texts_of((await steering.take(lease, LATER)).messages) == ["c"]
        assert texts_of((await steering.take(lease, TASK)).messages) == ["a", "b"]
        with acting(ALICE), pytest.raises(MessageNotWaiting, match="delivered"):
            await steering.withdraw(T1, ids[0])

    async def test_take_leaves_messages_of_other_users_and_assistants(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, _ = await working(storage)
        await storage.accept(T1, assistant_id="a-2")
        assert (await send(storage, "for another", assistant_id="a-2")).message is not None
        assert (await steering.take(lease, TASK)).messages == ()

    async def test_resolve_delivers_messages_and_lets_the_others_wait_again(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, (first, second) = await working(storage, "a", "b")
        await steering.take(lease, TASK)
        taken = [taken_by(lease, first), taken_by(lease, second)]
        assert list(await steering.resolve(taken, [second])) == [second]
        assert list(await steering.resolve(taken, [second])) == []
        with acting(ALICE):
            shown = await steering.list(T1)
        assert [(one.status, texts_of([one])) for one in shown] == [("waiting", ["a"]), ("delivered", [])]
        assert texts_of((await steering.take(lease, LATER)).messages) == ["a"]

    async def test_late_attempt_neither_takes_nor_resolves(self, storage: RunStorage, steering: SteeringStore) -> None:
        lease, (message,) = await working(storage, "a")
        await steering.take(lease, TASK)
        await storage.clock.advance(TERM + timedelta(seconds=1))
        await storage.leases.recover(lease.run_id, 3)
        second = await begun(storage, lease.run_id, "w-2")
        with pytest.raises(LeaseLost):
            await steering.take(lease, TASK)
        taking = await steering.take(second, TASK)
        assert (taking.messages, list(taking.unresolved)) == ((), [taken_by(lease, message)])
        await steering.resolve(taking.unresolved, [])
        assert texts_of((await steering.take(second, TASK)).messages) == ["a"]
        assert list(await steering.resolve([taken_by(lease, message)], [message])) == []
        assert list(await steering.resolve([taken_by(second, message)], [message])) == [message]

    async def test_move_starts_a_run_with_the_first_message_once_the_thread_is_idle(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, (first, second) = await working(storage, "a", "b")
        assert await steering.move(T1) is None
        assert list(await steering.list_idle()) == []
        assert (await storage.leases.settle(lease, DONE)).has_messages
        assert list(await steering.list_idle()) == [T1]
        moved, again = await asyncio.gather(steering.move(T1), steering.move(T1))
        done = moved or again
        assert done is not None
        assert moved is None or again is None
        assert (done.message_id, done.run.spec.input, done.run.actor.user_id) == (first, said("a"), "alice")
        assert done.run.spec.multitask_strategy == "enqueue"
        with acting(ALICE):
            shown = await steering.list(T1)
            assert await storage.query.get_run(done.run.run_id) is not None
        assert [(one.status, one.run_id) for one in shown] == [("moved", done.run.run_id), ("waiting", lease.run_id)]
        following = await begun(storage, done.run.run_id)
        assert texts_of((await steering.take(following, TASK)).messages) == ["b"]
        await steering.resolve([taken_by(following, second)], [second])
        assert not (await storage.leases.settle(following, DONE)).has_messages

    async def test_move_waits_for_the_answer_to_a_question(self, storage: RunStorage, steering: SteeringStore) -> None:
        lease, _ = await working(storage, "a")
        await storage.leases.settle(lease, ASKED)
        assert await steering.move(T1) is None
        assert list(await steering.list_idle()) == []
        answering = await begun(storage, (await storage.accept(T1)).run_id)
        assert texts_of((await steering.take(answering, TASK)).messages) == ["a"]

    async def test_idle_threads_are_listed_beside_any_number_that_wait_for_answers(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        idle, asking = [ThreadId("t-0"), ThreadId("t-3")], [ThreadId("t-1"), ThreadId("t-2"), ThreadId("t-4")]
        for thread_id in [*idle, *asking]:
            lease = await begun(storage, (await storage.accept(thread_id)).run_id)
            await storage.created(thread_id, input=said("a"), multitask_strategy="steer")
            await storage.leases.settle(lease, ASKED if thread_id in asking else DONE)
            await storage.clock.advance(timedelta(seconds=1))
        assert sorted(await steering.list_idle(1)) == idle

    async def test_message_that_an_ended_run_took_is_unresolved_and_moves_afterwards(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, (message,) = await working(storage, "a")
        await steering.take(lease, TASK)
        assert list(await steering.list_unresolved(T1)) == []
        await storage.leases.settle(lease, DONE)
        assert await steering.move(T1) is None
        unresolved = await steering.list_unresolved(T1)
        assert list(unresolved) == [taken_by(lease, message)]
        await steering.resolve(unresolved, [])
        moved = await steering.move(T1)
        assert moved is not None
        assert moved.message_id == message

    @pytest.mark.parametrize("stranger", [BOB, ALICE_ELSEWHERE], ids=["another user", "another tenant"])
    async def test_messages_of_another_user_look_missing(
        self, storage: RunStorage, steering: SteeringStore, stranger: ActorContext
    ) -> None:
        _, (message,) = await working(storage, "a")
        with acting(stranger):
            assert await steering.list(T1) == []
            with pytest.raises(MessageNotFound):
                await steering.get(T1, message)
            with pytest.raises(MessageNotFound):
                await steering.withdraw(T1, message)
        with acting(ALICE):
            for thread_id, message_id in ((ThreadId("t-2"), message), (T1, "\0"), (ThreadId("\0"), message)):
                with pytest.raises(MessageNotFound):
                    await steering.get(thread_id, message_id)
        with pytest.raises(ActorRequired):
            await steering.list(T1)

    async def test_message_of_another_user_of_a_shared_thread_starts_a_run_of_that_user(
        self, storage: RunStorage, steering: SteeringStore
    ) -> None:
        lease, _ = await working(storage)
        with acting(BOB.with_access_to(T1)):
            (created,) = await storage.create.create_runs(
                [a_spec(T1, input=said("bob's"), multitask_strategy="steer")], decide
            )
        assert (created.message, created.record.actor.user_id) == (None, "bob")
        assert (await steering.take(lease, TASK)).messages == ()

    async def test_messages_are_deleted_with_their_thread(self, storage: RunStorage, steering: SteeringStore) -> None:
        lease, _ = await working(storage, "a")
        await storage.leases.settle(lease, DONE)
        with acting(ALICE):
            await storage.threads.delete(T1)
            await storage.threads.create(thread_id=T1)
            assert await steering.list(T1) == []
