"""Dispatch inside one process, from the durable rows of the runs.

There is no queue besides the rows: a wake-up follows each commit that may have made a run claimable, and every worker
with free slots reads the rows. When idle, the rows are read only every ``recheck`` seconds, in case the wall clock was
set or a row was changed by another process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.runs.dispatch import RunWorker
from runstead.runtime.runs.types import RunId

from .poller import ClaimableRuns, LocalDispatchSettings, RunPoller
from .wakeup import WakeupSignal

__all__ = ["ClaimableRuns", "LocalDispatchSettings", "LocalDispatcher"]

_log = logging.getLogger(__name__)


class LocalDispatcher:
    """A RunDispatcher over the rows of a lease store.

    It may serve several workers: claiming decides which gets a run.
    """

    def __init__(
        self,
        rows: ClaimableRuns,
        bell: WakeupSignal | None = None,
        clock: Clock | None = None,
        settings: LocalDispatchSettings | None = None,
    ) -> None:
        self._rows = rows
        self._bell = bell or WakeupSignal()
        self._clock: Clock = clock or SystemClock()
        self._settings = settings or LocalDispatchSettings()
        self._serving: list[tuple[RunWorker, asyncio.AbstractEventLoop]] = []

    def notify(self) -> None:
        """Signal that a run may have become claimable. Stores call it after their commits, from any thread."""
        self._bell.notify()

    async def serve(self, worker: RunWorker) -> None:
        place = (worker, asyncio.get_running_loop())
        self._serving.append(place)
        try:
            with self._bell.listener() as heard:
                await RunPoller(self._rows, worker, heard, self._clock, self._settings).run()
        finally:
            self._serving.remove(place)

    async def request_stop(self, run_id: RunId) -> None:
        here = asyncio.get_running_loop()
        # One of these workers may hold the run; the others ignore the notice.
        for worker, loop in list(self._serving):
            if loop is here:
                _notice(worker.check_stop_request, run_id)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_notice, worker.check_stop_request, run_id)


def _notice(notice_stop: Callable[[RunId], None], run_id: RunId) -> None:
    try:
        notice_stop(run_id)
    except Exception:
        # The durable flag remains; the lease holder finds it when it renews its lease.
        _log.exception("a worker failed on the stop notice of run %s", run_id)
