"""The time to live of threads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "thread_ttls",
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("minutes", sa.Float, nullable=False),
        sa.Column("strategy", Text, nullable=False),
        sa.Column("expires_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", name="pk_thread_ttls"),
    )
    op.create_index("ix_thread_ttls_expires_at", "thread_ttls", ["expires_at"])
