"""Assistants: graphs with settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "assistants",
        sa.Column("assistant_id", Text, nullable=False),
        sa.Column("tenant_id", Text),
        sa.Column("user_id", Text),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("graph_id", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("description", Text),
        sa.Column("config", Text, nullable=False),
        sa.Column("context", Text, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", name="pk_assistants"),
    )
    op.create_index("ix_assistants_owner", "assistants", ["tenant_id", "user_id"])
    op.create_index("ix_assistants_graph", "assistants", ["graph_id"])
