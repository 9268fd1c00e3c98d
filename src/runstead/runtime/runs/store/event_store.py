"""Port: what happened inside runs, as events that are kept: messages, traces, lifecycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from ..types import Holder, RunId, ThreadId

RunEventCategory: TypeAlias = Literal["lifecycle", "trace", "message"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event, before it is stored. ``content`` and ``metadata`` are JSON values; ``created_at`` is UTC."""

    run_id: RunId
    thread_id: ThreadId
    event_type: str
    category: RunEventCategory
    content: Any
    created_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredRunEvent:
    """An event with its place: ``seq`` is dense per thread, from 1."""

    seq: int
    event: RunEvent


class RunEventStore(Protocol):
    """Keeps the events of threads under the bound actor (ActorRequired without one).

    A thread that is unknown to the store or belongs to somebody else has no events, and cannot be written to by
    a foreign actor (ThreadNotFound).
    """

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        """Store a batch, in order, all or none, all of one thread. Parallel batches never share or skip a ``seq``.

        With ``holder``, a store that is beside the runs looks, in the same transaction, whether the run is still
        its: raises LeaseLost when it is not, and nothing is stored.
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
        """A page in ascending ``seq``: the first ``limit`` after ``after``; with ``before`` alone, the last ``limit``
        before it.

        With neither, the last ``limit`` events. Filters apply before the limit.
        """
        ...

    async def count_events(self, thread_id: ThreadId, *, categories: Sequence[RunEventCategory] = ()) -> int:
        """How many events the thread has."""
        ...

    async def delete_events(self, thread_id: ThreadId, *, run_id: RunId | None = None) -> int:
        """Forget the events of a thread, or of one of its runs; returns how many. ``seq`` never goes back for new
        ones.
        """
        ...
