"""Port for the stored events of runs: messages, traces, lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from ...json_types import JsonMapping
from ..types import Holder, RunId, ThreadId

RunEventCategory: TypeAlias = Literal["lifecycle", "trace", "message"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Event before it is stored. ``content`` and ``metadata`` are JSON values; ``created_at`` is UTC."""

    run_id: RunId
    thread_id: ThreadId
    event_type: str
    category: RunEventCategory
    content: Any
    created_at: datetime
    metadata: JsonMapping = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredRunEvent:
    """Stored event with its position: ``seq`` counts from 1 without gaps per thread."""

    seq: int
    event: RunEvent


class RunEventStore(Protocol):
    """Events of threads under the bound actor (ActorRequired without one).

    A thread that is unknown to the store or belongs to another user has no events, and another actor cannot write to it
    (ThreadNotFound).
    """

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        """Store a batch of events of one thread, in order, all or none. Parallel batches never share or skip a ``seq``.

        With ``holder``, a store that shares the runs' database checks in the same transaction that the holder still
        holds the run; otherwise it raises LeaseLost and stores nothing.
        """
        ...

    async def list_events(
        self,
        thread_id: ThreadId,
        *,
        run_id: RunId | None = None,
        categories: Sequence[RunEventCategory] = (),
        event_types: Sequence[str] = (),
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[StoredRunEvent]:
        """Return a page in ascending ``seq``: the first ``limit`` events after ``after``, or with only ``before`` the
        last ``limit`` events before it.

        With neither, return the last ``limit`` events. Filters apply before the limit.
        """
        ...

    async def count_events(self, thread_id: ThreadId, *, categories: Sequence[RunEventCategory] = ()) -> int:
        """Return the number of events of the thread."""
        ...

    async def delete_events(self, thread_id: ThreadId, *, run_id: RunId | None = None) -> int:
        """Delete the events of a thread, or of one of its runs, and return their number. New events never reuse a
        ``seq``."""
        ...

    async def delete_threads(self, thread_ids: Sequence[ThreadId]) -> None:
        """Delete everything of threads that no longer exist. Not limited to an actor: for cleanup only."""
        ...

    async def delete_before(self, cutoff: datetime) -> int:
        """Delete events of all threads from before ``cutoff``, and return their number. Not limited to an actor: for
        cleanup only. A store of files may keep older events of a thread that has newer ones.
        """
        ...
