"""Renew the leases of all runs that this process executes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Final

from runstead.runtime.periodic import repeat
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import StopReason

from .registry import RunHandle, RunRegistry

_log = logging.getLogger(__name__)

_RENEWALS_PER_TERM: Final = 3


class LeaseRenewal:
    """Renewal of leases in the background. A renewal also finds stop requests whose notice was lost."""

    def __init__(
        self,
        runtime: RunsRuntime,
        registry: RunRegistry,
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        self._runtime, self._registry, self._spawn = runtime, registry, spawn

    async def run(self) -> None:
        """Renew every held lease at a third of its term. This also finds stop flags whose notification was lost."""
        pause = self._runtime.limits.lease_term.total_seconds() / _RENEWALS_PER_TERM

        def failed() -> None:
            _log.exception("leases could not be renewed; trying again in %.1f s", pause)

        await repeat(self._renew_all, pause, self._runtime.clock, failed=failed)

    async def _renew_all(self) -> None:
        for handle in self._registry:
            # Each in its own task: a slow renewal must not delay the others.
            if handle.renewing is None or handle.renewing.done():
                handle.renewing = self._spawn(self.renew(handle))

    async def renew(self, handle: RunHandle) -> None:
        """Renew the lease, which also returns the run's stop flag."""
        try:
            renewed = await self._runtime.lease_store.renew(handle.lease, self._runtime.limits.lease_term)
        except LeaseLost:
            handle.stop(StopReason.LEASE_LOST)
        except Exception:
            # The next round tries again. After the deadline, nothing may be written unless a renewal succeeds.
            _log.warning("could not renew the lease of run %s", handle.lease.run_id, exc_info=True)
        else:
            handle.lease = renewed
            if (reason := renewed.run.stop_requested) is not None:
                handle.stop(reason)
