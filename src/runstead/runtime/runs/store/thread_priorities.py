"""Port for the scheduling data of a thread on which a run is about to be created."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...json_types import JsonMapping
from ..types import ThreadId, ThreadPriority


@dataclass(frozen=True, slots=True)
class ThreadScheduling:
    """Metadata of a thread, and its priority; None if none has been assigned."""

    metadata: JsonMapping
    priority: ThreadPriority | None


class ThreadPriorityStore(Protocol):
    """Scheduling data of threads, read under the bound actor (ActorRequired without one). The RunCreateStore writes
    priorities."""

    async def get(self, thread_id: ThreadId) -> ThreadScheduling | None:
        """Return the thread's scheduling data; None for a thread that the actor cannot access."""
        ...
