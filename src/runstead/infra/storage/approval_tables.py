"""The tables of approvals, and of what happened to each of them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Index, Integer, Table, text

from .column_types import Text, UtcTime
from .encrypted_types import EncryptedText
from .tables_metadata import metadata

# ``next_at`` is the time of the next reminder, escalation or deadline while the approval is open. ``run_id`` asked; it
# may be deleted before its approval. ``events`` counts the rows of approval_events.
approvals: Final = Table(
    "approvals",
    metadata,
    Column("approval_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("thread_id", Text, nullable=False),
    Column("run_id", Text),
    Column("graph_id", Text, nullable=False),
    Column("assistant_id", Text, nullable=False),
    Column("interrupt_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("deadline_at", UtcTime),
    Column("remind_at", UtcTime),
    Column("escalate_at", UtcTime),
    Column("reminded_at", UtcTime),
    Column("escalated_at", UtcTime),
    Column("closed_at", UtcTime),
    Column("next_at", UtcTime),
    Column("delegate_id", Text),
    Column("decider_id", Text),
    Column("answered_by", Text),
    Column("answer_run_id", Text),
    Column("has_default", Boolean, nullable=False),
    Column("events", Integer, nullable=False),
    Column("escalate_to", EncryptedText("approvals.escalate_to")),
    Column("decision", EncryptedText("approvals.decision")),
    Column("default_answer", EncryptedText("approvals.default_answer")),
    Column("actor", EncryptedText("actor"), nullable=False),
    Column("question", EncryptedText("approvals.question"), nullable=False),
)
Index("ix_approvals_owner", *(approvals.c[name] for name in ("tenant_id", "user_id", "state", "created_at")))
Index("ix_approvals_delegate", *(approvals.c[name] for name in ("tenant_id", "delegate_id", "state", "created_at")))
Index("ix_approvals_thread", approvals.c.thread_id, approvals.c.approval_id)
Index("ix_approvals_answer", approvals.c.answer_run_id)
Index(
    "ix_approvals_next",
    approvals.c.next_at,
    sqlite_where=text("next_at IS NOT NULL"),
    postgresql_where=text("next_at IS NOT NULL"),
)

# ``actor_id`` is the user who did it; null for the server. ``details`` is JSON.
approval_events: Final = Table(
    "approval_events",
    metadata,
    Column("approval_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("thread_id", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor_id", Text),
    Column("details", EncryptedText("approval_events.details"), nullable=False),
    sqlite_with_rowid=False,
)
Index(
    "ix_approval_events_thread",
    *(approval_events.c[name] for name in ("thread_id", "approval_id", "number")),
)
