"""The tables of the checkpoint file.

``checkpoints`` and ``writes`` have the columns of langgraph-checkpoint-sqlite, so that its tools can read them, and
two more: ``run_id``, and ``position``, the order of writing (docs/adr/0021-checkpoints-are-ordered-by-position.md).
The ``mark`` tables contain the undo records for rollbacks; see `marks`.
"""

from __future__ import annotations

from typing import Any, Final

from runstead.resources.storage_errors import SchemaTooNew

VERSION: Final = 2

_TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS checkpoints (
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL DEFAULT '',
        checkpoint_id TEXT NOT NULL,
        parent_checkpoint_id TEXT,
        type TEXT,
        checkpoint BLOB,
        metadata BLOB,
        run_id TEXT,
        position INTEGER NOT NULL,
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_checkpoints_latest ON checkpoints (thread_id, checkpoint_ns, position)",
    "CREATE INDEX IF NOT EXISTS ix_checkpoints_run ON checkpoints (run_id, thread_id) WHERE run_id IS NOT NULL",
    """
    CREATE TABLE IF NOT EXISTS writes (
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL DEFAULT '',
        checkpoint_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        task_path TEXT NOT NULL DEFAULT '',
        idx INTEGER NOT NULL,
        channel TEXT NOT NULL,
        type TEXT,
        value BLOB,
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
    )
    """,
    # One row. Changing the number brings earlier commits to disk: a commit without a change would not. The identity
    # names the database of runs that the file belongs to; see `pairing`.
    "CREATE TABLE IF NOT EXISTS syncs (number INTEGER NOT NULL, identity TEXT)",
    "INSERT INTO syncs (number) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM syncs)",
    """
    CREATE TABLE IF NOT EXISTS marks (
        thread_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        checkpoint_id TEXT,
        PRIMARY KEY (thread_id, run_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS mark_checkpoints (
        thread_id TEXT NOT NULL,
        mark_run_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        parent_checkpoint_id TEXT,
        type TEXT,
        checkpoint BLOB,
        metadata BLOB,
        run_id TEXT,
        position INTEGER NOT NULL,
        PRIMARY KEY (thread_id, mark_run_id, checkpoint_ns, checkpoint_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS mark_writes (
        thread_id TEXT NOT NULL,
        mark_run_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        existed INTEGER NOT NULL,
        task_path TEXT,
        channel TEXT,
        type TEXT,
        value BLOB,
        PRIMARY KEY (thread_id, mark_run_id, checkpoint_ns, checkpoint_id, task_id, idx)
    )
    """,
)

_COLUMNS: Final = "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id"
_OF_VERSION_1: Final = (
    "ALTER TABLE checkpoints RENAME TO old_checkpoints",
    "ALTER TABLE mark_checkpoints RENAME TO old_mark_checkpoints",
    "DROP INDEX IF EXISTS ix_checkpoints_run",
)
_TO_VERSION_2: Final = (
    # In version 1 the newest id was the latest checkpoint.
    f"""
    INSERT INTO checkpoints (thread_id, {_COLUMNS}, position)
    SELECT thread_id, {_COLUMNS}, row_number() OVER (PARTITION BY thread_id ORDER BY checkpoint_id)
    FROM old_checkpoints
    """,
    f"""
    INSERT INTO mark_checkpoints (thread_id, mark_run_id, {_COLUMNS}, position)
    SELECT thread_id, mark_run_id, {_COLUMNS}, coalesce((
        SELECT position FROM checkpoints c WHERE c.thread_id = o.thread_id AND c.checkpoint_ns = o.checkpoint_ns
        AND c.checkpoint_id = o.checkpoint_id
    ), 0) FROM old_mark_checkpoints o
    """,
    "DROP TABLE old_checkpoints",
    "DROP TABLE old_mark_checkpoints",
)


def set_up(driver: Any) -> None:
    """Create missing tables and upgrade older files. Raises SchemaTooNew for a file of a later version."""
    version = driver.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise SchemaTooNew(str(version))
    before = _OF_VERSION_1 if version == 1 else ()
    for statement in (*before, *_TABLES, *(_TO_VERSION_2 if version == 1 else ())):
        driver.execute(statement)
    driver.execute(f"PRAGMA user_version = {VERSION}")
