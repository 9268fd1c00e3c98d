"""Approvals in the transactions of their threads: created when a run asks, closed when a run takes the question.

A question is open as long as its thread shows it and no run in flight takes it (`runstead.resources.interrupts`). The
same interrupt id may ask several times, one question after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, insert, or_, select
from uuid_utils.compat import uuid7

from runstead.resources.approvals import ApprovalClosed, ApprovalState
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.approvals import ApprovalAnswer, GraphRules, PendingQuestion, questions_in
from runstead.runtime.runs.types import (
    NO_INTERRUPTS,
    RunId,
    RunRecord,
    RunSpec,
    RunStatus,
    ThreadId,
    ThreadOutcome,
)

from . import json_text
from .approval_events import add_event, change
from .prepared import Prepared
from .schema import approval_events, approvals, threads

_NO_ANSWER: Final = ApprovalAnswer()
_NONE: Final = "-"
NO_RUN: Final = ""
"""``answer_run_id`` of an expired approval whose question an update of the state dropped."""
_THREAD: Final = approvals.c.thread_id == bindparam("the_thread")


def _state(*states: str) -> ColumnElement[bool]:
    # Not by IN, which prepared statements cannot have.
    return or_(*(approvals.c.state == one for one in states))


_LIVE: Final = Prepared(
    select(approvals.c.approval_id, approvals.c.interrupt_id, approvals.c.state, approvals.c.answer_run_id)
    .where(
        _THREAD,
        or_(
            _state("open"),
            and_(_state("expired"), approvals.c.answer_run_id.is_(None)),
            approvals.c.answer_run_id == bindparam("the_run"),
        ),
    )
    .order_by(approvals.c.created_at)
)
_TAKEN: Final = Prepared(
    select(approvals.c.approval_id).where(
        approvals.c.answer_run_id == bindparam("the_run"), _state("answered", "withdrawn", "expired")
    )
)


@dataclass(frozen=True, slots=True)
class _Live:
    approval_id: str
    interrupt_id: str
    state: ApprovalState
    answer_run_id: RunId | None


def settle_approvals(
    connection: Connection,
    thread_id: ThreadId,
    after: ThreadOutcome,
    now: datetime,
    rules: GraphRules,
    *,
    run: RunRecord | None = None,
    actor: ActorContext | None = None,
) -> None:
    """Create and close approvals after the state of their thread was written: by ``run``, at its end, or by ``actor``.

    To be called in the same transaction, with the thread locked.
    """
    live = _live(connection, thread_id, run)
    if not live and after.interrupts == NO_INTERRUPTS:
        return
    questions = questions_in(after.interrupts) if after.questions is None else after.questions
    pending = {one.interrupt_id: one for one in questions}
    succeeded = run is None or run.status is RunStatus.SUCCESS
    gone: list[_Live] = []
    for one in live:
        if one.interrupt_id not in pending:
            gone += [one] if one.answer_run_id is None else []
        elif one.state != "answered" or not succeeded:
            # Not a new question: the answer was refused, or never reached the graph.
            del pending[one.interrupt_id]
            if one.answer_run_id is not None:
                _reopen(connection, one.approval_id, now, rules)
    if gone:
        _close_gone(connection, gone, run, now, rules)
    if pending:
        _create(connection, thread_id, list(pending.values()), now, rules, run, actor)


def take_questions(
    connection: Connection,
    thread_id: ThreadId,
    spec: RunSpec,
    run_id: RunId,
    actor: ActorContext,
    now: datetime,
    rules: GraphRules,
) -> None:
    """Close the approvals whose questions a new run takes: those that it answers, or all of them if it does not answer.

    Raises ApprovalClosed, and then has written nothing, if the run is the answer to an approval that is not open.
    """
    answer = spec.approval or _NO_ANSWER
    if answer.approval_id is not None:
        _check_open(connection, answer.approval_id)
    if spec.after_seconds > 0:
        # Until it begins, the questions can be answered.
        return
    take_now(connection, thread_id, spec, run_id, actor, now, rules)


def take_now(
    connection: Connection,
    thread_id: ThreadId,
    spec: RunSpec,
    run_id: RunId,
    actor: ActorContext,
    now: datetime,
    rules: GraphRules,
) -> None:
    """Close the approvals whose questions a run takes that begins next; see `take_questions`."""
    answer = spec.approval or _NO_ANSWER
    live, command = _live(connection, thread_id, None), spec.command
    if not live:
        return
    if command is None or not command.has_resume:
        for one in live:
            _drop(connection, one, now, rules, actor.user_id, run_id)
        return
    ids = {one.interrupt_id: one for one in live}
    for interrupt_id, decision in answer.answers(command.resume, ids).items():
        _answer(connection, ids[interrupt_id].approval_id, decision, run_id, actor, answer, now, rules)


def reopen_taken(connection: Connection, run: RunRecord, now: datetime, rules: GraphRules) -> None:
    """Open the approvals again that a run had taken, which ended before its answer came to anything."""
    for (approval_id,) in _TAKEN.rows(connection, {"the_run": run.run_id}):
        _reopen(connection, approval_id, now, rules)


def forget_closed(connection: Connection, run_ids: Sequence[RunId]) -> None:
    """Delete the closed approvals that these runs asked for; not expired ones whose question is pending."""
    dropped = and_(approvals.c.state == "expired", approvals.c.answer_run_id.is_not(None))
    closed = or_(approvals.c.state.in_(("answered", "withdrawn")), dropped)
    over = and_(approvals.c.run_id.in_(run_ids), closed)
    ids = select(approvals.c.approval_id).where(over)
    connection.execute(delete(approval_events).where(approval_events.c.approval_id.in_(ids)))
    connection.execute(delete(approvals).where(over))


def _live(connection: Connection, thread_id: ThreadId, run: RunRecord | None) -> list[_Live]:
    values = {"the_thread": thread_id, "the_run": _NONE if run is None else run.run_id}
    return [_Live(*row) for row in _LIVE.rows(connection, values)]


def _check_open(connection: Connection, approval_id: str) -> None:
    found = select(approvals.c.state, approvals.c.decider_id, approvals.c.closed_at)
    row = connection.execute(found.where(approvals.c.approval_id == approval_id)).first()
    if row is None:
        raise ApprovalClosed(approval_id, "withdrawn", None, None)
    if row.state != "open":
        raise ApprovalClosed(approval_id, row.state, row.decider_id, row.closed_at)


def _create(
    connection: Connection,
    thread_id: ThreadId,
    questions: Sequence[PendingQuestion],
    now: datetime,
    rules: GraphRules,
    run: RunRecord | None,
    actor: ActorContext | None,
) -> None:
    thread = connection.execute(
        select(threads.c.tenant_id, threads.c.user_id, threads.c.metadata).where(threads.c.thread_id == thread_id)
    ).first()
    if thread is None:
        return
    asking = actor if run is None else run.actor
    assert asking is not None, "a run asks, or an actor does"
    metadata = json_text.load(thread.metadata)
    graph_id = str(metadata.get("graph_id") or "") if run is None else run.spec.graph_id
    row: JsonObject = {
        "tenant_id": thread.tenant_id,
        "user_id": thread.user_id,
        "thread_id": thread_id,
        "run_id": None if run is None else run.run_id,
        "graph_id": graph_id,
        "assistant_id": str(metadata.get("assistant_id") or graph_id) if run is None else run.assistant_id,
        "state": "open",
        "created_at": now,
        "updated_at": now,
        "events": 0,
        "actor": json_text.dump(asking.with_kept_claims().to_json()),
    }
    for question in questions:
        # A copied question has no deadline: the original has one, and only one of the two may be answered by default.
        own = {} if run is None else _timed(question, now, rules, graph_id)
        asked = {"interrupt_id": question.interrupt_id, "question": json_text.dump(question.content)}
        values = {**row, "has_default": False, **own, **asked, "approval_id": str(uuid7())}
        made = connection.execute(insert(approvals).values(values).returning(approvals)).one()
        add_event(connection, made, "requested", now, rules)


def _timed(question: PendingQuestion, now: datetime, rules: GraphRules, graph_id: str) -> JsonObject:
    own = question.rules.over(rules.of(graph_id))
    times = own.times(now)
    return {
        "deadline_at": times.deadline,
        "remind_at": times.remind,
        "escalate_at": times.escalate,
        "next_at": _earliest(times.deadline, times.remind, times.escalate),
        "escalate_to": own.escalate_to,
        "has_default": own.has_default,
        "default_answer": json_text.dump(own.default) if own.has_default else None,
    }


def next_time(approval: Row[Any]) -> datetime | None:
    """Return the time of an open approval's next reminder, escalation or deadline; None if there is none."""
    return _earliest(
        approval.deadline_at,
        None if approval.reminded_at is not None else approval.remind_at,
        None if approval.escalated_at is not None else approval.escalate_at,
    )


