"""New rows of threads."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId, ThreadStatus

from .prepared import PreparedInsert
from .schema import threads

_NEW: Final = (
    "thread_id",
    "tenant_id",
    "user_id",
    "status",
    "resting",
    "temporary",
    "metadata",
    "config",
    "created_at",
    "updated_at",
    "interrupts",
)

ADD_THREAD: Final = PreparedInsert(threads, _NEW, threads.c.thread_id)
"""Returns no row if the id exists."""


def new_thread(
    thread_id: ThreadId,
    actor: ActorContext,
    now: datetime,
    metadata: str,
    *,
    config: str = "{}",
    status: ThreadStatus = "idle",
    temporary: bool = False,
) -> dict[str, Any]:
    """Return the row of a thread without a state. ``metadata`` and ``config`` are JSON."""
    return {
        "thread_id": thread_id,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "status": status,
        "resting": "idle",
        "temporary": temporary,
        "metadata": metadata,
        "config": config,
        "created_at": now,
        "updated_at": now,
        "interrupts": b"{}",
    }
