"""Crons: runs that are created by the clock, on a thread or each on a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import OnCompletion, RunId, ThreadId

from .schedules import Schedule

CronSortField: TypeAlias = Literal[
    "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"
]


class CronNotFound(Exception):
    """No such cron for this actor."""

    def __init__(self, cron_id: str) -> None:
        super().__init__(f"Cron '{cron_id}' not found")


@dataclass(frozen=True, slots=True)
class CronRecord:
    """A cron as stored. ``payload`` is what its runs are created from, as it was sent; they act as ``actor``.

    ``thread_id`` None: each run gets a thread of its own, and ``on_run_completed`` says what becomes of that.
    ``next_run_date`` None: no moment is left before ``end_time``. ``last_error`` is why the latest due moment made no
    run, None when it did; ``last_run_id`` the run that was made last.
    """

    cron_id: str
    assistant_id: str
    schedule: str
    payload: Mapping[str, Any]
    actor: ActorContext
    created_at: datetime
    updated_at: datetime
    thread_id: ThreadId | None = None
    timezone: str | None = None
    end_time: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    on_run_completed: OnCompletion | None = None
    enabled: bool = True
    next_run_date: datetime | None = None
    last_run_id: RunId | None = None
    last_error: str | None = None

    def due_after(self, moment: datetime) -> datetime | None:
        """The first moment after ``moment`` that it is due at. Raises InvalidSchedule."""
        found = Schedule.parse(self.schedule, self.timezone).after(moment)
        return None if found is None or (self.end_time is not None and found > self.end_time) else found

    def scheduled(self, now: datetime) -> CronRecord:
        """With its next date as seen from ``now``: what is already past is not made up for."""
        return dataclasses.replace(self, next_run_date=self.due_after(now))


@dataclass(frozen=True, slots=True)
class CronFilter:
    """Which crons to find; ANDed. ``metadata`` is contained."""

    assistant_id: str | None = None
    thread_id: ThreadId | None = None
    enabled: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


Change: TypeAlias = Callable[[CronRecord], CronRecord]
"""Pure: the cron as it stands, and as it is to be. What it raises undoes the change, and is raised to the caller."""


class CronStore(Protocol):
    """Keeps crons under the bound actor (ActorRequired without one); a foreign one looks absent."""

    async def create(self, cron: CronRecord) -> CronRecord:
        """Write a new cron. Raises ThreadNotFound when its thread is not the actor's, also when it has just gone."""
        ...

    async def get(self, cron_id: str) -> CronRecord | None: ...

    async def search(
        self,
        where: CronFilter,
        *,
        sort_by: CronSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[CronRecord]:
        """What has no value to sort by comes last, whichever way."""
        ...

    async def count(self, where: CronFilter) -> int: ...

    async def update(self, cron_id: str, change: Change) -> CronRecord | None:
        """Change a cron in one transaction, so that two changes at once are both made; None when it is not there.

        From then on its runs act as the changer, if that is the same user: by the credentials shown last.
        """
        ...

    async def delete(self, cron_id: str) -> bool:
        """False when it is not there. A thread that is deleted takes its crons along."""
        ...

    # --- for the scheduler: unscoped, since it serves everybody -----------------------------------------------------

    async def due(self, limit: int) -> Sequence[CronRecord]:
        """Enabled crons whose next date has come, the longest ago first. Their runs are created by
        `RunCreateStore.create_runs` with a ``tick``, which moves the cron on in the same transaction.
        """
        ...

    async def next_due(self) -> datetime | None:
        """The earliest next date of all enabled crons."""
        ...

    async def skip(self, cron_id: str, due_at: datetime, next_at: datetime | None, error: str) -> bool:
        """Move a cron on without a run, and say why. False, and nothing changes, when it is not due at ``due_at`` any
        more.
        """
        ...
