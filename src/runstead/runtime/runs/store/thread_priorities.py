"""Port for the scheduling data of a thread on which a run is about to be created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..types import ThreadId, ThreadPriority


@dataclass(frozen=True, slots=True)
class ThreadScheduling:
    """Metadata of a thread, and its priority; None if none has been assigned."""

    metadata: Mapping[str, Any]
    priority: ThreadPriority | None


class ThreadPriorityStore(Protocol):
    """Scheduling data of threads, read under the bound actor (ActorRequired without one). The RunCreateStore writes
    priorities."""

    async def get(self, thread_id: ThreadId) -> ThreadScheduling | None:
        """Return the thread's scheduling data; None for a thread that the actor cannot access."""
        ...
