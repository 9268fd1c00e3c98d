"""procrastinate's worker, such that it ends when its connections are gone, and takes no more than there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from procrastinate import App
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.utils import wait_any
from procrastinate.worker import Worker

from runstead.runtime.runs.dispatch import RunWorker

from .jobs import TASK

_COUNTED_WITHIN: Final = 1.0
"""Seconds from finding a job to the first step of its launch, at most."""


class JobsForRoom(JobManager):
    """Finds no job while the worker has no room for its run. ``counted`` is clear while a run is on its way for which
    the worker has not counted a slot yet.
    """

    def __init__(self, jobs: JobManager, worker: RunWorker, counted: asyncio.Event) -> None:
        super().__init__(jobs.connector)
        self._worker, self._counted = worker, counted

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        # A launch counts with its first step. A job that never gets as far must not hold up all others.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._counted.wait(), _COUNTED_WITHIN)
        if self._worker.free <= 0:
            return None
        job = await super().fetch_job(queues, worker_id)
        if job is not None and job.task_name == TASK:
            self._counted.clear()
        return job


class Life(Worker):
    """Ends when one of its side tasks does: it would not be told of new jobs, or be held for dead, and not notice."""

    def __init__(self, app: App, worker: RunWorker, **options: Any) -> None:
        super().__init__(app, **options)
        self._worker = worker

    async def run(self) -> None:
        await super().run()  # type: ignore[no-untyped-call]

    async def _periodic_deferrer(self) -> None:
        # Nothing is periodic. But once a side task has ended, the others are watched no more; so this one must not.
        await asyncio.Event().wait()

    async def _fetch_and_process_jobs(self) -> None:
        await self._fetch_all()
        # Runs of an earlier life take room too, and no job of this one ends with them.
        while self._worker.free <= 0 and not self._stop_event.is_set():
            await wait_any(self._worker.wait_free(), self._stop_event.wait())
            await self._fetch_all()

    async def _fetch_all(self) -> None:
        await super()._fetch_and_process_jobs()  # type: ignore[no-untyped-call]
