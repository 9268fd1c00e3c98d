"""Rows for tests that fill a table directly."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def run_row(run_id: str, at: datetime, **columns: Any) -> dict[str, Any]:
    """Return the row of a run whose times are all ``at``, with these columns instead of the usual ones."""
    return {
        "run_id": run_id,
        "thread_id": "t",
        "tenant_id": "t",
        "user_id": "u",
        "assistant_id": "a",
        "status": "success",
        "attempt": 1,
        "lost_attempts": 0,
        "dead_letter": False,
        "temporary": False,
        "actor": "{}",
        "metadata": "{}",
        "spec": "{}",
        **dict.fromkeys(("created_at", "updated_at", "due_at", "ended_at"), at),
        **columns,
    }
