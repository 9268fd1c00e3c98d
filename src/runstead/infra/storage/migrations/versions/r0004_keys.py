"""API keys, and idempotency keys for the creation of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text, UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("digest", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("scopes", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("last_used_at", UtcTime),
        sa.Column("revoked_at", UtcTime),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )
    op.create_index("uq_api_keys_digest", "api_keys", ["digest"], unique=True)
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("fingerprint", Text, nullable=False),
        sa.Column("run_id", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "key", name="pk_idempotency_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"])
