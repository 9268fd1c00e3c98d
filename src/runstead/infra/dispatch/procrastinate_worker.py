"""A procrastinate worker that ends when its connections are lost, and fetches no more jobs than it has free slots."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from procrastinate import App
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.utils import wait_any
from procrastinate.worker import Worker

from runstead.runtime.runs.dispatch import RunWorker
from runstead.runtime.runs.types import RunId

from .fair_jobs import FairJobs
from .procrastinate_jobs import TASK

_FIRST_BATCH: Final = 2
_NEXT_BATCH: Final = 4
"""Number of jobs that are fetched at a time: few, so that other workers find some too."""
# As procrastinate's own query, repeated until it finds no job.
_FETCH: Final = """
    WITH RECURSIVE fetched AS (
        SELECT procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker_id)s) AS job, 1 AS number
        UNION ALL
        SELECT procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker_id)s), number + 1 FROM fetched
        WHERE (job).id IS NOT NULL AND number < %(wanted)s
    )
    SELECT (job).id, (job).status, (job).task_name, (job).priority, (job).lock, (job).queueing_lock, (job).args,
        (job).scheduled_at, (job).queue_name, (job).attempts, (job).worker_id
    FROM fetched WHERE (job).id IS NOT NULL
"""
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
        self._fetched: deque[Job] = deque()
        self._wanted = _FIRST_BATCH
        self._is_drained = False
        """True if the latest query found fewer jobs than it asked for, and no job was announced since."""

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        # A launch is counted from its first step. A job that never reaches it must not block all others.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._counted.wait(), _COUNTED_WITHIN)
        job = None
        while job is None and self._worker.free > 0:
            if self._is_drained and not self._fetched and not self.heard.is_set():
                self._is_drained = False
                return None
            job = await self._next(queues, worker_id)
            # The worker discards wake-ups during a fetch; this finds a job that was added after the query.
            if self.heard.is_set():
                self._is_drained = False
            elif job is None:
                return None
        if job is not None and job.task_name == TASK:
            self._counted.clear()
        return job

    def take_fetched(self) -> Sequence[RunId]:
        """Return the runs of jobs that were fetched and not returned, and forget these jobs."""
        left, self._fetched = self._fetched, deque()
        return [RunId(str(job.task_kwargs["run_id"])) for job in left if job.task_name == TASK]

    async def _next(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        if self._fetched:
            return self._fetched.popleft()
        self.heard.clear()
        if self._fair is None:
            return await self._next_of_batch(queues, worker_id)
        shared = self._worker.free - self._worker.reserved
        job = await self._fair.take(worker_id, shared)
        self.held_back = job is None and shared <= 0
        if job is None and shared > 0:
            # The job of a run without a fairness group, from before groups existed.
            job = await super().fetch_job(queues, worker_id)
        return job

    async def _next_of_batch(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """Fetch some jobs in one statement, which also shows whether there are more, and return the first one."""
        wanted = min(self._worker.free, self._wanted)
        rows = await self.connector.execute_query_all_async(_FETCH, queues=queues, worker_id=worker_id, wanted=wanted)
        self._fetched.extend(Job.from_row(row) for row in rows)
        self._is_drained = len(rows) < wanted and not self.heard.is_set()
        self._wanted = _FIRST_BATCH if len(rows) < wanted else _NEXT_BATCH
        return self._fetched.popleft() if self._fetched else None


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
