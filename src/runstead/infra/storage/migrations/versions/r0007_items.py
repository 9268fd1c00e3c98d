"""Items of the store, and their vectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("namespace", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("ttl_minutes", sa.Float),
        sa.Column("expires_at", UtcTime),
        sa.Column("searched", Text),
        sa.Column("value", Text, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key", name="pk_items"),
    )
    expires = sa.text("expires_at IS NOT NULL")
    op.create_index("ix_items_expires", "items", ["expires_at"], sqlite_where=expires, postgresql_where=expires)
    op.create_table(
        "item_vectors",
        sa.Column("namespace", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("embedder", Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key", "number", name="pk_item_vectors"),
        sa.ForeignKeyConstraint(
            ["namespace", "key"], ["items.namespace", "items.key"], name="fk_item_vectors_item", ondelete="CASCADE"
        ),
    )
