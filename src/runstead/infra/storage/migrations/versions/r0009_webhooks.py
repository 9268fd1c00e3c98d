"""Webhook deliveries, and the result of each attempt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("delivery_id", Text, nullable=False),
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("run_id", Text, nullable=False),
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("url", Text, nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("next_attempt_at", UtcTime),
        sa.Column("lease_until", UtcTime),
        sa.Column("ended_at", UtcTime),
        sa.Column("actor", Text, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_webhook_deliveries"),
    )
    op.create_index("ix_webhook_deliveries_owner", "webhook_deliveries", ["tenant_id", "user_id", "delivery_id"])
    op.create_index("ix_webhook_deliveries_run", "webhook_deliveries", ["run_id"])
    op.create_index("ix_webhook_deliveries_thread", "webhook_deliveries", ["thread_id"])
    _only("ix_webhook_deliveries_due", "next_attempt_at", "status = 'pending'")
    _only("ix_webhook_deliveries_ended", "ended_at", "ended_at IS NOT NULL")
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime, nullable=False),
        sa.Column("status_code", sa.Integer),
        sa.Column("error", Text),
        sa.PrimaryKeyConstraint("delivery_id", "number", name="pk_webhook_attempts"),
        sqlite_with_rowid=False,
    )


def _only(name: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "webhook_deliveries", [column], sqlite_where=where, postgresql_where=where)
