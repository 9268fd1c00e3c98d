"""Versions of assistants. The current content of each assistant becomes its version 1."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = "assistant_id, version, graph_id, name, description, config, context, metadata, created_at"


def upgrade() -> None:
    op.create_table(
        "assistant_versions",
        sa.Column("assistant_id", Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("graph_id", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("description", Text),
        sa.Column("config", Text, nullable=False),
        sa.Column("context", Text, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", "version", name="pk_assistant_versions"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO assistant_versions ({_COLUMNS}) SELECT {_COLUMNS} FROM assistants")