def _earliest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def _close_gone(
    connection: Connection, gone: Sequence[_Live], run: RunRecord | None, now: datetime, rules: GraphRules
) -> None:
    """Close approvals whose questions a thread no longer asks."""
    command = None if run is None else run.spec.command
    answers: Mapping[str, Any] = {}
    if run is not None and command is not None and command.has_resume:
        given = run.spec.approval or _NO_ANSWER
        answers = given.answers(command.resume, [one.interrupt_id for one in gone])
    for one in gone:
        if run is not None and one.interrupt_id in answers:
            _answer(
                connection, one.approval_id, answers[one.interrupt_id], run.run_id, run.actor, _NO_ANSWER, now, rules
            )
        else:
            actor_id, by_run = (None, None) if run is None else (run.actor.user_id, run.run_id)
            _drop(connection, one, now, rules, actor_id, by_run)


def _drop(
    connection: Connection, one: _Live, now: datetime, rules: GraphRules, actor_id: str | None, run_id: RunId | None
) -> None:
    """Close an approval without an answer. An expired one stays expired, but its question is not pending any more."""
    if one.state == "expired":
        change(connection, one.approval_id, now, answer_run_id=run_id or NO_RUN)
    else:
        _close(connection, one.approval_id, "withdrawn", now, rules, actor_id, answer_run_id=run_id)


