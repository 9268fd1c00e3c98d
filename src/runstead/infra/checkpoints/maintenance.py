"""Deletion, copying and pruning of a thread's checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from runstead.runtime.runs.types import RunId, ThreadId

from .driver import REPLACING_CHECKPOINT, REPLACING_WRITE, Driver
from .rollback import discard_all

_TABLES: Final = ("checkpoints", "writes")
_CHECKPOINT: Final = "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id, position"
_WRITE: Final = "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value"
_COPY: Final = (
    f"""
    INSERT INTO checkpoints (thread_id, {_CHECKPOINT})
    SELECT :target, {_CHECKPOINT} FROM checkpoints WHERE thread_id = :source
    {REPLACING_CHECKPOINT}, position = excluded.position
    """,
    f"""
    INSERT INTO writes (thread_id, {_WRITE})
    SELECT :target, {_WRITE} FROM writes WHERE thread_id = :source {REPLACING_WRITE}
    """,
)
_LATEST: Final = """
    SELECT checkpoint_ns, checkpoint_id, position FROM checkpoints c WHERE thread_id = ? AND position = (
        SELECT max(position) FROM checkpoints WHERE thread_id = c.thread_id AND checkpoint_ns = c.checkpoint_ns
    )
"""
_PARENT: Final = (
    "SELECT parent_checkpoint_id, metadata FROM checkpoints"
    " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)


def delete_thread(driver: Driver, thread_id: ThreadId) -> None:
    """Delete all checkpoints and writes of a thread, and its undo records."""
    for table in _TABLES:
        driver.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))
    discard_all(driver, thread_id)


def delete_for_runs(driver: Driver, run_ids: Sequence[RunId]) -> None:
    """Delete the checkpoints and writes of these runs, on all threads."""
    for run_id in run_ids:
        driver.execute(
            "DELETE FROM writes WHERE (thread_id, checkpoint_ns, checkpoint_id) IN"
            " (SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE run_id = ?)",
            (run_id,),
        )
        driver.execute("DELETE FROM checkpoints WHERE run_id = ?", (run_id,))


def copy_thread(driver: Driver, source: ThreadId, target: ThreadId) -> None:
    """Copy all checkpoints and writes under the same ids, so that every chain of parents is complete."""
    for statement in _COPY:
        driver.execute(statement, {"source": source, "target": target})


def prune(driver: Driver, thread_ids: Sequence[ThreadId], strategy: str) -> None:
    """Keep only the latest checkpoint of each namespace (``keep_latest``), or nothing (``delete``)."""
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f"unknown pruning strategy {strategy!r}; use 'keep_latest' or 'delete'")
    for thread_id in thread_ids:
        if strategy == "delete":
            delete_thread(driver, thread_id)
            continue
        for namespace, latest, position in driver.execute(_LATEST, (thread_id,)).fetchall():
            kept = _needed(driver, thread_id, namespace, latest)
            _delete_others(driver, thread_id, namespace, kept, up_to=position)


def _needed(driver: Driver, thread_id: ThreadId, namespace: str, latest: str) -> list[str]:
    """Return the latest checkpoint and those ancestors whose writes are needed to rebuild its delta channels."""
    kept = [latest]
    found = driver.execute(_PARENT, (thread_id, namespace, latest)).fetchone()
    if found is None:
        # The thread has been deleted meanwhile.
        return kept
    parent, metadata = found
    counters = (json.loads(metadata) if metadata else {}).get("counters_since_delta_snapshot") or {}
    # A counter is (updates, steps) since the channel was last stored completely.
    steps = max((steps for _, steps in counters.values()), default=0)
    while parent is not None and steps > 0 and parent not in kept:
        kept.append(parent)
        row = driver.execute(_PARENT, (thread_id, namespace, parent)).fetchone()
        parent = row[0] if row else None
        steps -= 1
    return kept


def _delete_others(driver: Driver, thread_id: ThreadId, namespace: str, kept: Sequence[str], *, up_to: int) -> None:
    """Delete the checkpoints before position ``up_to``, except for ``kept``."""
    # Other writers may be active: a checkpoint newer than the latest one found has a higher position and is not
    # touched.
    older = (
        "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND position < ?"
        f" AND checkpoint_id NOT IN ({', '.join('?' * len(kept))})"
    )
    # Checkpoints last: they determine which writes are older.
    for table in reversed(_TABLES):
        driver.execute(
            f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id IN ({older})",
            (thread_id, namespace, thread_id, namespace, up_to, *kept),
        )
