"""Upsert clauses for checkpoints and writes, in SQL that every engine supports."""

from __future__ import annotations

from typing import Final

REPLACING_CHECKPOINT: Final = """
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
        parent_checkpoint_id = excluded.parent_checkpoint_id, type = excluded.type, checkpoint = excluded.checkpoint,
        metadata = excluded.metadata, run_id = excluded.run_id
"""
REPLACING_WRITE: Final = """
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET
        task_path = excluded.task_path, channel = excluded.channel, type = excluded.type, value = excluded.value
"""
