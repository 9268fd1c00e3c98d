"""Undo records for rollbacks, kept while a run writes.

A run's own checkpoints are found by its id. But a run also writes to older ones: a resume stores its answer there, and
so does every task that runs before the run has a checkpoint of its own. So, from the mark on, the first change of each
such row saves its previous content, in the transaction of the change itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from runstead.runtime.runs.types import RunId, ThreadId

from .driver import REPLACING_CHECKPOINT, Driver

_KEY: Final = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"

_MARKED: Final = "SELECT 1 FROM marks WHERE thread_id = ? LIMIT 1"
_KEEP_WRITE: Final = """
    INSERT INTO mark_writes (
        thread_id, mark_run_id, checkpoint_ns, checkpoint_id, task_id, idx, existed, task_path, channel, type, value
    )
    SELECT m.thread_id, m.run_id, :ns, :checkpoint, :task, :idx, w.idx IS NOT NULL,
        w.task_path, w.channel, w.type, w.value
    FROM marks m LEFT JOIN writes w ON w.thread_id = m.thread_id AND w.checkpoint_ns = :ns
        AND w.checkpoint_id = :checkpoint AND w.task_id = :task AND w.idx = :idx
    WHERE m.thread_id = :thread
    AND NOT EXISTS (
        SELECT 1 FROM checkpoints c WHERE c.thread_id = m.thread_id AND c.checkpoint_ns = :ns
        AND c.checkpoint_id = :checkpoint AND c.run_id = m.run_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM mark_writes k WHERE k.thread_id = m.thread_id AND k.mark_run_id = m.run_id
        AND k.checkpoint_ns = :ns AND k.checkpoint_id = :checkpoint AND k.task_id = :task AND k.idx = :idx
    )
    ON CONFLICT DO NOTHING
"""
_KEEP_CHECKPOINT: Final = """
    INSERT INTO mark_checkpoints (
        thread_id, mark_run_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id,
        position
    )
    SELECT m.thread_id, m.run_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.type, c.checkpoint,
        c.metadata, c.run_id, c.position
    FROM marks m JOIN checkpoints c ON c.thread_id = m.thread_id AND c.checkpoint_ns = ? AND c.checkpoint_id = ?
    WHERE m.thread_id = ? AND (c.run_id IS NULL OR c.run_id <> m.run_id)
    AND NOT EXISTS (
        SELECT 1 FROM mark_checkpoints k WHERE k.thread_id = m.thread_id AND k.mark_run_id = m.run_id
        AND k.checkpoint_ns = c.checkpoint_ns AND k.checkpoint_id = c.checkpoint_id
    )
    ON CONFLICT DO NOTHING
"""
_WRITES_OF: Final = "SELECT task_id, idx FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"

_UNDO: Final = (
    """
    DELETE FROM writes WHERE thread_id = :thread AND (checkpoint_ns, checkpoint_id) IN (
        SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = :thread AND run_id = :run
    )
    """,
    "DELETE FROM checkpoints WHERE thread_id = :thread AND run_id = :run",
    f"""
    DELETE FROM writes WHERE ({_KEY}) IN (
        SELECT {_KEY} FROM mark_writes WHERE thread_id = :thread AND mark_run_id = :run
    )
    """,
    f"""
    INSERT INTO writes ({_KEY}, task_path, channel, type, value)
    SELECT {_KEY}, task_path, channel, type, value FROM mark_writes
    WHERE thread_id = :thread AND mark_run_id = :run AND existed
    """,
    f"""
    INSERT INTO checkpoints (
        thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id, position
    )
    SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id, position
    FROM mark_checkpoints WHERE thread_id = :thread AND mark_run_id = :run
    {REPLACING_CHECKPOINT}, position = excluded.position
    """,
)
# Only one run at a time executes on a thread, so all runs marked before this one have settled or were given up.
_OVER: Final = """
    SELECT run_id FROM marks WHERE thread_id = ?
    AND rowid <= (SELECT rowid FROM marks WHERE thread_id = ? AND run_id = ?)
"""
_TABLES: Final = (("marks", "run_id"), ("mark_checkpoints", "mark_run_id"), ("mark_writes", "mark_run_id"))


def begin_undo_log(driver: Driver, thread_id: ThreadId, run_id: RunId) -> str | None:
    """Begin to record the run's changes, unless that has begun before.

    Returns the thread's latest root checkpoint at that time.
    """
    driver.execute(
        "INSERT INTO marks (thread_id, run_id, checkpoint_id) VALUES (?, ?,"
        " (SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
        " ORDER BY position DESC LIMIT 1)) ON CONFLICT DO NOTHING",
        (thread_id, run_id, thread_id),
    )
    row = driver.execute(
        "SELECT checkpoint_id FROM marks WHERE thread_id = ? AND run_id = ?", (thread_id, run_id)
    ).fetchone()
    latest: str | None = row[0]
    return latest


def has_undo_log(driver: Driver, thread_id: ThreadId) -> bool:
    """Return whether some run of the thread could still be undone."""
    return driver.execute(_MARKED, (thread_id,)).fetchone() is not None


def record_writes(
    driver: Driver, thread_id: ThreadId, namespace: str, checkpoint_id: str, keys: Iterable[tuple[str, int]]
) -> None:
    """Save the pending writes ``keys`` (task id and index) of a checkpoint before they change."""
    if not has_undo_log(driver, thread_id):
        return
    place = {"thread": thread_id, "ns": namespace, "checkpoint": checkpoint_id}
    driver.executemany(_KEEP_WRITE, [{**place, "task": task_id, "idx": index} for task_id, index in keys])


def record_checkpoint(driver: Driver, thread_id: ThreadId, namespace: str, checkpoint_id: str) -> None:
    """Save an older checkpoint with this id, and its writes, before a checkpoint is written over it."""
    kept = driver.execute(_KEEP_CHECKPOINT, (namespace, checkpoint_id, thread_id)).rowcount
    if kept > 0:
        keys = driver.execute(_WRITES_OF, (thread_id, namespace, checkpoint_id)).fetchall()
        record_writes(driver, thread_id, namespace, checkpoint_id, keys)


def undo(driver: Driver, thread_id: ThreadId, run_id: RunId) -> None:
    """Undo all writes of the run."""
    for statement in _UNDO:
        driver.execute(statement, {"thread": thread_id, "run": run_id})
    discard(driver, thread_id, run_id)


def discard(driver: Driver, thread_id: ThreadId, run_id: RunId) -> None:
    """Delete this run's undo records, and any older ones of the thread that a crash has left."""
    over = driver.execute(_OVER, (thread_id, thread_id, run_id)).fetchall()
    for table, run in _TABLES:
        driver.executemany(
            f"DELETE FROM {table} WHERE thread_id = ? AND {run} = ?", [(thread_id, one) for (one,) in over]
        )


def discard_all(driver: Driver, thread_id: ThreadId) -> None:
    """Delete all undo records of a thread that is being deleted."""
    for table, _ in _TABLES:
        driver.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))
