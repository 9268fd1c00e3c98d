"""Port: what is known of a thread when a run is about to be created on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..types import ThreadId, ThreadPriority


@dataclass(frozen=True, slots=True)
class ThreadScheduling:
    """A thread's metadata, and its priority; None when none has been assigned."""

    metadata: Mapping[str, Any]
    priority: ThreadPriority | None


class ThreadPriorityStore(Protocol):
    """Reads under the bound actor (ActorRequired without one). The priority is written by the RunCreateStore."""

    async def get(self, thread_id: ThreadId) -> ThreadScheduling | None:
        """Return what is known; None for a thread that the actor does not reach."""
        ...
