"""The identity of the checkpoint file that belongs to a SQLite database; not used on PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("checkpoint_identity", sa.Column("identity", Text, nullable=False))
