"""The port that brings waiting runs to workers, and stops to the one who holds the run.

Nothing here is the truth: the durable row is. A lost delivery is made again from the
row, a lost stop notice is found by the holder when it renews its lease.
"""

from __future__ import annotations

from typing import Protocol

from .types import RunId


class RunWorker(Protocol):
    """What a dispatcher delivers to; the supervisor is one."""

    @property
    def slots(self) -> int:
        """How many runs it can hold at once."""
        ...

    @property
    def free(self) -> int:
        """How many more runs it can take now."""
        ...

    @property
    def reserved(self) -> int:
        """How many of its slots are kept for runs of groups that execute none."""
        ...

    async def wait_free(self, more_than: int = 0) -> None:
        """Return when ``free`` is more than ``more_than``. May return at once."""
        ...

    async def launch(self, run_id: RunId) -> bool:
        """Claim the run and begin to execute it; False when it was not to be had. Returns once begun, not when done."""
        ...

    async def finished(self, run_id: RunId) -> None:
        """Return once this worker does not hold the run (any more)."""
        ...

    def notice_stop(self, run_id: RunId) -> None:
        """The run's stop flag may have changed: look at it. Unknown runs are ignored; called from the worker's loop."""
        ...


class RunDispatcher(Protocol):
    """Knows which runs wait, and who serves them."""

    async def serve(self, worker: RunWorker) -> None:
        """Deliver runs to ``worker``, never more than it has room for, until cancelled.

        Where groups of runs take turns, waiting runs are delivered in fair order (see `fair_turns`), and the last
        ``reserved`` slots only get runs of groups that execute none.
        Every waiting run that is due is delivered at least once, soon after it became so (a bell, not polling),
        also those from before this process; delivering a run twice is harmless, for claiming decides.
        Cancelling stops the deliveries and leaves launched runs alone.
        """
        ...

    async def request_stop(self, run_id: RunId) -> None:
        """Tell the holder, wherever it is, to look at the run's stop flag. Best effort and quick."""
        ...
