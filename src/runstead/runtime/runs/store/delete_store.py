"""Port for the deletion of runs."""

from __future__ import annotations

from typing import Protocol

from ..types import RunId


class RunDeleteStore(Protocol):
    """Deletion of runs of the bound actor (ActorRequired without one)."""

    async def delete_run(self, run_id: RunId) -> bool:
        """Delete the row of a run that has ended. Return False if there is none, or if it belongs to another user.

        Raises ThreadBusy for a run that a worker holds: stop it first. A pending run is deleted before it can begin.
        The thread's status is derived again from the remaining runs.
        """
        ...
