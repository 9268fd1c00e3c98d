"""Reminders, escalations and deadlines on a manual clock, over both databases, with two nodes: each fires once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest

from runstead.infra.approvals.deadlines import ApprovalDeadlines
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.approval_changes import forget_closed
from runstead.infra.storage.approval_deadlines import SqlApprovalDeadlines
from runstead.infra.storage.approvals import SqlApprovalStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.resources.approvals import ApprovalFilter, ApprovalRecord, DueApproval, Fired
from runstead.runtime.actor_context import acting
from runstead.runtime.field_encryption import EncryptionFailed
from runstead.runtime.runs.approvals import RULES, ApprovalAnswer, ApprovalRules, GraphRules, InvalidApprovalRules
from runstead.runtime.runs.types import RunFilter, RunStatus, ThreadId
from runstead.testing.conformance.approval_store import X, asking, resuming
from runstead.testing.conformance.run_storage import ALICE, RunStorage
from runstead.wire.errors import Forbidden
from tests.servers.postgres import PostgresSchema

NO_RULES = GraphRules()


class Unreadable(SqlApprovalDeadlines):
    """Store that cannot read some approvals, as if a handler could not decrypt them."""

    unreadable: Collection[str] = ()

    async def fire(self, due: DueApproval) -> Fired | None:
        if due.approval_id in self.unreadable:
            raise EncryptionFailed("the handler has no key for this")
        return await super().fire(due)


class Node:
    """One process: its loop over deadlines, and what it has notified. ``fails`` makes default answers impossible."""

    def __init__(self, database: Database, storage: RunStorage) -> None:
        self.store = Unreadable(database, storage.clock, NO_RULES)
        self.storage, self.notified, self.fails = storage, list[str](), False
        self.loop = ApprovalDeadlines(self.store, self.answer, self.notify, WakeupSignal(), storage.clock)

    async def notify(self, thread_id: ThreadId) -> None:
        self.notified.append(thread_id)

    async def answer(self, record: ApprovalRecord) -> None:
        if self.fails:
            raise Forbidden("the key is revoked")
        answer = ApprovalAnswer(record.approval_id, by="deadline")
        await self.storage.accept(record.thread_id, **resuming({record.interrupt_id: record.default}), approval=answer)


class Play:
    """A database with two nodes."""

    def __init__(self, database: Database, storage: RunStorage) -> None:
        self.storage, self.database = storage, database
        self.approvals = SqlApprovalStore(database, storage.clock)
        self.one, self.two = Node(database, storage), Node(database, storage)

    async def ask(self, webhook: str | None = None, **rules: Any) -> ApprovalRecord:
        run = await self.storage.accept(webhook=webhook)
        await self.storage.ended(run, asking(X, value={"question": "may I?", RULES: rules}))
        return await self.now()

    async def now(self) -> ApprovalRecord:
        with acting(ALICE):
            (approval,) = await self.approvals.search(ApprovalFilter(state=None))
        return approval

    async def kinds(self) -> list[str]:
        with acting(ALICE):
            return [one.kind for one in await self.approvals.events_of_thread(ThreadId("t-1"))]

    async def runs(self) -> int:
        with acting(ALICE):
            return await self.storage.query.count_runs(RunFilter())

    async def after(self, seconds: float) -> None:
        """Advance the clock, and let both nodes fire at once."""
        await self.storage.clock.advance(timedelta(seconds=seconds))
        await asyncio.gather(self.one.loop.fire_due(), self.two.loop.fire_due())


class DeadlineSuite:
    """The suite, over one database."""

    @pytest.fixture
    def play(self, database: Database, storage: RunStorage) -> Play:
        return Play(database, storage)

    async def test_nothing_fires_before_its_time(self, play: Play) -> None:
        approval = await play.ask(deadline=100, remind_after=10)
        await play.after(9)
        assert (await play.kinds(), approval.state) == (["requested"], "open")
        assert await play.one.store.next_due() == approval.remind_at

    async def test_reminder_escalation_and_expiry_fire_once_on_two_nodes(self, play: Play) -> None:
        await play.ask(deadline=100, remind_after=10, escalate_after=50, escalate_to="bob")
        await play.after(10)
        assert (await play.kinds())[1:] == ["reminded"]
        await play.after(40)
        assert (await play.kinds())[2:] == ["escalated"]
        assert (await play.now()).delegate == "bob"
        await play.after(50)
        expired = await play.now()
        assert (await play.kinds())[3:] == ["expired"]
        assert (expired.state, expired.decider, expired.decision) == ("expired", None, None)
        await play.after(1_000)
        assert len(await play.kinds()) == 4
        assert await play.one.store.next_due() is None
        assert len(play.one.notified) + len(play.two.notified) == 3

    async def test_expired_approval_is_deleted_with_its_run_when_its_question_is_dropped(self, play: Play) -> None:
        approval = await play.ask(deadline=100)
        await play.after(100)
        assert approval.run_id is not None
        asked_by = [approval.run_id]
        await play.database.write(lambda connection: forget_closed(connection, asked_by))
        assert (await play.now()).state == "expired"
        await play.storage.ended(await play.storage.accept(input={"messages": []}))
        assert (await play.now()).state == "expired"
        await play.database.write(lambda connection: forget_closed(connection, asked_by))
        assert await play.kinds() == []

    async def test_default_answer_is_given_once_on_two_nodes(self, play: Play) -> None:
        await play.ask(deadline=100, default={"type": "reject"})
        await play.after(100)
        answered = await play.now()
        assert (answered.state, answered.answered_by, answered.decider) == ("answered", "deadline", None)
        assert (answered.decision, await play.runs()) == ({"type": "reject"}, 2)
        assert await play.kinds() == ["requested", "answered"]

    async def test_node_that_dies_between_claim_and_default_answer_is_replaced_by_another(self, play: Play) -> None:
        await play.ask(deadline=100, default=None)
        await play.storage.clock.advance(timedelta(seconds=100))
        (due,) = await play.one.store.due(10)
        fired = await play.one.store.fire(due)
        # The first node has decided to answer, and dies.
        assert fired is not None
        assert fired.asker is not None
        await play.two.loop.fire_due()
        assert ((await play.now()).answered_by, await play.runs()) == ("deadline", 2)
        # Or it was only slow: its answer comes to nothing.
        play.one.notified.clear()
        await play.one.loop._fire(due)
        assert (play.one.notified, await play.runs()) == ([], 2)

    async def test_answer_of_a_person_before_the_deadline_cancels_it(self, play: Play) -> None:
        await play.ask(deadline=100, remind_after=10, default=False)
        await play.storage.accept(**resuming(True))
        await play.after(200)
        assert ((await play.now()).decision, await play.kinds()) == (True, ["requested", "answered"])

    async def test_default_answer_that_is_impossible_expires_with_the_reason(self, play: Play) -> None:
        await play.ask(deadline=100, default=True)
        play.one.fails = play.two.fails = True
        await play.after(100)
        with acting(ALICE):
            event = (await play.approvals.events_of_thread(ThreadId("t-1")))[-1]
        assert (event.kind, event.details["reason"]) == (
            "expired",
            "the default answer could not be given: the key is revoked",
        )

    async def test_approval_that_cannot_be_fired_delays_no_other_and_is_tried_again(self, play: Play) -> None:
        bad = (await play.ask(deadline=100, default=True)).approval_id
        play.one.store.unreadable = [bad]
        await play.storage.clock.advance(timedelta(seconds=1))
        other = await play.storage.accept(ThreadId("t-2"))
        await play.storage.ended(other, asking(X, value={RULES: {"deadline": 99}}))
        await play.storage.clock.advance(timedelta(seconds=99))
        await play.one.loop.fire_due()
        with acting(ALICE):
            found = await play.approvals.search(ApprovalFilter(state=None))
        assert [(one.thread_id, one.state) for one in found] == [("t-1", "open"), ("t-2", "expired")]
        assert await play.one.store.due(10) == []
        play.one.store.unreadable = []
        await play.storage.clock.advance(timedelta(minutes=5))
        await play.one.loop.fire_due()
        with acting(ALICE):
            repaired = await play.approvals.get(bad)
        assert repaired is not None
        assert (repaired.state, repaired.answered_by) == ("answered", "deadline")

    async def test_default_answer_that_comes_to_nothing_expires_and_is_not_repeated(self, play: Play) -> None:
        await play.ask(deadline=100, default="banana")
        await play.after(100)
        with acting(ALICE):
            (answer, _) = await play.storage.query.list_runs(RunFilter())
        await play.storage.ended(answer, asking(X, status=RunStatus.ERROR))
        await play.after(100)
        assert ((await play.now()).state, await play.runs()) == ("expired", 2)
        assert await play.kinds() == ["requested", "answered", "expired"]

    async def test_expired_question_can_still_be_answered_by_a_run(self, play: Play) -> None:
        await play.ask(deadline=100)
        await play.after(100)
        await play.storage.accept(**resuming("late"))
        assert ((await play.now()).state, (await play.now()).decision) == ("answered", "late")

    async def test_overdue_reminder_is_left_out_after_the_deadline(self, play: Play) -> None:
        await play.ask(deadline=100, remind_after=10, escalate_to="bob")
        await play.after(500)
        assert await play.kinds() == ["requested", "expired"]

    async def test_escalation_to_an_address_writes_one_delivery(self, play: Play) -> None:
        await play.ask(deadline=100, escalate_after=10, escalate_to="https://example.org/secret-path")
        await play.after(10)
        deliveries = SqlDeliveryStore(play.database, play.storage.clock, play.storage.bell)
        (due,) = await deliveries.claim(10, timedelta(seconds=60))
        body = json.loads(due.body)
        assert (due.url, body["event"], body["happened"]["kind"]) == (
            "https://example.org/secret-path",
            "approval",
            "escalated",
        )
        assert (body["approval"]["question"]["question"], body["approval"]["state"]) == ("may I?", "open")
        assert (await play.now()).delegate is None


class TestSqliteDeadlines(DeadlineSuite):
    pass


class TestPostgresDeadlines(DeadlineSuite):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()


def test_rules_of_the_question_replace_those_of_the_graph_one_by_one() -> None:
    usual = ApprovalRules.parse({"deadline": 60, "remind_after": 5, "default": 1})
    own = ApprovalRules.parse({"deadline": 10, "default": None})
    assert own.over(usual) == ApprovalRules(10, 5, has_default=True, default=None)
    assert GraphRules({"agent": usual}).of("agent") == usual
    assert GraphRules({"agent": usual}).of("other") == ApprovalRules()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "must be an object"),
        ({"deadlines": 1}, "unknown field 'deadlines'"),
        ({"deadline": 0}, "deadline: must be more than 0"),
        ({"deadline": True}, "deadline: must be seconds, or a time"),
        ({"deadline": "tomorrow"}, "deadline: 'tomorrow' is not a time"),
        ({"remind_after": "1"}, "remind_after: must be seconds"),
        ({"escalate_to": ""}, "escalate_to: must be a user id"),
    ],
)
def test_rules_that_make_no_sense_are_refused(given: object, reason: str) -> None:
    with pytest.raises(InvalidApprovalRules, match=reason):
        ApprovalRules.parse(given)
