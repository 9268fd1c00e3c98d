"""Events of approvals, and webhook deliveries for them, written in the transactions that change the approvals."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from runstead.resources.approvals import ApprovalEvent, ApprovalEventKind
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.approvals import GraphRules, is_address
from runstead.runtime.runs.types import RunRecord

from . import json_text
from .prepared import Prepared
from .run_rows import RECORD, to_record
from .schema import approval_events as events
from .schema import approvals, runs
from .webhook_outbox import enqueue_approval, enqueue_escalation

_ASKING_RUN: Final = Prepared(select(*RECORD).where(runs.c.run_id == bindparam("the_run")))


def change(connection: Connection, approval_id: str, now: datetime, **values: object) -> Row[Any]:
    """Change a locked approval, and return it after that."""
    changed = update(approvals).where(approvals.c.approval_id == approval_id)
    return connection.execute(changed.values(updated_at=now, **values).returning(approvals)).one()


def add_event(
    connection: Connection,
    approval: Row[Any],
    kind: ApprovalEventKind,
    now: datetime,
    rules: GraphRules,
    *,
    actor_id: str | None = None,
    details: JsonMapping | None = None,
) -> ApprovalEvent:
    """Write an event of an approval, whose row is as it is after the event, and the deliveries for it."""
    number = approval.events + 1
    counted = update(approvals).where(approvals.c.approval_id == approval.approval_id)
    connection.execute(counted.values(events=approvals.c.events + 1))
    owner: JsonObject = {name: approval._mapping[name] for name in ("approval_id", "tenant_id", "user_id", "thread_id")}
    row = {**owner, "number": number, "at": now, "kind": kind, "actor_id": actor_id}
    connection.execute(insert(events).values(**row, details=json_text.dump(details or {})))
    event = ApprovalEvent(approval.approval_id, number, approval.thread_id, now, kind, actor_id, details or {})
    _deliver(connection, approval, event, rules)
    return event


def _deliver(connection: Connection, approval: Row[Any], event: ApprovalEvent, rules: GraphRules) -> None:
    target = approval.escalate_to or ""
    escalates = event.kind == "escalated" and is_address(target)
    if not (rules.calls_webhooks or escalates) or event.kind == "commented":
        return
    run = asking_run(connection, approval.run_id)
    if run is None:
        return
    if rules.calls_webhooks:
        enqueue_approval(connection, run, approval, event)
    if escalates:
        enqueue_escalation(connection, run, target, approval, event)


def asking_run(connection: Connection, run_id: str | None) -> RunRecord | None:
    """Return the run that asked; None if it is deleted, or if no run asked."""
    row = None if run_id is None else _ASKING_RUN.first(connection, {"the_run": run_id})
    return None if row is None else to_record(row)
