"""Runs and the threads they are on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runstead.infra.storage.column_types import Counter, Text, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _threads()
    _runs()


def _threads() -> None:
    op.create_table(
        "threads",
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("resting", Text, nullable=False),
        sa.Column("temporary", sa.Boolean, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("config", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("state_updated_at", UtcTime),
        sa.Column("error", Text),
        sa.Column("interrupts", sa.LargeBinary, nullable=False),
        sa.Column("state_values", sa.LargeBinary),
        sa.PrimaryKeyConstraint("thread_id", name="pk_threads"),
    )
    op.create_index("ix_threads_owner_updated", "threads", ["tenant_id", "user_id", "updated_at"])
    op.create_index("ix_threads_owner_created", "threads", ["tenant_id", "user_id", "created_at"])
    op.create_index("ix_threads_owner_status", "threads", ["tenant_id", "user_id", "status"])


def _runs() -> None:
    op.create_table(
        "runs",
        # Without a constraint name, or SQLite would not auto-increment it.
        sa.Column("queue_seq", Counter, primary_key=True, autoincrement=True),
        sa.Column("run_id", Text, nullable=False),
        sa.Column("thread_id", Text, nullable=False),
        sa.Column("tenant_id", Text, nullable=False),
        sa.Column("user_id", Text, nullable=False),
        sa.Column("assistant_id", Text, nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
        sa.Column("due_at", UtcTime, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lapses", sa.Integer, nullable=False),
        sa.Column("worker", Text),
        sa.Column("lease_until", UtcTime),
        sa.Column("started_at", UtcTime),
        sa.Column("ended_at", UtcTime),
        sa.Column("stop_requested", Text),
        sa.Column("base_checkpoint_id", Text),
        sa.Column("final_checkpoint_id", Text),
        sa.Column("dead_letter", sa.Boolean, nullable=False),
        sa.Column("temporary", sa.Boolean, nullable=False),
        sa.Column("failure", Text),
        sa.Column("completion", Text),
        sa.Column("actor", Text, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("spec", Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_runs_run_id", "runs", ["run_id"], unique=True)
    op.create_index("ix_runs_thread", "runs", ["thread_id", "queue_seq"])
    op.create_index("ix_runs_owner", "runs", ["tenant_id", "user_id", "queue_seq"])
    _only("ix_runs_open", ["thread_id", "queue_seq"], "ended_at IS NULL")
    _only("ix_runs_begun", ["thread_id", "queue_seq"], "ended_at IS NULL AND started_at IS NOT NULL")
    _only("ix_runs_held_thread", ["thread_id"], "lease_until IS NOT NULL")
    _only("ix_runs_held_until", ["lease_until"], "lease_until IS NOT NULL")
    _only("ix_runs_waiting", ["due_at", "queue_seq"], "ended_at IS NULL AND lease_until IS NULL")
    _only("ix_runs_dead", ["tenant_id", "user_id", "queue_seq"], "dead_letter", "dead_letter = 1")
    _only(
        "ix_runs_temporary",
        ["ended_at"],
        "temporary AND ended_at IS NOT NULL",
        "temporary = 1 AND ended_at IS NOT NULL",
    )


def _only(name: str, columns: list[str], condition: str, on_sqlite: str | None = None) -> None:
    op.create_index(
        name, "runs", columns, sqlite_where=sa.text(on_sqlite or condition), postgresql_where=sa.text(condition)
    )
