"""Priorities and fairness groups of runs, and the priorities assigned to threads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_runs_flow": (
        "ended_at IS NULL AND lease_until IS NULL AND fairness_group IS NOT NULL",
        ["fairness_group", "priority", "due_at", "queue_seq"],
    ),
    "ix_runs_flow_turns": ("fairness_group IS NOT NULL", ["fairness_group", "priority", "started_at"]),
    "ix_runs_held_group": ("lease_until IS NOT NULL AND fairness_group IS NOT NULL", ["fairness_group"]),
}


def upgrade() -> None:
    op.create_table(
        "thread_priorities",
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("fairness_group", Text),
        sa.PrimaryKeyConstraint("thread_id", name="pk_thread_priorities"),
    )
    op.add_column("runs", sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("runs", sa.Column("fairness_group", Text))
    for name, (condition, columns) in _INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "runs", columns, sqlite_where=where, postgresql_where=where)
