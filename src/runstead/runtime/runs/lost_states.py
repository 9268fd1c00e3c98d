"""Comparison of a thread's latest checkpoint with the one that its last run left."""

from __future__ import annotations

from datetime import datetime

from ..json_types import JsonMapping
from .types import RunRecord


def may_be_behind(run: RunRecord, latest_id: str | None, made: str | None, metadata: JsonMapping) -> bool:
    """Return whether the latest state may be older than what ``run`` left: it is another one, and no later change
    explains it.

    ``run`` is the thread's run that began last. ``latest_id`` is the id of the latest checkpoint, ``made`` its time in
    ISO format. It is older for certain if the final checkpoint of the run is not stored.
    """
    if not run.status.is_terminal or run.final_checkpoint_id is None:
        return False
    if latest_id is None:
        return True
    if latest_id == run.final_checkpoint_id:
        return False
    if made is not None and run.started_at is not None and datetime.fromisoformat(made) < run.started_at:
        return True
    # A later state: a state update, or a run that was deleted since.
    return metadata.get("source") not in ("update", "fork") and metadata.get("run_id") == run.run_id
