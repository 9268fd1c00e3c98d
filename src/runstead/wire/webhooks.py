"""Webhooks on the wire: the body for receivers, and deliveries in the form for their user."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson

from runstead.resources.approvals import ApprovalEvent
from runstead.resources.feedback import FeedbackRecord
from runstead.resources.webhooks import DeliveryAttempt, DeliveryRecord
from runstead.runtime.field_encryption import CONTEXT
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.budgets import BudgetNotice
from runstead.runtime.runs.types import RunRecord
from runstead.runtime.serialization import encode

from .feedback import from_feedback_record
from .run_records import from_run_record

_OF_APPROVAL: Final = (
    "approval_id", "interrupt_id", "graph_id", "state", "created_at", "deadline_at", "delegate_id", "decider_id",
)  # fmt: skip
MAX_BODY: Final = 4 * 1024 * 1024
"""Maximum bytes of a body. A receiver can read a larger state from the thread."""


def end_of_run(record: RunRecord, values: bytes | None) -> bytes:
    """Return the body for a run that has ended: the run, and ``values`` (JSON) or its error.

    Parts that are too large are left out, and ``values_omitted`` or ``kwargs_omitted`` contain their size in bytes.
    """
    run = from_run_record(record)
    payload = {**run, "error": run["failure"], "run_started_at": record.started_at, "run_ended_at": record.ended_at}
    body = _with_values(encode(payload), values or b"null")
    if len(body) <= MAX_BODY:
        return body
    body = _with_values(encode({**payload, "values_omitted": len(values or b"")}), b"null")
    if len(body) <= MAX_BODY:
        return body
    # The run's request or metadata are too large, which the caller knows anyway.
    large: JsonObject = {"kwargs": None, "kwargs_omitted": len(encode(run["kwargs"])), "metadata": {}}
    large |= {"error": None, "failure": None, "completion": None}
    return _with_values(encode({**payload, "values_omitted": len(values or b""), **large}), b"null")


def feedback_on_run(run: RunRecord, given: FeedbackRecord) -> bytes:
    """Return the body for feedback on a run. Bodies for ends of runs have no field ``event``."""
    ids = {"run_id": run.run_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id}
    return encode({"event": "feedback", **ids, "feedback": from_feedback_record(given)})


def budget_notice(run: RunRecord, notice: BudgetNotice) -> bytes:
    """Return the body for a budget that is nearly or entirely used up, found by a model call of ``run``."""
    ids = {"run_id": run.run_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id}
    whose = {"tenant_id": run.actor.tenant_id, "user_id": run.actor.user_id, "graph_id": run.spec.graph_id}
    return encode({"event": f"budget_{notice.kind}", **ids, **whose, **notice.level.to_notice()})


def approval_of_run(
    run: RunRecord, approval: Mapping[str, object], content: JsonMapping, event: ApprovalEvent
) -> bytes:
    """Return the body for an event of an approval. ``approval`` are its columns, ``content`` is its question, which is
    left out if it is too large, or encrypted by handlers."""
    ids = {"run_id": run.run_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id}
    shown = {name: approval[name] for name in _OF_APPROVAL}
    happened = {"kind": event.kind, "at": event.at, "user_id": event.user_id}
    body = {"event": "approval", **ids, "approval": {**shown, "question": content.get("value")}, "happened": happened}
    encoded = encode(body)
    if len(encoded) <= MAX_BODY and CONTEXT not in content:
        return encoded
    return encode({**body, "approval": {**shown, "question": None, "question_omitted": True}})


def sent_body(body: bytes, sent_at: datetime, fields: Collection[str] | None = None) -> bytes:
    """Return ``body`` with its sending time; only its ``fields``, if any are named."""
    payload = orjson.loads(body) | {"webhook_sent_at": sent_at}
    return encode({name: value for name, value in payload.items() if fields is None or name in fields})


def from_delivery_record(record: DeliveryRecord, attempts: Sequence[DeliveryAttempt] | None = None) -> JsonObject:
    """Return a delivery in the form for users, with its attempts if given."""
    shown = {
        "delivery_id": record.delivery_id,
        "run_id": record.run_id,
        "thread_id": record.thread_id,
        "url": record.url,
        "status": record.status,
        "attempt_count": record.attempts,
        "created_at": record.created_at,
        "next_attempt_at": record.next_attempt_at,
        "ended_at": record.ended_at,
    }
    return shown if attempts is None else {**shown, "attempts": [_shown(attempt) for attempt in attempts]}


def _shown(attempt: DeliveryAttempt) -> JsonObject:
    return {
        "number": attempt.number,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "status_code": attempt.status_code,
        "error": attempt.error,
    }


def _with_values(run: bytes, values: bytes) -> bytes:
    """Insert the values, which are JSON already and may be large, without parsing them."""
    return run[:-1] + b',"values":' + values + b"}"
