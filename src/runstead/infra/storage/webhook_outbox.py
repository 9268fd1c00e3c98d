"""The webhook outbox: a delivery is written in the transaction that ends its run, that stores feedback on it, or that
changes an approval or finds its budget used up, so no crash can come in between."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert
from uuid_utils.compat import uuid7

from runstead.resources.approvals import ApprovalEvent
from runstead.resources.feedback import FeedbackRecord
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import Outcome, RunRecord
from runstead.wire.webhooks import approval_of_run, end_of_run, feedback_on_run

from . import json_text
from .schema import webhook_deliveries


def enqueue_delivery(connection: Connection, ended: RunRecord, now: datetime, outcome: Outcome | None = None) -> None:
    """Write the delivery for ``ended``, the record of the run at its end.

    ``outcome`` is the run's result; None if it never got so far.
    """
    if ended.spec.webhook is not None:
        _enqueue(
            connection, ended, ended.spec.webhook, end_of_run(ended, None if outcome is None else outcome.output), now
        )


def enqueue_feedback(connection: Connection, run: RunRecord, given: FeedbackRecord, now: datetime) -> None:
    """Write the delivery for feedback on ``run``, if the run has a webhook."""
    if run.spec.webhook is not None:
        _enqueue(connection, run, run.spec.webhook, feedback_on_run(run, given), now)


def enqueue_of_server(
    connection: Connection, run: RunRecord, actor: ActorContext, url: str, body: bytes, now: datetime
) -> None:
    """Write a delivery of the server itself, about ``run``. Its user does not see it, and it outlives the thread."""
    _write(connection, actor, run.run_id, "", url, {}, body, now)


def enqueue_approval(connection: Connection, run: RunRecord, approval: Row[Any], event: ApprovalEvent) -> None:
    """Write the delivery for an event of an approval that ``run`` asks for, if the run has a webhook."""
    if run.spec.webhook is not None:
        enqueue_escalation(connection, run, run.spec.webhook, approval, event)


def enqueue_escalation(
    connection: Connection, run: RunRecord, url: str, approval: Row[Any], event: ApprovalEvent
) -> None:
    """Write the delivery for an event of an approval to ``url``."""
    content = json_text.load(approval.question)
    _enqueue(connection, run, url, approval_of_run(run, dict(approval._mapping), content, event), event.at)


def _enqueue(connection: Connection, run: RunRecord, url: str, body: bytes, now: datetime) -> None:
    # Routes of this server authorize the user through handlers; other receivers get no claims.
    actor = run.actor if url.startswith("/") else run.actor.with_kept_claims()
    _write(connection, actor, run.run_id, run.thread_id, url, run.metadata, body, now)


def _write(
    connection: Connection,
    actor: ActorContext,
    run_id: str,
    thread_id: str,
    url: str,
    metadata: JsonMapping,
    body: bytes,
    now: datetime,
) -> None:
    connection.execute(
        insert(webhook_deliveries).values(
            delivery_id=str(uuid7()),
            tenant_id=actor.tenant_id,
            user_id=actor.user_id,
            run_id=run_id,
            thread_id=thread_id,
            url=url,
            status="pending",
            attempts=0,
            claims=0,
            created_at=now,
            next_attempt_at=now,
            actor=json_text.dump(actor.to_json()),
            metadata=json_text.dump(metadata),
            body=body,
        )
    )
