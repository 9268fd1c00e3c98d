"""Port that delivers pending runs to workers, and stop requests to lease holders.

The database row is authoritative. A lost delivery is repeated from the row, and the lease holder finds a lost stop
request when it renews its lease.
"""

from __future__ import annotations

from typing import Protocol

from .types import RunId


class RunWorker(Protocol):
    """Receiver of a dispatcher's deliveries, such as the supervisor."""

    @property
    def slots(self) -> int:
        """Number of runs that the worker can hold at once."""
        ...

    @property
    def free(self) -> int:
        """Number of further runs that the worker can take now."""
        ...

    @property
    def reserved(self) -> int:
        """Number of slots that are reserved for runs of groups that have no executing run."""
        ...

    async def wait_free(self, more_than: int = 0) -> None:
        """Wait until ``free`` is more than ``more_than``. May return at once."""
        ...

    async def launch(self, run_id: RunId) -> bool:
        """Claim the run and begin to execute it. Return False if it is not claimable. Returns when the run has begun,
        not when it has ended."""
        ...

    async def finished(self, run_id: RunId) -> None:
        """Wait until this worker does not hold the run (any more)."""
        ...

    def check_stop_request(self, run_id: RunId) -> None:
        """Check the run's stop flag and its steering messages, which may have changed. Unknown runs are ignored. Call
        from the worker's loop."""
        ...


class RunDispatcher(Protocol):
    """Dispatcher of pending runs to workers."""

    async def serve(self, worker: RunWorker) -> None:
        """Deliver runs to ``worker`` until cancelled, never more than it has free slots for.

        If groups of runs take turns, pending runs are delivered in fair order (see `fair_turns`), and the last
        ``reserved`` slots only receive runs of groups that have no executing run. Every pending run that is due is
        delivered at least once, soon after it became due (by a wake-up, not by polling), including runs from before
        this process. Delivering a run twice is harmless, since claiming decides. Cancelling stops the deliveries and
        leaves launched runs alone.
        """
        ...

    async def request_stop(self, run_id: RunId) -> None:
        """Ask the lease holder, in whatever process, to check the run's stop flag and messages. Best effort; returns
        quickly."""
        ...
