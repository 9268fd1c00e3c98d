"""The order in which checkpoints were written, on PostgreSQL; SQLite has them in a file with its own schema.

Before, the newest id was the latest checkpoint, and ids contain the clock of the worker that made them.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE checkpoints ADD COLUMN position BIGINT",
    """
    UPDATE checkpoints c SET position = numbered.position FROM (
        SELECT thread_id, checkpoint_ns, checkpoint_id,
            row_number() OVER (PARTITION BY thread_id ORDER BY checkpoint_id) AS position
        FROM checkpoints
    ) AS numbered
    WHERE (c.thread_id, c.checkpoint_ns, c.checkpoint_id)
        = (numbered.thread_id, numbered.checkpoint_ns, numbered.checkpoint_id)
    """,
    "ALTER TABLE checkpoints ALTER COLUMN position SET NOT NULL",
    "CREATE INDEX ix_checkpoints_latest ON checkpoints (thread_id, checkpoint_ns, position)",
    "ALTER TABLE mark_checkpoints ADD COLUMN position BIGINT",
    """
    UPDATE mark_checkpoints m SET position = coalesce((
        SELECT position FROM checkpoints c WHERE c.thread_id = m.thread_id
        AND c.checkpoint_ns = m.checkpoint_ns AND c.checkpoint_id = m.checkpoint_id
    ), 0)
    """,
    "ALTER TABLE mark_checkpoints ALTER COLUMN position SET NOT NULL",
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in _STATEMENTS:
            connection.exec_driver_sql(statement)