def _answer(
    connection: Connection,
    approval_id: str,
    decision: object,
    run_id: RunId,
    actor: ActorContext,
    answer: ApprovalAnswer,
    now: datetime,
    rules: GraphRules,
) -> None:
    is_this_one = answer.approval_id in (None, approval_id)
    by = answer.by if is_this_one else "user"
    decider = None if by == "deadline" else answer.decider or actor.user_id
    details = {"comment": answer.comment} if answer.comment is not None and is_this_one else {}
    values = {"answer_run_id": run_id, "answered_by": by, "decision": json_text.dump(decision)}
    _close(connection, approval_id, "answered", now, rules, decider, details, **values)


def _close(
    connection: Connection,
    approval_id: str,
    state: Literal["answered", "withdrawn"],
    now: datetime,
    rules: GraphRules,
    decider: str | None,
    details: JsonObject | None = None,
    **values: object,
) -> None:
    kept = {"decider_id": decider} if state == "answered" else {}
    closed = change(connection, approval_id, now, state=state, closed_at=now, next_at=None, **kept, **values)
    more = {**(details or {}), **({"by": values["answered_by"]} if "answered_by" in values else {})}
    add_event(connection, closed, state, now, rules, actor_id=decider, details=more)


def _reopen(connection: Connection, approval_id: str, now: datetime, rules: GraphRules) -> None:
    """Open an approval again, at whose deadline its default answer comes. If that is what came to nothing, the approval
    has expired: it would be repeated for ever."""
    before = connection.execute(select(approvals).where(approvals.c.approval_id == approval_id)).one()
    if before.state == "expired":
        change(connection, approval_id, now, answer_run_id=None)
        return
    cleared: JsonObject = {"decider_id": None, "answered_by": None, "answer_run_id": None, "decision": None}
    if before.answered_by == "deadline":
        expired = change(connection, approval_id, now, **{**cleared, "state": "expired", "closed_at": now})
        reason = {"reason": "the run with the default answer did not go on"}
        add_event(connection, expired, "expired", now, rules, details=reason)
        return
    open_again = {**cleared, "state": "open", "closed_at": None, "next_at": next_time(before)}
    add_event(connection, change(connection, approval_id, now, **open_again), "reopened", now, rules)
