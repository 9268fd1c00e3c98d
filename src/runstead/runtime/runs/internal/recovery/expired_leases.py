"""Recovery of expired leases: their runs become pending again, or dead letters. Every worker scans; the store
decides."""

from __future__ import annotations

import logging
from typing import Final

from runstead.runtime.actor_context import acting
from runstead.runtime.periodic import repeat
from runstead.runtime.runs.runtime import RunsRuntime

from ..execution.registry import RunRegistry
from ..lifecycle_events import RunEventEmitter
from ..streaming.publisher import publish_terminal_for

_log = logging.getLogger(__name__)

_LOOKS_PER_TERM: Final = 2


class ExpiredLeaseRecovery:
    """Scanner for runs whose worker was lost. Scans twice per lease term."""

    def __init__(self, runtime: RunsRuntime, registry: RunRegistry) -> None:
        self._runtime, self._registry = runtime, registry

    async def watch(self) -> None:
        """Scan until cancelled."""
        pause = self._runtime.limits.lease_term.total_seconds() / _LOOKS_PER_TERM

        def failed() -> None:
            _log.exception("the scan for expired leases failed; retrying in %.1f s", pause)

        await repeat(self.recover_expired, pause, self._runtime.clock, failed=failed, at_once=True)

    async def recover_expired(self) -> int:
        """Recover all runs whose lease has expired. Return their number."""
        expired = await self._runtime.lease_store.list_expired()
        recovered = 0
        for run_id in expired:
            if self._registry.get(run_id) is not None:
                # Held by this process, which was suspended past the end of the lease, as a laptop is. It renews the
                # lease or finds that it has lost it.
                continue
            recovery = await self._runtime.lease_store.recover(run_id, self._runtime.limits.max_attempts)
            if recovery is None:
                continue
            recovered += 1
            record = recovery.record
            runtime = self._runtime
            runtime.telemetry.attempt_lost(record)
            if recovery.result == "dead":
                with acting(record.actor):
                    await publish_terminal_for(runtime.bridge, record)
                    emitter = RunEventEmitter(record, runtime.observer, runtime.clock, runtime.telemetry)
                    await emitter.ended(record, "error")
        return recovered
