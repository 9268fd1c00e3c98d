"""Dispatch by procrastinate, on the PostgreSQL of the runs, to any number of workers on configurable queues.

A job lasts as long as its worker holds the run, and no job is fetched while the worker has no free slot. Only the
claim decides which worker gets a run: procrastinate does not fence, and a job that is delivered twice is harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from procrastinate import App, BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job
from psycopg import AsyncConnection

from runstead.resources.storage_errors import StorageError
from runstead.runtime.clock import Clock
from runstead.runtime.periodic import repeat
from runstead.runtime.runs.dispatch import RunWorker
from runstead.runtime.runs.types import RunId

from .fair_jobs import FairJobs
from .procrastinate_connector import JobConnector
from .procrastinate_jobs import TASK, RunJobs
from .procrastinate_worker import CapacityJobManager, FailFastWorker

_log = logging.getLogger(__name__)

_CONNECTIONS: Final = 2
"""To fetch jobs, finish them and send heartbeats; one more listens. Agents use the storage's own pool."""
_WITHIN: Final = 5.0
"""Seconds to wait for a connection before failing.

A new pool tries an unavailable database every few seconds; a pool that waits longer tries less and less often.
"""
_RETRIES: Final = 5


@dataclass(frozen=True, slots=True)
class ProcrastinateSettings:
    """Options of the dispatcher; all times in seconds.

    ``queues``: the queues that a worker serves, None for all. ``schema``: the schema of procrastinate's tables.
    ``poll``: maximum delay of a run with a later due time, or whose notification was lost. ``restore_every``: interval
    at which lost jobs are recreated. ``silent``: a worker without a heartbeat for so long is lost. ``patience``: pause
    after a failure. ``farewell``: time that a stopping worker may take to record that in the database.
    """

    queues: Sequence[str] | None = None
    schema: str = "runstead"
    poll: float = 1.0
    restore_every: float = 15.0
    silent: float = 30.0
    patience: float = 1.0
    farewell: float = 3.0


class StopNotices(Protocol):
    """Delivers "read this run's stop flag" to the worker that holds the run, on any node. Best effort and quick."""

    async def request_stop(self, run_id: RunId) -> None: ...

    def brought_to(self, notice_stop: Callable[[RunId], None]) -> AbstractContextManager[None]:
        """Call ``notice_stop`` on the running loop for each notice, for the length of a block."""
        ...


class ProcrastinateDispatcher:
    """A RunDispatcher over procrastinate's jobs."""

    def __init__(
        self,
        url: str,
        jobs: RunJobs,
        notices: StopNotices,
        clock: Clock,
        settings: ProcrastinateSettings | None = None,
        *,
        fair: FairJobs | None = None,
    ) -> None:
        """Create the dispatcher. ``fair``: the jobs of this worker's queues, if groups of runs take turns."""
        self._url = url
        self._jobs = jobs
        self._notices = notices
        self._clock = clock
        self._settings = settings or ProcrastinateSettings()
        self._fair = fair

    async def serve(self, worker: RunWorker) -> None:
        with self._notices.brought_to(worker.check_stop_request):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._restore_regularly(), name="lost jobs")
                group.create_task(self._serve_with_restarts(worker), name="deliveries")

    async def request_stop(self, run_id: RunId) -> None:
        await self._notices.request_stop(run_id)

    async def _serve_with_restarts(self, worker: RunWorker) -> None:
        while True:
            deliveries = _Deliveries(worker, self._jobs, self._settings.schema, self._fair, self._clock)
            try:
                await deliveries.run(self._url, self._settings)
            except Exception:
                _log.exception("procrastinate's worker failed; restarting in %.1f s", self._settings.patience)
            finally:
                # Half a claim would look like a lost worker.
                await deliveries.all_launched()
                await deliveries.return_fetched()
            await self._clock.sleep(self._settings.patience)

    async def _restore_regularly(self) -> None:
        def failed() -> None:
            _log.exception("lost jobs could not be restored; retrying later")

        await repeat(self._restore, self._settings.restore_every, self._clock, failed=failed, at_once=True)

    async def _restore(self) -> None:
        if restored := await self._jobs.restore(silent=self._settings.silent):
            _log.warning("missing jobs of waiting runs were created again for %d threads", restored)


