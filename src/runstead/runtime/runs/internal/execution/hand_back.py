"""Hand-back of a run that has not ended: another attempt continues it from its stored state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from runstead.runtime.backoff import exponential
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease, StopReason
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.user_code.thread_loop import LoopLost

from .event_writer import EventWriter
from .exhaustion import is_exhaustion, lacks_key
from .lease_guard import LeaseGuard
from .registry import RunHandle

_log = logging.getLogger(__name__)

_LONGEST_REST: Final = 30.0
"""Maximum seconds before a run is handed back that failed for lack of file descriptors or disk space."""
_ATTEMPTS_WITHOUT_MEANS: Final = 20


def is_cut_off(error: Exception | None) -> bool:
    """Return whether the attempt ended for a reason outside of the run, so that another attempt may succeed."""
    is_transient = isinstance(error, StorageFault) and error.is_transient
    return is_exhaustion(error) or lacks_key(error) or is_transient


class HandBack:
    """Hand-back of the run that a handle holds."""

    def __init__(
        self,
        handle: RunHandle,
        runtime: RunsRuntime,
        guard: LeaseGuard,
        trace: EventWriter,
        on_missing_key: Callable[[BaseException], None],
    ) -> None:
        """Create a hand-back. ``on_missing_key`` is called before a run is handed back because it needs a key that this
        process lacks."""
        self._handle, self._runtime, self._guard, self._trace = handle, runtime, guard, trace
        self._on_missing_key = on_missing_key

    async def at_shutdown(self) -> None:
        """Release the lease. Tried once: a process that shuts down does not wait for an unavailable database. The lease
        then expires."""
        await self._trace.finish_usage()
        await self._runtime.lease_store.release(self._lease)

    async def after_lost_loop(self, lost: LoopLost) -> None:
        """Hand the run back after its loop was abandoned.

        If the run's own code blocked the loop, let the lease expire instead, as if the worker had died. That counts as
        a lost attempt, so that the run finally becomes a dead letter.
        """
        await self._trace.finish_usage()
        culprit = lost.culprit
        if culprit is None or culprit.work.run_id != self._lease.run_id:
            await self._release()

    async def after_expired_lease(self) -> None:
        """Hand the run back that was stopped because its lease could not be renewed in time.

        Waits for the database. Raises LeaseLost if another worker has taken the run over.
        """
        await self._release()

    @property
    def has_attempts_left(self) -> bool:
        """Return whether the run may lose this worker without becoming a dead letter."""
        run = self._lease.run
        return run.lost_attempts + 1 < (run.spec.max_attempts or self._runtime.limits.max_attempts)

    async def as_lost(self) -> None:
        """Let the lease expire, as if the worker had died: it had no memory left, and the next attempt is made later,
        beside no other run that has lost a worker. Counts as a lost attempt."""
        await self._trace.finish_usage()

    async def after_failure(self, error: Exception | None) -> None:
        """Hand the run back after an error as `is_cut_off` recognizes it. The next attempt finds a requested stop."""
        if is_exhaustion(error) and not await self._back_off():
            return
        if error is not None and lacks_key(error):
            await self.after_missing_key(error)
        else:
            await self._release()

    async def after_missing_key(self, error: Exception) -> None:
        """Report the missing key, and hand the run back."""
        self._on_missing_key(error)
        await self._release()

    async def _back_off(self) -> bool:
        """Wait before another attempt, longer each time: the machine may have free resources by then.

        Return False after too many attempts: the lease then expires, and the run finally becomes a dead letter, which
        an operator can retry.
        """
        if self._lease.attempt > _ATTEMPTS_WITHOUT_MEANS:
            return False
        stopped = asyncio.Event()
        self._handle.on_stop(stopped.set)
        await self._runtime.clock.wait(stopped, exponential(2.0, self._lease.attempt, _LONGEST_REST))
        return True

    @property
    def _lease(self) -> Lease:
        return self._handle.lease

    async def _release(self) -> None:
        await self._trace.finish_usage()
        await self._guard.retry("handed back", self._try_to_release)

    async def _try_to_release(self) -> None:
        try:
            await self._runtime.lease_store.release(self._lease)
        except Exception:
            if self._handle.stop_reason is not StopReason.SHUTDOWN:
                raise
            # A process that shuts down does not wait for an unavailable database.
            _log.warning("run %s was not handed back; its lease expires", self._lease.run_id, exc_info=True)
