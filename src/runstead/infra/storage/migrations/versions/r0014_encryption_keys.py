"""The ids of the keys that values are encrypted with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("encryption_keys", sa.Column("key_id", Text, primary_key=True))
