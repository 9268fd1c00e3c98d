"""Approvals on the wire: requests that answer, delegate and comment, and the form of approvals in responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from runstead.resources.approvals import ApprovalEvent, ApprovalRecord
from runstead.runtime.json_types import JsonObject

from .body import WireModel
from .runs import RUN_CREATE, RunCreate

_MODES: Final = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints"]
"""Stream modes of the run that continues: all that pages and the event protocol show."""
MAX_COMMENT: Final = 16 * 1024
"""Maximum characters of a comment."""

Comment: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_COMMENT)]
UserId: TypeAlias = Annotated[str, Field(min_length=1, max_length=512)]
ApprovalChoice: TypeAlias = Literal["open", "answered", "expired", "withdrawn", "any"]


class ApprovalAnswerBody(WireModel):
    """Answer to an approval: any JSON value that satisfies its response_schema."""

    answer: Any
    comment: Comment | None = None


class ApprovalDelegation(WireModel):
    """User who may answer too; null takes the approval back."""

    user_id: UserId | None


class ApprovalComment(WireModel):
    text: Comment


APPROVAL_ANSWER: Final[TypeAdapter[ApprovalAnswerBody]] = TypeAdapter(ApprovalAnswerBody)
APPROVAL_DELEGATION: Final[TypeAdapter[ApprovalDelegation]] = TypeAdapter(ApprovalDelegation)
APPROVAL_COMMENT: Final[TypeAdapter[ApprovalComment]] = TypeAdapter(ApprovalComment)


def from_approval_record(record: ApprovalRecord, events: Sequence[ApprovalEvent] | None = None) -> JsonObject:
    """Return an approval in the form for clients, with what happened to it if given."""
    shown: JsonObject = {
        "approval_id": record.approval_id,
        "state": record.state,
        "thread_id": record.thread_id,
        "run_id": record.run_id,
        "graph_id": record.graph_id,
        "assistant_id": record.assistant_id,
        "interrupt_id": record.interrupt_id,
        "user_id": record.user_id,
        "question": record.question,
        "response_schema": record.response_schema,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "remind_at": record.remind_at,
        "reminded_at": record.reminded_at,
        "escalate_at": record.escalate_at,
        "escalated_at": record.escalated_at,
        "escalate_to": record.escalate_to,
        "deadline_at": record.deadline_at,
        "closed_at": record.closed_at,
        "delegate": record.delegate,
        "decider": record.decider,
        "answered_by": record.answered_by,
        "decision": record.decision,
        "answer_run_id": record.answer_run_id,
    }
    if record.has_default:
        shown["default"] = record.default
    return shown if events is None else {**shown, "events": [from_approval_event(event) for event in events]}


def from_approval_event(event: ApprovalEvent) -> JsonObject:
    return {
        "number": event.number,
        "kind": event.kind,
        "at": event.at,
        "user_id": event.user_id,
        "details": dict(event.details),
    }


def run_with_answer(record: ApprovalRecord, answer: object) -> RunCreate:
    """Return the run that answers an approval, as a request for it would be."""
    body = {
        "assistant_id": record.assistant_id,
        "command": {"resume": {record.interrupt_id: answer}},
        "strict_resume": True,
        "multitask_strategy": "enqueue",
        "stream_mode": _MODES,
        "stream_subgraphs": True,
        "stream_resumable": True,
    }
    return RUN_CREATE.validate_python(body)
