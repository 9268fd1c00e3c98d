"""Port: what runs used of models, kept per attempt, user and day, also after a run was rolled back or deleted.

Usage is written by `RunLeaseStore.record_usage` and `settle`, in the transaction that checks the lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from ..types import ModelUsage, ThreadId


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """The usage of all runs of a thread that called a model: how many those are, and the sums by model and caller."""

    runs: int = 0
    models: tuple[ModelUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """The sums of one user and one day (UTC), by model and caller. An attempt counts for the day of its first call."""

    day: date
    models: tuple[ModelUsage, ...]


class RunUsageStore(Protocol):
    """Reads usage under the bound actor (ActorRequired without one)."""

    async def of_thread(self, thread_id: ThreadId) -> ThreadUsage:
        """Return the usage of the actor's own runs on a thread, or of all runs of a thread that the actor has access
        to by its id.
        """
        ...

    async def by_day(self, since: date, until: date) -> Sequence[DailyUsage]:
        """Return the usage of the actor's own runs, for each day with any from ``since`` to ``until``, both included,
        in order.
        """
        ...
