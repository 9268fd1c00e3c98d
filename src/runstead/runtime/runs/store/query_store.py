"""Port for reading runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import RunFilter, RunId, RunRecord, ThreadId


class RunQueryStore(Protocol):
    """Runs of the bound actor (ActorRequired without one). Another user's run looks like a missing one."""

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        """Return the run as last written, or None."""
        ...

    async def get_latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        """Return the newest run of the thread that a worker has claimed at least once, ended or not; None if there is
        none.

        Runs that wait for their first attempt, or ended before it, do not count.
        """
        ...

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        """Return matching runs, newest first. Filters apply before ``limit``. A thread that is unknown or belongs to
        another user has no runs."""
        ...

    async def is_foreign_thread(self, thread_id: ThreadId) -> bool:
        """Return whether a thread exists to which the actor has no access."""
        ...

    async def count_runs(self, where: RunFilter) -> int:
        """Return the number of matching runs, without any limit."""
        ...
