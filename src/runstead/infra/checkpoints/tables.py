"""The tables of checkpoints for SQLAlchemy, for code that reads or writes whole tables (export, import).

The tables are created elsewhere, separately for each engine: in `schema`, and in the migrations of PostgreSQL. A test
checks that the three definitions agree.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Identity, Integer, LargeBinary, MetaData, Table

from runstead.infra.storage.column_types import Text

metadata: Final = MetaData()


def _checkpoint_columns() -> tuple[Column[Any], ...]:
    return (
        Column("parent_checkpoint_id", Text),
        Column("type", Text),
        Column("checkpoint", LargeBinary),
        Column("metadata", LargeBinary),
        Column("run_id", Text),
    )


checkpoints: Final = Table(
    "checkpoints",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("checkpoint_ns", Text, primary_key=True),
    Column("checkpoint_id", Text, primary_key=True),
    *_checkpoint_columns(),
    # The order of writing; ids are not enough, since they contain the clock of the worker that made them.
    Column("position", BigInteger, nullable=False),
)
writes: Final = Table(
    "writes",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("checkpoint_ns", Text, primary_key=True),
    Column("checkpoint_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("task_path", Text, nullable=False),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("type", Text),
    Column("value", LargeBinary),
)
# The number gives the order of the marks. SQLite has this column implicitly.
marks: Final = Table(
    "marks",
    metadata,
    Column("rowid", BigInteger, Identity(always=True), nullable=False),
    Column("thread_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("checkpoint_id", Text),
)
mark_checkpoints: Final = Table(
    "mark_checkpoints",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("mark_run_id", Text, primary_key=True),
    Column("checkpoint_ns", Text, primary_key=True),
    Column("checkpoint_id", Text, primary_key=True),
    *_checkpoint_columns(),
    Column("position", BigInteger, nullable=False),
)
mark_writes: Final = Table(
    "mark_writes",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("mark_run_id", Text, primary_key=True),
    Column("checkpoint_ns", Text, primary_key=True),
    Column("checkpoint_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("existed", Boolean, nullable=False),
    Column("task_path", Text),
    Column("channel", Text),
    Column("type", Text),
    Column("value", LargeBinary),
)
