"""Create the runs of due crons: one run for each due time, however many processes run the scheduler.

Due times that were missed while no scheduler was running are merged into one run; if even the latest of them is too
long ago, no run is created. The storage decides whether a run is created: see RunCreateStore and its ``tick``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from runstead.infra.dispatch.due_loop import repeat_when_due
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.resources.assistant_lookup import AssistantLookup
from runstead.resources.crons import CronRecord, CronStore
from runstead.resources.schedules import Schedule
from runstead.resources.storage_errors import StorageError
from runstead.resources.threads import ThreadStore
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import Clock
from runstead.runtime.periodic import beside
from runstead.runtime.runs.exceptions import CronMoved, ThreadNotFound
from runstead.runtime.runs.types import CronTick, RunRecord, RunSpec
from runstead.wire.crons import run_of, to_cron_spec
from runstead.wire.errors import UNEXPECTED, problem_of
from runstead.wire.runs import RunCreate

_log = logging.getLogger(__name__)

_BATCH: Final = 100

Grant: TypeAlias = Callable[[CronRecord, RunCreate], Awaitable[RunCreate]]
"""Return the run with the permissions of the cron's user applied. Raises an error if the run is not permitted."""


class RunCreator(Protocol):
    """The part of RunsFacade that the scheduler uses."""

    async def create_background(self, spec: RunSpec) -> RunRecord: ...


@dataclass(frozen=True, slots=True)
class CronSettings:
    """Options of the scheduler.

    ``grace``: maximum delay after a due time at which a run is still created; None: no limit. ``recheck``: seconds
    between two reads of the storage without a wake-up signal; they find crons that another process wrote.
    """

    grace: timedelta | None = timedelta(days=1)
    recheck: float = 5


class CronScheduler:
    """Serves the crons of all users; each run is created with its cron's creator as the actor."""

    def __init__(
        self,
        crons: CronStore,
        runs: RunCreator,
        assistants: AssistantLookup,
        threads: ThreadStore,
        bell: WakeupSignal,
        clock: Clock,
        settings: CronSettings | None = None,
        grant: Grant | None = None,
    ) -> None:
        self._crons, self._runs, self._assistants, self._threads = crons, runs, assistants, threads
        self._bell, self._clock, self._settings = bell, clock, settings or CronSettings()
        self._grant = grant

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the scheduler for the length of a block."""
        serving = repeat_when_due(self._round, self._bell, self._clock, self._settings.recheck, failed=self._failed)
        async with beside(serving, "crons"):
            yield

    async def create_due(self) -> None:
        """Create the runs of all crons that are due now. Raises StorageError."""
        while due := await self._crons.due(_BATCH):
            for cron in due:
                with acting(cron.actor):
                    await self._create(cron)
            if len(due) < _BATCH:
                break

    async def _round(self, _: asyncio.Event) -> datetime | None:
        await self.create_due()
        return await self._crons.next_due()

    def _failed(self) -> None:
        _log.exception("reading due crons failed; retrying in %g s", self._settings.recheck)

    async def _create(self, cron: CronRecord) -> None:
        now, due_at = self._clock.now(), cron.next_run_date
        assert due_at is not None, "a cron without a next date is not due"
        next_at: datetime | None = None
        try:
            next_at = cron.due_after(now)
            if (late := self._too_late(cron, due_at, now)) is not None:
                await self._skip(cron, due_at, next_at, late)
                return
            spec = await self._spec_of(cron)
            moment = CronTick(cron.cron_id, due_at.isoformat(), None if next_at is None else next_at.isoformat())
            run = await self._runs.create_background(dataclasses.replace(spec, tick=moment))
            _log.info("cron %s, due at %s: run %s", cron.cron_id, due_at.isoformat(), run.run_id)
        except CronMoved:
            # Another process was faster, or the owner has changed the cron: nothing to do.
            return
        except StorageError:
            raise
        except Exception as error:
            # This due time is not retried: one failing cron would delay all others.
            problem = problem_of(error)
            if problem.status == UNEXPECTED:
                _log.exception("cron %s, due at %s, created no run", cron.cron_id, due_at.isoformat())
            await self._skip(cron, due_at, next_at, problem.detail)

    def _too_late(self, cron: CronRecord, due_at: datetime, now: datetime) -> str | None:
        grace = self._settings.grace
        if grace is None or now - due_at <= grace:
            return None
        until = now if cron.end_time is None else min(now, cron.end_time)
        latest = Schedule.parse(cron.schedule, cron.timezone).last(until, since=due_at)
        if now - latest <= grace:
            return None
        return f"the moment {latest.isoformat()} was missed by more than {grace.total_seconds():g} s"

    async def _spec_of(self, cron: CronRecord) -> RunSpec:
        run = run_of(cron)
        if self._grant is not None:
            run = await self._grant(cron, run)
        assistant = await self._assistants.find(cron.assistant_id)
        self._assistants.check_graph(assistant.graph_id)
        thread = await self._threads.get(cron.thread_id) if cron.thread_id else None
        if cron.thread_id and thread is None:
            raise ThreadNotFound(cron.thread_id)
        return to_cron_spec(cron, run, assistant=assistant, thread=thread)

    async def _skip(self, cron: CronRecord, due_at: datetime, next_at: datetime | None, error: str) -> None:
        if await self._crons.skip(cron.cron_id, due_at, next_at, error):
            _log.warning("cron %s, due at %s, created no run: %s", cron.cron_id, due_at.isoformat(), error)
