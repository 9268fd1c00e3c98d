"""The conformance suite of the ApprovalStore port, and of the run stores that create and close approvals.

Subclass it and provide ``storage`` (the run stores) and ``approvals``, over the same database and clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runstead.resources.approvals import (
    ApprovalClosed,
    ApprovalFilter,
    ApprovalId,
    ApprovalNotFound,
    ApprovalRecord,
    ApprovalStore,
)
from runstead.runtime.actor_context import AccessScope, ActorContext, ActorRequired, acting
from runstead.runtime.runs.approvals import RULES, ApprovalAnswer
from runstead.runtime.runs.types import (
    Outcome,
    RunCommand,
    RunFailure,
    RunRecord,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadOutcome,
)
from runstead.runtime.serialization import encode

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, DONE, RunStorage

X, Y = "0" * 31 + "a", "0" * 31 + "b"
ANY = ApprovalFilter(state=None)
SECOND = timedelta(seconds=1)


def asking(*ids: str, value: object = "may I?", status: RunStatus = RunStatus.SUCCESS, **more: Any) -> Outcome:
    """Return the outcome of a run that leaves its thread with these questions."""
    interrupts = encode({f"task-{one}": [{"id": one, "value": value, **more}] for one in ids})
    failure = RunFailure("E", "failed") if status is RunStatus.ERROR else None
    return Outcome(status, ThreadOutcome("interrupted", b"{}", interrupts), failure)


def resuming(resume: object) -> dict[str, Any]:
    return {"command": RunCommand(resume=resume, has_resume=True)}


class ApprovalStoreConformance:
    """The suite of ApprovalStore. Subclass it and provide ``storage`` and ``approvals``."""

    async def test_run_that_ends_with_a_question_creates_an_approval(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        run = await storage.accept()
        await storage.ended(run, asking(X, value={"question": "may I?"}, response_schema={"type": "boolean"}))
        (approval,) = await _all(approvals)
        assert (approval.state, approval.thread_id, approval.run_id) == ("open", run.thread_id, run.run_id)
        assert (approval.interrupt_id, approval.question) == (X, {"question": "may I?"})
        assert (approval.response_schema, approval.graph_id) == ({"type": "boolean"}, "g-1")
        assert (approval.assistant_id, approval.user_id, approval.deadline_at) == ("a-1", "alice", None)
        assert await _kinds(approvals, approval) == ["requested"]

    async def test_every_question_of_a_run_is_an_approval_of_its_own(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X, Y)
        await storage.ended(await storage.accept(**resuming({X: True})), asking(Y))
        found = {one.interrupt_id: one for one in await _all(approvals)}
        assert {name: (one.state, one.decision) for name, one in found.items()} == {
            X: ("answered", True),
            Y: ("open", None),
        }

    async def test_temporary_thread_gets_no_approval(self, storage: RunStorage, approvals: ApprovalStore) -> None:
        from .run_storage import STATELESS

        await storage.ended(await storage.accept(None, scope=STATELESS), asking(X))
        assert await _all(approvals) == []

    async def test_run_with_an_answer_closes_the_approval_when_it_is_created(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        await storage.clock.advance(SECOND)
        answer = await storage.accept(**resuming("yes"))
        (approval,) = await _all(approvals)
        assert (approval.state, approval.decision, approval.answered_by) == ("answered", "yes", "user")
        assert (approval.decider, approval.answer_run_id) == ("alice", answer.run_id)
        assert approval.closed_at == storage.clock.now()
        await storage.ended(answer)
        assert await _kinds(approvals, approval) == ["requested", "answered"]

    async def test_run_with_another_input_withdraws_the_approval(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        await storage.ended(await storage.accept(input={"messages": []}))
        (approval,) = await _all(approvals)
        assert (approval.state, approval.decider) == ("withdrawn", None)
        assert await _kinds(approvals, approval) == ["requested", "withdrawn"]

    async def test_second_answer_to_an_approval_is_refused(self, storage: RunStorage, approvals: ApprovalStore) -> None:
        await _asked(storage, X)
        (approval,) = await _all(approvals)
        chosen = ApprovalAnswer(approval.approval_id, "carol", comment="fine")
        await storage.accept(**resuming({X: True}), approval=chosen)
        with pytest.raises(ApprovalClosed, match="answered by carol"):
            await storage.accept(**resuming({X: False}), approval=ApprovalAnswer(approval.approval_id, "dave"))
        (approval,) = await _all(approvals)
        assert (approval.decision, approval.decider) == (True, "carol")
        with acting(ALICE):
            assert [one.details for one in await approvals.events(approval.approval_id)] == [
                {},
                {"comment": "fine", "by": "user"},
            ]

    async def test_refused_answer_opens_the_approval_again(self, storage: RunStorage, approvals: ApprovalStore) -> None:
        await _asked(storage, X)
        await storage.ended(await storage.accept(**resuming("no")), asking(X, status=RunStatus.ERROR))
        (approval,) = await _all(approvals)
        assert (approval.state, approval.decision, approval.decider, approval.answer_run_id) == ("open",) + (None,) * 3
        assert await _kinds(approvals, approval) == ["requested", "answered", "reopened"]

    async def test_answer_whose_run_is_stopped_before_it_begins_opens_the_approval_again(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        answer = await storage.accept(**resuming("no"))
        await storage.leases.request_stop(answer.run_id, StopReason.BY_USER)
        (approval,) = await _all(approvals)
        assert approval.state == "open"

    async def test_next_question_of_the_same_node_is_a_new_approval(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        await storage.clock.advance(SECOND)
        await storage.ended(await storage.accept(**resuming("yes")), asking(X, value="sure?"))
        first, second = await _all(approvals)
        assert (first.state, first.question) == ("answered", "may I?")
        assert (second.state, second.question) == ("open", "sure?")

    async def test_run_without_input_that_asks_again_keeps_the_approval(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        await storage.ended(await storage.accept(), asking(X))
        (approval,) = await _all(approvals)
        assert approval.state == "open"

    async def test_delayed_run_takes_the_question_when_it_has_ended(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        later = await storage.accept(**resuming("yes"), after_seconds=60)
        (approval,) = await _all(approvals)
        assert approval.state == "open"
        await storage.clock.advance(timedelta(seconds=60))
        await storage.ended(later)
        (approval,) = await _all(approvals)
        assert (approval.state, approval.decision, approval.answer_run_id) == ("answered", "yes", later.run_id)

    async def test_delayed_run_takes_the_question_when_it_is_claimed(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        (approval,) = await _all(approvals)
        later = await storage.accept(input={"messages": []}, after_seconds=60)
        await storage.clock.advance(timedelta(seconds=60))
        lease = await storage.held(later)
        assert await _states(approvals) == {X: "withdrawn"}
        with pytest.raises(ApprovalClosed):
            await storage.accept(**resuming({X: True}), approval=ApprovalAnswer(approval.approval_id, "bob"))
        await storage.leases.settle(await storage.leases.begin(lease, None), asking(X))
        assert await _states(approvals) == {X: "open"}

    async def test_waiting_run_takes_the_question_that_an_earlier_run_asks(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        first = await storage.begun(await storage.accept())
        waiting = await storage.accept(input={"messages": []}, multitask_strategy="enqueue")
        await storage.leases.settle(first, asking(X))
        (approval,) = await _all(approvals)
        assert (approval.state, approval.answer_run_id) == ("withdrawn", waiting.run_id)
        assert await _kinds(approvals, approval) == ["requested", "withdrawn"]

    async def test_waiting_run_with_a_delay_leaves_the_question_open(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        first = await storage.begun(await storage.accept())
        await storage.accept(input={"messages": []}, multitask_strategy="enqueue", after_seconds=60)
        await storage.leases.settle(first, asking(X))
        assert await _states(approvals) == {X: "open"}

    async def test_dead_letter_that_is_retried_takes_the_question_again(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        answer = await storage.accept(**resuming("yes"))
        await storage.lost(answer, max_attempts=1)
        assert await _states(approvals) == {X: "open"}
        await storage.leases.retry(answer.run_id)
        (approval,) = await _all(approvals)
        assert (approval.state, approval.decision, approval.answer_run_id) == ("answered", "yes", answer.run_id)

    async def test_expired_approval_of_a_dropped_question_does_not_hide_the_next_one(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await self._expired(storage, approvals)
        await storage.clock.advance(SECOND)
        await storage.ended(await storage.accept(input={"messages": []}), asking(Y))
        assert await _states(approvals) == {X: "expired", Y: "open"}
        await storage.accept(**resuming("yes"))
        assert await _states(approvals) == {X: "expired", Y: "answered"}

    async def test_expired_approval_stays_expired_after_an_update_of_the_state(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await self._expired(storage, approvals)
        with acting(ALICE):
            await storage.threads.set_state(ThreadId("t-1"), asking(Y).thread)
        await storage.accept(**resuming("yes"))
        assert await _states(approvals) == {X: "expired", Y: "answered"}
        assert [one.answer_run_id for one in await _all(approvals) if one.interrupt_id == X] == [None]

    async def test_expired_approval_whose_question_stays_can_be_answered_by_a_run(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await self._expired(storage, approvals)
        stopped = await storage.accept(input={"messages": []})
        await storage.leases.request_stop(stopped.run_id, StopReason.BY_USER)
        await storage.ended(await storage.accept(), asking(X))
        assert await _states(approvals) == {X: "expired"}
        await storage.accept(**resuming("yes"))
        assert await _states(approvals) == {X: "answered"}

    async def _expired(self, storage: RunStorage, approvals: ApprovalStore) -> None:
        """Leave a thread with a question whose default answer came to nothing."""
        await _asked(storage, X, value={RULES: {"deadline": 60, "default": "no"}})
        (approval,) = await _all(approvals)
        default = ApprovalAnswer(approval.approval_id, by="deadline")
        run = await storage.accept(**resuming({X: "no"}), approval=default)
        await storage.ended(run, asking(X, status=RunStatus.ERROR))
        assert await _states(approvals) == {X: "expired"}

    async def test_state_update_withdraws_and_creates_approvals(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        with acting(ALICE):
            rules = {RULES: {"deadline": 60}}
            await storage.threads.set_state(ThreadId("t-1"), asking(Y, value=rules).thread)
        first, second = await _all(approvals)
        assert (first.interrupt_id, first.state, second.interrupt_id, second.state) == (X, "withdrawn", Y, "open")
        # A copy of a question must not be answered by default beside its original.
        assert (second.run_id, second.deadline_at) == (None, None)

    async def test_approvals_go_with_their_thread(self, storage: RunStorage, approvals: ApprovalStore) -> None:
        await _asked(storage, X)
        (approval,) = await _all(approvals)
        with acting(ALICE):
            assert await storage.threads.delete(ThreadId("t-1"))
            assert await approvals.get(approval.approval_id) is None
            assert await approvals.events(approval.approval_id) == []
            assert await approvals.events_of_thread(ThreadId("t-1")) == []

    async def test_search_filters_by_every_field_longest_waiting_first(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        runs = []
        for number in range(3):
            runs.append(await storage.accept(ThreadId(f"t-{number}"), graph_id=f"g-{number}"))
            await storage.ended(runs[-1], asking(X))
            await storage.clock.advance(SECOND)
        await storage.ended(await storage.accept(ThreadId("t-0"), **resuming(1)), DONE)
        with acting(ALICE):
            first = (await approvals.search(ANY))[1]
            await approvals.delegate(first.approval_id, "bob")

            async def threads(where: ApprovalFilter) -> list[str]:
                found: list[str] = [one.thread_id for one in await approvals.search(where)]
                assert await approvals.count(where) == len(found)
                return found

            assert await threads(ANY) == ["t-0", "t-1", "t-2"]
            assert await threads(ApprovalFilter()) == ["t-1", "t-2"]
            assert await threads(ApprovalFilter(None, ThreadId("t-2"))) == ["t-2"]
            assert await threads(ApprovalFilter(None, run_id=runs[0].run_id)) == ["t-0"]
            assert await threads(ApprovalFilter(graph_id="g-1")) == ["t-1"]
            assert await threads(ApprovalFilter(delegate="bob")) == ["t-1"]
            assert await threads(ApprovalFilter(graph_id="\0")) == []
            assert [one.thread_id for one in await approvals.search(ANY, limit=1, offset=1)] == ["t-1"]

    async def test_approval_is_only_of_its_owner_and_its_delegate(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        (approval,) = await _all(approvals)
        for actor in (BOB, ALICE_ELSEWHERE, ActorContext("bob", tenant_id="another")):
            await _assert_missing(approvals, approval.approval_id, actor)
        with acting(ALICE):
            changed = await approvals.delegate(approval.approval_id, "bob")
            assert changed.delegate == "bob"
        await _assert_missing(approvals, approval.approval_id, ActorContext("bob", tenant_id="another"))
        with acting(BOB):
            assert await approvals.get(approval.approval_id) == changed
            assert await approvals.search(ApprovalFilter()) == [changed]
            await approvals.comment(approval.approval_id, "later")
            asker = await approvals.asker(approval.approval_id)
            assert asker is not None
            assert asker.user_id == "alice"
        with acting(ALICE):
            await approvals.delegate(approval.approval_id, None)
        await _assert_missing(approvals, approval.approval_id, BOB)
        with acting(ALICE):
            events = await approvals.events_of_thread(ThreadId("t-1"))
        assert [(one.kind, one.user_id) for one in events] == [
            ("requested", None),
            ("delegated", "alice"),
            ("commented", "bob"),
            ("delegated", "alice"),
        ]

    async def test_access_to_the_thread_is_access_to_its_approvals(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await storage.new_thread(metadata={"team": "red"})
        await _asked(storage, X)
        for scope, count in (
            (AccessScope(threads={"team": "red"}), 1),
            (AccessScope(threads={"team": "blue"}), 0),
            (AccessScope(threads={}), 1),
            (AccessScope(thread_ids=frozenset({"t-1"})), 1),
        ):
            with acting(BOB.with_scope(scope)):
                assert await approvals.count(ANY) == count, scope

    async def test_closed_approval_is_not_delegated_but_commented(
        self, storage: RunStorage, approvals: ApprovalStore
    ) -> None:
        await _asked(storage, X)
        await storage.accept(**resuming(1))
        (approval,) = await _all(approvals)
        with acting(ALICE):
            with pytest.raises(ApprovalClosed):
                await approvals.delegate(approval.approval_id, "bob")
            await approvals.comment(approval.approval_id, "for the record")
        assert await _kinds(approvals, approval) == ["requested", "answered", "commented"]

    async def test_methods_need_an_actor(self, approvals: ApprovalStore) -> None:
        for call in (approvals.get(ApprovalId("a")), approvals.search(ANY), approvals.count(ANY)):
            with pytest.raises(ActorRequired):
                await call


async def _asked(storage: RunStorage, *ids: str, value: object = "may I?") -> RunRecord:
    return await storage.ended(await storage.accept(), asking(*ids, value=value))


async def _all(approvals: ApprovalStore) -> list[ApprovalRecord]:
    with acting(ALICE):
        return list(await approvals.search(ANY, limit=100))


async def _states(approvals: ApprovalStore) -> dict[str, str]:
    return {one.interrupt_id: one.state for one in await _all(approvals)}


async def _kinds(approvals: ApprovalStore, approval: ApprovalRecord) -> list[str]:
    with acting(ALICE):
        events = await approvals.events(approval.approval_id)
    assert [one.number for one in events] == list(range(1, len(events) + 1))
    return [one.kind for one in events]


async def _assert_missing(approvals: ApprovalStore, approval_id: ApprovalId, actor: ActorContext) -> None:
    with acting(actor):
        assert await approvals.get(approval_id) is None
        assert await approvals.count(ANY) == 0
        assert await approvals.events(approval_id) == []
        assert await approvals.asker(approval_id) is None
        for call in (approvals.delegate(approval_id, "eve"), approvals.comment(approval_id, "x")):
            with pytest.raises(ApprovalNotFound):
                await call
