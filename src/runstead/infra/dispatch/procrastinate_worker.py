"""A procrastinate worker that ends when its connections are lost, and fetches no more jobs than it has free slots."""

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

from .fair_jobs import FairJobs
from .procrastinate_jobs import TASK

_COUNTED_WITHIN: Final = 1.0
"""Maximum seconds from fetching a job to the first step of its launch."""


class CapacityJobManager(JobManager):
    """Fetches no job while the worker has no free slot for its run.

    ``counted`` is clear while a fetched run does not occupy a slot of the worker yet. ``fair`` holds the jobs of
    fairness groups; None if there are none. ``heard`` is set when there may be another job. ``held_back`` is true if
    jobs may be waiting until more slots are free.
    """

    def __init__(
        self, jobs: JobManager, worker: RunWorker, counted: asyncio.Event, fair: FairJobs | None = None
    ) -> None:
        super().__init__(jobs.connector)
        self._worker, self._counted, self._fair = worker, counted, fair
        self.heard = asyncio.Event()
        self.held_back = False

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        # A launch is counted from its first step. A job that never reaches it must not block all others.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._counted.wait(), _COUNTED_WITHIN)
        job = None
        while job is None and self._worker.free > 0:
            self.heard.clear()
            job = await self._next(queues, worker_id)
            # The worker discards wake-ups during a fetch; this finds a job that was added after the query.
            if job is None and not self.heard.is_set():
                return None
        if job is not None and job.task_name == TASK:
            self._counted.clear()
        return job

    async def _next(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        if self._fair is None:
            return await super().fetch_job(queues, worker_id)
        shared = self._worker.free - self._worker.reserved
        job = await self._fair.take(worker_id, shared)
        self.held_back = job is None and shared <= 0
        if job is None and shared > 0:
            # The job of a run without a fairness group, from before groups existed.
            job = await super().fetch_job(queues, worker_id)
        return job


class FailFastWorker(Worker):
    """A worker that ends when one of its side tasks ends.

    Otherwise it would miss new jobs, or count as dead, unnoticed.
    """

    def __init__(self, app: App, worker: RunWorker, jobs: CapacityJobManager, **options: Any) -> None:
        super().__init__(app, **options)
        self._worker = worker
        jobs.heard = self._new_job_event

    async def run(self) -> None:
        await super().run()  # type: ignore[no-untyped-call]

    async def _periodic_deferrer(self) -> None:
        # There are no periodic tasks. This side task must not end: procrastinate then stops watching the others.
        await asyncio.Event().wait()

    async def _fetch_and_process_jobs(self) -> None:
        await self._fetch_all()
        # Runs of an earlier instance occupy slots too, and no job of this instance ends with them.
        while self._worker.free <= 0 and not self._stop_event.is_set():
            await wait_any(self._worker.wait_free(), self._stop_event.wait())
            await self._fetch_all()

    async def _fetch_all(self) -> None:
        await super()._fetch_and_process_jobs()  # type: ignore[no-untyped-call]
