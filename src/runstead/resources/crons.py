"""Crons: schedules that create runs, on one thread or each on a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import AssistantId, CronId, OnCompletion, RunId, ThreadId

from .schedules import Schedule

CronSortField: TypeAlias = Literal[
    "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"
]


class CronNotFound(Exception):
    """The actor has no such cron."""

    def __init__(self, cron_id: CronId) -> None:
        super().__init__(f"Cron '{cron_id}' not found")


@dataclass(frozen=True, slots=True)
class CronRecord:
    """Cron as stored. ``payload`` is the request from which its runs are created; they act as ``actor``.

    With ``thread_id`` None, each run gets its own thread, and ``on_run_completed`` decides whether that is kept. With
    ``next_run_date`` None, no due time is left before ``end_time``. ``last_error`` is the reason why the latest due
    time created no run, None if it created one; ``last_run_id`` is the run created last.
    """

    cron_id: CronId
    assistant_id: AssistantId
    schedule: str
    payload: JsonMapping
    actor: ActorContext
    created_at: datetime
    updated_at: datetime
    thread_id: ThreadId | None = None
    timezone: str | None = None
    end_time: datetime | None = None
    metadata: JsonMapping = field(default_factory=dict)
    on_run_completed: OnCompletion | None = None
    enabled: bool = True
    next_run_date: datetime | None = None
    last_run_id: RunId | None = None
    last_error: str | None = None

    def due_after(self, moment: datetime) -> datetime | None:
        """Return the first due time after ``moment``; None if there is none. Raises InvalidSchedule."""
        found = Schedule.parse(self.schedule, self.timezone).after(moment)
        return None if found is None or (self.end_time is not None and found > self.end_time) else found

    def scheduled(self, now: datetime) -> CronRecord:
        """Return the cron with its next date after ``now``: due times in the past are not caught up."""
        return dataclasses.replace(self, next_run_date=self.due_after(now))


@dataclass(frozen=True, slots=True)
class CronFilter:
    """Filter of crons; all conditions must hold. ``metadata`` must be contained."""

    assistant_id: AssistantId | None = None
    thread_id: ThreadId | None = None
    enabled: bool | None = None
    metadata: JsonMapping = field(default_factory=dict)


Change: TypeAlias = Callable[[CronRecord], CronRecord]
"""Pure function from the stored cron to the changed one. An exception undoes the change and is raised to the caller."""


class CronStore(Protocol):
    """Crons under the bound actor (ActorRequired without one). Another user's cron looks like a missing one."""

    async def create(self, cron: CronRecord) -> CronRecord:
        """Store a new cron. Raises ThreadNotFound if its thread does not belong to the actor, or was just deleted."""
        ...

    async def get(self, cron_id: CronId) -> CronRecord | None: ...

    async def search(
        self,
        where: CronFilter,
        *,
        sort_by: CronSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[CronRecord]:
        """Return matching crons. Those without a value to sort by come last in either order."""
        ...

    async def count(self, where: CronFilter) -> int: ...

    async def update(self, cron_id: CronId, change: Change) -> CronRecord | None:
        """Change a cron in one transaction, so that no concurrent change is lost; None if there is no such cron.

        From then on its runs act with the changer's credentials, if that is the same user.
        """
        ...

    async def delete(self, cron_id: CronId) -> bool:
        """Delete a cron; return False if there is none. Deleting a thread deletes its crons too."""
        ...

    # --- for the scheduler: unscoped, since it serves all users -----------------------------------------------------

    async def due(self, limit: int) -> Sequence[CronRecord]:
        """Return enabled crons whose next date has passed, longest ago first.

        Their runs are created by `RunCreateStore.create_runs` with a ``tick``, which moves the cron to its next date in
        the same transaction.
        """
        ...

    async def next_due(self) -> datetime | None:
        """Return the earliest next date of all enabled crons."""
        ...

    async def skip(self, cron_id: CronId, due_at: datetime, next_at: datetime | None, error: str) -> bool:
        """Move a cron to its next date without a run, and store the reason. Return False without any change if it is
        not due at ``due_at`` any more."""
        ...