class JobRetries(BaseRetryStrategy):
    """Retry a failed job a few times, later each time.

    The time comes from the clock of the database, which decides when a job is due: by the clock of a worker that is
    two hours ahead, the run would wait for two hours.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if job.attempts >= _RETRIES:
            return None
        return RetryDecision(retry_at=self._clock.now() + timedelta(seconds=2.0 ** (job.attempts + 1)))


class _Deliveries:
    """One instance of procrastinate's worker, which ends when its connections break."""

    def __init__(self, worker: RunWorker, jobs: RunJobs, schema: str, fair: FairJobs | None, clock: Clock) -> None:
        self._worker, self._jobs, self._schema, self._fair, self._clock = worker, jobs, schema, fair, clock
        self._fetching: CapacityJobManager | None = None
        self._counted = asyncio.Event()
        self._counted.set()
        self._launching: set[asyncio.Task[bool]] = set()

    async def run(self, url: str, settings: ProcrastinateSettings) -> None:
        connector = JobConnector(
            conninfo=url,
            # The first user opens a connection: one that the pool opens itself would be waited for longer than the
            # limit.
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=_WITHIN,
            reconnect_timeout=_WITHIN,
            configure=self._configure,
        )
        app = App(connector=connector)
        self._fetching = fetching = CapacityJobManager(app.job_manager, self._worker, self._counted, self._fair)
        app.job_manager = fetching
        app.task(name=TASK, retry=JobRetries(self._clock))(self._deliver)
        async with app.open_async():
            life = FailFastWorker(
                app,
                self._worker,
                fetching,
                queues=settings.queues,
                # All slots: those that older runs occupy become free later.
                concurrency=self._worker.slots,
                fetch_job_polling_interval=settings.poll,
                stalled_worker_timeout=settings.silent,
                # The rows record the result of a run; its job is not needed for that.
                delete_jobs="always",
                install_signal_handlers=False,
                # A job only waits for its run here; the lease holder drains runs.
                shutdown_graceful_timeout=0,
            )
            await _until_cancelled(life.run(), settings.farewell)

    async def _configure(self, connection: AsyncConnection[Any]) -> None:
        # Each statement is a transaction by itself. Its commit need not wait for the disk: a job is a hint, and a lost
        # one is created again.
        await connection.set_autocommit(True)
        await connection.execute(
            "SELECT set_config('search_path', %s, false), set_config('synchronous_commit', 'off', false)",
            (f'"{self._schema}", public',),
        )

    async def all_launched(self) -> None:
        if self._launching:
            await asyncio.wait(self._launching)

    async def return_fetched(self) -> None:
        """Create again the jobs that were fetched and will not be launched here. Without a database, that is done at
        the next restoring."""
        for run_id in self._fetching.take_fetched() if self._fetching is not None else ():
            with suppress(StorageError):
                await self._jobs.reschedule(run_id)

    async def _deliver(self, run_id: RunId) -> None:
        launch = asyncio.create_task(self._launch(run_id), name=f"launch-{run_id}")
        self._launching.add(launch)
        launch.add_done_callback(self._launched)
        if await asyncio.shield(launch):
            await self._worker.finished(run_id)
            if self._fetching is not None and self._fetching.held_back:
                self._fetching.heard.set()
        else:
            # Another worker has it, or it was not due yet by our clock.
            await self._jobs.reschedule(run_id)

    def _launched(self, launch: asyncio.Task[bool]) -> None:
        self._launching.discard(launch)
        # The task that awaited it may be cancelled, with the listener of an unavailable database: log the error here.
        if not launch.cancelled() and (error := launch.exception()) is not None:
            _log.info("%s failed; its run will be delivered again: %s", launch.get_name(), error)

    async def _launch(self, run_id: RunId) -> bool:
        # The launch is counted from its first step.
        self._counted.set()
        return await self._worker.launch(run_id)


async def _until_cancelled(work: Coroutine[object, object, None], farewell: float) -> None:
    """Await ``work``; when cancelled, stop it within a time limit, and do not fail.

    The limit also applies if the database is unavailable.
    """
    working = asyncio.create_task(work, name="procrastinate")
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        # Cancel up to twice: after the first time it unregisters, and retries that until the pool's timeout.
        for _ in range(2):
            working.cancel()
            await asyncio.wait([working], timeout=farewell)
        if working.done() and not working.cancelled() and (error := working.exception()):
            _log.warning("procrastinate's worker stopped, but could not unregister: %s", error)
        raise
