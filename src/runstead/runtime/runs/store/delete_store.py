"""Port: runs are forgotten."""

from __future__ import annotations

from typing import Protocol

from ..types import RunId


class RunDeleteStore(Protocol):
    """Deletes runs of the bound actor (ActorRequired without one)."""

    async def delete_run(self, run_id: RunId) -> bool:
        """Forget the row of a run that has ended; False when there is none (or it is foreign).

        Raises ThreadBusy for a run that a worker holds: stop it first. A pending run is deleted before it can begin.
        The thread's status is derived again from what is left.
        """
        ...
