"""Port: runs are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import RunFilter, RunId, RunRecord, ThreadId


class RunQueryStore(Protocol):
    """Reads runs of the bound actor (ActorRequired without one); a foreign run looks like an absent one."""

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        """The run as last written, or None."""
        ...

    async def get_latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        """Return the newest run of the thread that a worker has claimed at least once, ended or not; None without one.

        Runs that wait for their first attempt, and those that ended before it, do not count.
        """
        ...

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        """Matching runs, the newest first. Filters apply before ``limit``; a thread that is unknown or foreign has
        none.
        """
        ...

    async def count_runs(self, where: RunFilter) -> int:
        """How many runs match, without any limit."""
        ...
