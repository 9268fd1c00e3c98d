"""Dispatch by procrastinate, on the PostgreSQL that holds the runs, to any number of workers on queues of their choice.

A job lasts as long as its worker holds the run, and none is fetched while the worker has no room. Who may have a run
is decided by the claim alone: procrastinate does not fence, and a job that comes twice is harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from procrastinate import App, PsycopgConnector, RetryStrategy
from psycopg import AsyncConnection

from runstead.runtime.clock import Clock
from runstead.runtime.runs.dispatch import RunWorker
from runstead.runtime.runs.types import RunId

from .fair_jobs import FairJobs
from .jobs import TASK, RunJobs
from .life import JobsForRoom, Life

_log = logging.getLogger(__name__)

_CONNECTIONS: Final = 2
"""To fetch, finish and beat; one more listens. The agents' work goes over the storage's own pool."""
_WITHIN: Final = 5.0
"""Seconds to get a connection, or to say that there is none. Who begins anew then asks a database that is away every
few seconds; who waits for longer, ever more rarely.
"""
_FEW_TIMES: Final = RetryStrategy(max_attempts=5, exponential_wait=2)


@dataclass(frozen=True, slots=True)
class ProcrastinateSettings:
    """``queues``: those that a worker serves, None for all. ``schema``: where its tables are. ``poll`` (seconds): how
    late a run may begin that was to begin later, or whose notice was lost. ``restore_every`` (seconds): how often lost
    jobs are made again. ``silent`` (seconds): a worker not heard of for so long is lost. ``patience`` (seconds): pause
    after a failure. ``farewell`` (seconds): how long one that stops may take to tell the database so.
    """

    queues: Sequence[str] | None = None
    schema: str = "runstead"
    poll: float = 1.0
    restore_every: float = 15.0
    silent: float = 30.0
    patience: float = 1.0
    farewell: float = 3.0


class StopNotices(Protocol):
    """Brings "look at this run's stop flag" to whoever holds the run, on any node. Best effort and quick."""

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
        """``fair``: the jobs of this worker's queues, where groups of runs take turns."""
        self._url = url
        self._jobs = jobs
        self._notices = notices
        self._clock = clock
        self._settings = settings or ProcrastinateSettings()
        self._fair = fair

    async def serve(self, worker: RunWorker) -> None:
        with self._notices.brought_to(worker.notice_stop):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._restore_regularly(), name="lost jobs")
                group.create_task(self._deliver_for_ever(worker), name="deliveries")

    async def request_stop(self, run_id: RunId) -> None:
        await self._notices.request_stop(run_id)

    async def _deliver_for_ever(self, worker: RunWorker) -> None:
        while True:
            deliveries = _Deliveries(worker, self._jobs, self._settings.schema, self._fair)
            try:
                await deliveries.run(self._url, self._settings)
            except Exception:
                _log.exception("procrastinate's worker failed; another begins in %.1f s", self._settings.patience)
            finally:
                # Half a claim would look like a lost worker.
                await deliveries.all_launched()
            await self._clock.sleep(self._settings.patience)

    async def _restore_regularly(self) -> None:
        while True:
            try:
                restored = await self._jobs.restore(silent=self._settings.silent)
                if restored:
                    _log.warning("%d threads had a waiting run without a job; they have one again", restored)
            except Exception:
                _log.exception("lost jobs could not be looked for; trying again later")
            await self._clock.sleep(self._settings.restore_every)


class _Deliveries:
    """One life of procrastinate's worker, which ends when its connections break."""

    def __init__(self, worker: RunWorker, jobs: RunJobs, schema: str, fair: FairJobs | None) -> None:
        self._worker, self._jobs, self._schema, self._fair = worker, jobs, schema, fair
        self._fetching: JobsForRoom | None = None
        self._counted = asyncio.Event()
        self._counted.set()
        self._launching: set[asyncio.Task[bool]] = set()

    async def run(self, url: str, settings: ProcrastinateSettings) -> None:
        connector = PsycopgConnector(
            conninfo=url,
            # The first who wants one opens it: one of the pool's own opening would be waited for longer than that.
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=_WITHIN,
            reconnect_timeout=_WITHIN,
            configure=self._configure,
        )
        app = App(connector=connector)
        self._fetching = fetching = JobsForRoom(app.job_manager, self._worker, self._counted, self._fair)
        app.job_manager = fetching
        app.task(name=TASK, retry=_FEW_TIMES)(self._deliver)
        async with app.open_async():
            life = Life(
                app,
                self._worker,
                fetching,
                queues=settings.queues,
                # All of it: what older runs take is free one day.
                concurrency=self._worker.slots,
                fetch_job_polling_interval=settings.poll,
                stalled_worker_timeout=settings.silent,
                # The rows tell what became of a run; nobody asks its job.
                delete_jobs="always",
                install_signal_handlers=False,
                # A job only waits for its run here, and runs are drained by who holds them.
                shutdown_graceful_timeout=0,
            )
            await _until_told_to_stop(life.run(), settings.farewell)

    async def _configure(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute("SELECT set_config('search_path', %s, false)", (f'"{self._schema}", public',))
        await connection.commit()

    async def all_launched(self) -> None:
        if self._launching:
            await asyncio.wait(self._launching)

    async def _deliver(self, run_id: str) -> None:
        launch = asyncio.create_task(self._launch(run_id), name=f"launch-{run_id}")
        self._launching.add(launch)
        launch.add_done_callback(self._launched)
        if await asyncio.shield(launch):
            await self._worker.finished(run_id)
            if self._fetching is not None and self._fetching.held_back:
                self._fetching.heard.set()
        else:
            # Somebody else has it, or its time had not come by our clock.
            await self._jobs.look_again(run_id)

    def _launched(self, launch: asyncio.Task[bool]) -> None:
        self._launching.discard(launch)
        # Whoever delivered may be gone by now, with the listener of a database that is away: then nobody else looks.
        if not launch.cancelled() and (error := launch.exception()) is not None:
            _log.info("%s failed, and its run waits to be delivered again: %s", launch.get_name(), error)

    async def _launch(self, run_id: RunId) -> bool:
        # With its first step, the launch counts.
        self._counted.set()
        return await self._worker.launch(run_id)


async def _until_told_to_stop(work: Coroutine[Any, Any, None], farewell: float) -> None:
    """Like awaiting it; but what stops cannot fail instead, and does not wait for a database that is away."""
    working = asyncio.create_task(work, name="procrastinate")
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        # Asked twice if need be: the first time it says good-bye, and tries that for as long as its pool has patience.
        for _ in range(2):
            working.cancel()
            await asyncio.wait([working], timeout=farewell)
        if working.done() and not working.cancelled() and (error := working.exception()):
            _log.warning("procrastinate's worker stopped, and could not tell the database: %s", error)
        raise
