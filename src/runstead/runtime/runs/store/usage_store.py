"""Port: what runs used of models, kept per attempt, user and day, also after a run was rolled back or deleted.

Usage is written by `RunLeaseStore.record_usage` and `settle`, in the transaction that checks the lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, Protocol, TypeAlias, get_args

from ..types import ModelUsage, ThreadId

UsageDimension: TypeAlias = Literal["day", "tenant", "user", "graph", "model", "caller"]
USAGE_DIMENSIONS: Final[tuple[UsageDimension, ...]] = get_args(UsageDimension)


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """The usage of all runs of a thread that called a model: how many those are, and the sums by model and caller."""

    runs: int = 0
    models: tuple[ModelUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Usage from the day ``since`` to the day ``until`` (UTC), both included, in groups by ``dimensions``.

    ``reach``: the actor's own runs, those of the actor's tenant, or all; the caller has checked that the actor may read
    these. ``limit`` and ``offset`` select groups, in the order of their keys, the latest day first.
    """

    since: date
    until: date
    dimensions: tuple[UsageDimension, ...] = ()
    reach: Literal["own", "tenant", "all"] = "own"
    limit: int = 1_000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The usage of one group: its value of each dimension, its runs, and the sums by model and caller.

    A call counts for the day (UTC) on which it ended.
    """

    key: tuple[str, ...]
    runs: int
    models: tuple[ModelUsage, ...]


class RunUsageStore(Protocol):
    """Reads usage under the bound actor (ActorRequired without one)."""

    async def of_thread(self, thread_id: ThreadId) -> ThreadUsage:
        """Return the usage of the actor's own runs on a thread, or of all runs of a thread that the actor has access
        to by its id.
        """
        ...

    async def grouped(self, query: UsageQuery) -> Sequence[UsageGroup]:
        """Return the groups with any usage. Without dimensions, there is one group, or none."""
        ...
