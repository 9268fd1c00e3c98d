"""The webhook outbox: a delivery is written in the transaction that ends its run, so no crash can come in between."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert
from uuid_utils.compat import uuid7

from runstead.runtime.runs.types import Outcome, RunRecord
from runstead.wire.webhooks import end_of_run

from . import json_text
from .schema import webhook_deliveries


def enqueue_delivery(connection: Connection, ended: RunRecord, now: datetime, outcome: Outcome | None = None) -> None:
    """Write the delivery for ``ended``, the record of the run at its end.

    ``outcome`` is the run's result; None if it never got so far.
    """
    if ended.spec.webhook is None:
        return
    values = None if outcome is None else outcome.output
    # Routes of this server authorize the user through handlers; other receivers get no claims.
    actor = ended.actor if ended.spec.webhook.startswith("/") else ended.actor.with_kept_claims()
    connection.execute(
        insert(webhook_deliveries).values(
            delivery_id=str(uuid7()),
            tenant_id=ended.actor.tenant_id,
            user_id=ended.actor.user_id,
            run_id=ended.run_id,
            thread_id=ended.thread_id,
            url=ended.spec.webhook,
            status="pending",
            attempts=0,
            claims=0,
            created_at=now,
            next_attempt_at=now,
            actor=json_text.dump(actor.to_json()),
            metadata=json_text.dump(ended.metadata),
            body=end_of_run(ended, values),
        )
    )
