"""The tables of checkpoints: in the schema of PostgreSQL, and in a separate file of SQLite.

``checkpoints`` and ``writes`` have the columns of langgraph-checkpoint-sqlite, so that its tools can read them, and
two more: ``run_id``, and ``position``, the order of writing (docs/adr/0021-checkpoints-are-ordered-by-position.md).
The ``mark`` tables contain the undo records for rollbacks; see `runstead.infra.checkpoints.rollback`.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, LargeBinary, MetaData, Table, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn

from .column_types import Counter, Text

metadata: Final = MetaData(naming_convention={"pk": "pk_%(table_name)s"})

_ROWID: Final = "rowid"


def _key(*names: str) -> tuple[Column[Any], ...]:
    return tuple(Column(name, Text, primary_key=True) for name in names)


def _checkpoint(*key: Column[Any]) -> tuple[Column[Any], ...]:
    return (
        *key,
        Column("parent_checkpoint_id", Text),
        Column("type", Text),
        Column("checkpoint", LargeBinary),
        Column("metadata", LargeBinary),
        Column("run_id", Text),
        # The order of writing; ids are not enough, since they contain the clock of the worker that made them.
        Column("position", Counter, nullable=False),
    )


def _namespace() -> Column[Any]:
    return Column("checkpoint_ns", Text, primary_key=True, server_default=text("''"))


checkpoints: Final = Table(
    "checkpoints", metadata, *_checkpoint(*_key("thread_id"), _namespace(), *_key("checkpoint_id"))
)
Index("ix_checkpoints_latest", checkpoints.c.thread_id, checkpoints.c.checkpoint_ns, checkpoints.c.position)
_OF_A_RUN: Final = text("run_id IS NOT NULL")
Index(
    "ix_checkpoints_run",
    checkpoints.c.run_id,
    checkpoints.c.thread_id,
    sqlite_where=_OF_A_RUN,
    postgresql_where=_OF_A_RUN,
)
writes: Final = Table(
    "writes",
    metadata,
    *_key("thread_id"),
    _namespace(),
    *_key("checkpoint_id", "task_id"),
    Column("task_path", Text, nullable=False, server_default=text("''")),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("type", Text),
    Column("value", LargeBinary),
)
# The number gives the order of the marks. SQLite has this column implicitly.
marks: Final = Table(
    "marks",
    metadata,
    Column(_ROWID, BigInteger, Identity(always=True), nullable=False),
    *_key("thread_id", "run_id"),
    Column("checkpoint_id", Text),
)
mark_checkpoints: Final = Table(
    "mark_checkpoints", metadata, *_checkpoint(*_key("thread_id", "mark_run_id", "checkpoint_ns", "checkpoint_id"))
)
mark_writes: Final = Table(
    "mark_writes",
    metadata,
    *_key("thread_id", "mark_run_id", "checkpoint_ns", "checkpoint_id", "task_id"),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("existed", Boolean, nullable=False),
    Column("task_path", Text),
    Column("channel", Text),
    Column("type", Text),
    Column("value", LargeBinary),
)

# Only in SQLite's file, and never transferred. One row: changing the number brings earlier commits to disk, which a
# commit without a change would not. The identity names the database of runs that the file belongs to; see
# `runstead.infra.checkpoints.identity`.
syncs: Final = Table("syncs", MetaData(), Column("number", Integer, nullable=False), Column("identity", Text))


@compiles(CreateColumn, "sqlite")
def _create_column(create: CreateColumn, compiler: Any, **options: Any) -> str | None:
    """Leave out the column that SQLite has implicitly: SQLAlchemy skips a column without text."""
    if create.element.name == _ROWID:
        return None
    column: str = compiler.visit_create_column(create, **options)
    return column
