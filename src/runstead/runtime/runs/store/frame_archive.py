"""Port to the archive of streams: the events of ended runs, in the storage instead of in the stream bridge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from runstead.runtime.stream_bridge.contract import StreamEvent, StreamSubscription

from ..types import RunId


@runtime_checkable
class FrameArchive(Protocol):
    """Events of ended runs, with the ids that they had in the stream.

    An archive is one run's whole log. It is visible once it is complete, and is deleted with its run. Not limited to an
    actor: callers have checked access to the run.
    """

    async def list_missing(self, run_ids: Collection[RunId]) -> Sequence[RunId]:
        """Return those of the runs that are to be archived and are not.

        To be archived are runs that have begun and ended, except those of temporary threads. The archive of an earlier
        attempt does not count.
        """
        ...

    async def list_missing_between(
        self, after: datetime, until: datetime, limit: int
    ) -> Sequence[tuple[datetime, RunId]]:
        """Return such runs with the times of their ends, which lie after ``after`` and not after ``until``.

        The earliest ends come first. If there are more than ``limit``, further runs with the last returned time are
        included, so that a caller can continue after that time.
        """
        ...

    async def store(self, run_id: RunId, pages: AsyncIterator[Sequence[StreamEvent]]) -> bool:
        """Archive the events of a run, in place of an earlier archive of it; return False if there is no such run.

        ``pages`` yields the events in their order; the last one is the terminal event. The events are written in parts,
        so that memory does not grow with their number; if ``pages`` raises an error, nothing of them is visible, and
        the earlier archive stays. Concurrent calls for one run leave one archive.
        """
        ...

    async def subscribe(self, run_id: RunId, attempt: int, last_event_id: str) -> StreamSubscription:
        """Return a reader of the archived events after ``last_event_id``, an id or one of FROM_THE_START.

        It starts as a reader of the stream would (see ResumeResult), ends with the terminal event and its sentinel, and
        never waits for new events. Events that the archive lacks are a gap. Raises StreamNotFound if ``attempt`` of the
        run is not archived, also from `read`, if the archive is deleted meanwhile.
        """
        ...

    async def delete_before(self, time: datetime) -> int:
        """Delete archives that were written before ``time``, and what is left of unfinished ones. Return the number."""
        ...

    async def delete_beyond(self, size: int) -> int:
        """Delete the oldest archives until all together have at most ``size`` bytes. Return the number."""
        ...
