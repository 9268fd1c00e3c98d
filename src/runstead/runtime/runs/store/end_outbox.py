"""Port for the outbox of run ends: notifications of required observers, written with the end of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ..types import RunId, RunStatus, StopReason, ThreadId


@dataclass(frozen=True, slots=True)
class EndNotification:
    """A run that has ended, of which required observers are still to be notified. ``tries`` counts the claims.

    The row of a run that was rolled back is deleted, and only this is left of it.
    """

    run_id: RunId
    attempt: int
    thread_id: ThreadId
    tenant_id: str
    user_id: str
    status: RunStatus
    reason: StopReason | None
    occurred_at: datetime
    tries: int = 0


class RunEndOutbox(Protocol):
    """Notifications that the transactions which end runs have written."""

    async def claim(self, limit: int, term: timedelta) -> Sequence[EndNotification]:
        """Claim due notifications, the oldest first. One that is not `done` is due again after ``term``."""
        ...

    async def postpone(self, notification: EndNotification, pause: timedelta) -> None:
        """Let a notification be due again after ``pause``."""
        ...

    async def done(self, notification: EndNotification) -> None:
        """Delete a notification that all observers have taken."""
        ...
