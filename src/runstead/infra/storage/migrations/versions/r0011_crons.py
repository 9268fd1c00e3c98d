"""Crons."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crons",
        sa.Column("cron_id", Text, nullable=False),
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("assistant_id", Text, nullable=False),
        sa.Column("thread_id", Text),
        sa.Column("schedule", Text, nullable=False),
        sa.Column("timezone", Text),
        sa.Column("end_time", UtcTime),
        sa.Column("on_run_completed", Text),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("next_run_date", UtcTime),
        sa.Column("last_run_id", Text),
        sa.Column("last_error", Text),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("actor", Text, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("payload", Text, nullable=False),
        sa.PrimaryKeyConstraint("cron_id", name="pk_crons"),
    )
    op.create_index("ix_crons_owner", "crons", ["tenant_id", "user_id", "created_at"])
    op.create_index("ix_crons_thread", "crons", ["thread_id"])
    op.create_index("ix_crons_due", "crons", ["next_run_date"])
