"""Guard of one attempt's writes: nothing is written after the lease is lost or the run is settled (law 6)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from runstead.runtime.backoff import Backoff, retry
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease, StopReason

from .exhaustion import lacks_key
from .registry import RunHandle

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between retries while the database is unavailable. The last value repeats until the lease is lost."""


class LeaseGuard:
    """Right of an attempt to write, for as long as its worker holds the lease and the guard is open."""

    def __init__(self, handle: RunHandle, runtime: RunsRuntime) -> None:
        self._handle, self._runtime = handle, runtime
        self._is_open = True

    def close(self) -> None:
        """Refuse every later write with LeaseLost."""
        self._is_open = False

    def check(self) -> bool:
        """Check that the attempt may still write.

        Return False if the lease has expired by the clock, so that it must be renewed. Callable from any thread,
        without side effects. Raises LeaseLost.
        """
        lease = self._handle.lease
        if self._handle.stop_reason is StopReason.LEASE_LOST or not self._is_open:
            raise LeaseLost(lease.run_id, lease.attempt)
        return self._runtime.clock.now() < lease.deadline

    def is_valid(self) -> bool:
        """Return whether no other worker can have taken the run over. Callable from any thread."""
        lost = self._handle.stop_reason is StopReason.LEASE_LOST
        return not lost and self._runtime.clock.now() < self._handle.lease.deadline

    async def require(self) -> None:
        """Check as `check` does, and renew an expired lease."""
        lease = self._handle.lease
        for pause in Backoff(_PAUSES):
            # Checked again after each wait: the run may have been settled or rolled back in the meantime.
            if self.check():
                return
            # The process was suspended past the end of its lease. It may continue unless another worker has claimed the
            # run; renewing shows that.
            try:
                self._handle.lease = await self._runtime.lease_store.renew(lease, self._runtime.limits.lease_term)
            except LeaseLost:
                raise
            except Exception:
                # The database is unavailable. The agent waits with its write; the run does not fail for that.
                _log.warning("could not renew the lease of run %s", lease.run_id, exc_info=True)
                await self._runtime.clock.sleep(pause)

    async def retry(self, participle: str, work: Callable[[], Awaitable[T]]) -> T:
        """Retry ``work`` until the database is available again: as long as the worker holds the lease, nothing of the
        run is lost. ``participle`` is for the log: "run r1 could not be settled".

        Raises LeaseLost when the database reports that another worker has taken the run over. The lease keeper's
        opinion does not count: the lease also looks lost after a committed write whose reply was lost. Raises the error
        of a database that needs a key which this process lacks: retrying cannot help.
        """

        def failed(error: Exception) -> None:
            if isinstance(error, LeaseLost) or lacks_key(error):
                raise error
            run_id = self._handle.lease.run_id
            _log.warning("run %s could not be %s; retrying", run_id, participle, exc_info=True)

        return await retry(work, _PAUSES, self._runtime.clock.sleep, failed)


class WriteGate:
    """Part of a guard for one user of it, such as the code of the attempt, which can be closed alone."""

    def __init__(self, guard: LeaseGuard, lease: Lease) -> None:
        self._guard, self._lease = guard, lease
        self._is_closed = False

    def close(self) -> None:
        """Refuse every later write through this gate with LeaseLost."""
        self._is_closed = True

    def check(self) -> bool:
        """Check as the guard does. Callable from any thread."""
        self._require_open()
        return self._guard.check()

    async def require(self) -> None:
        """Check as the guard does and renew an expired lease, on the server's loop."""
        self._require_open()
        await self._guard.require()

    def _require_open(self) -> None:
        if self._is_closed:
            raise LeaseLost(self._lease.run_id, self._lease.attempt)
