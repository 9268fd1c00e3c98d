"""Events of runs, with a dense number per thread."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Counter, Text, UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_event_threads",
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("last_seq", Counter, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", name="pk_run_event_threads"),
    )
    op.create_table(
        "run_events",
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("seq", Counter, autoincrement=False, nullable=False),
        sa.Column("run_id", Text, nullable=False),
        sa.Column("event_type", Text, nullable=False),
        sa.Column("category", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("content", Text, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "seq", name="pk_run_events"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_events_run", "run_events", ["thread_id", "run_id", "seq"])
    op.create_index("ix_run_events_category", "run_events", ["thread_id", "category", "seq"])
