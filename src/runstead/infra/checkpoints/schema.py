"""The tables of the checkpoint file.

``checkpoints`` and ``writes`` are those of langgraph-checkpoint-sqlite, and ``run_id``, so that one can be read with
the tools of the other. The ``mark`` tables keep what a rollback needs; see `marks`.
"""

from __future__ import annotations

from typing import Any, Final

from runstead.infra.engines.exceptions import SchemaTooNew

VERSION: Final = 1

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
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
    )
    """,
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


def set_up(driver: Any) -> None:
    """Make what is missing. Raises SchemaTooNew for a file that a later version has written."""
    version = driver.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise SchemaTooNew(str(version))
    for statement in _TABLES:
        driver.execute(statement)
    driver.execute(f"PRAGMA user_version = {VERSION}")
