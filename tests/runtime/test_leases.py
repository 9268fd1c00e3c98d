"""A worker renews all its leases, each separately."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import Lease, RunId, ThreadId
from runstead.testing.fakes import InMemoryLeaseStore, Step
from tests.faults.kernel import ALICE, Storage, a_spec


class SlowForOne(InMemoryLeaseStore):
    """The renewal of one run takes longer than any timeout."""

    slow = "r1"
    renewed: Counter[str]

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        self.renewed[lease.run_id] += 1
        if lease.run_id == self.slow:
            await asyncio.Event().wait()
        return await super().renew(lease, term)


async def test_slow_renewal_does_not_delay_other_renewals() -> None:
    storage = Storage()
    leases = SlowForOne(storage.tables, storage.bell.notify)
    leases.renewed = Counter()
    limits = RunLimits(lease_term=timedelta(seconds=3), stop_grace=5.0)
    async with storage.worker(lease_store=leases, limits=limits) as runs:
        with acting(ALICE):
            for number in (1, 2):
                await runs.create_background(a_spec(f"r{number}", Step("hang"), thread_id=ThreadId(f"t{number}")))
            for _ in range(4):
                await storage.clock.advance(1)
            # It was requested once, and is awaited; the other one is requested each second.
            assert leases.renewed == {"r1": 1, "r2": 4}
            for number in (1, 2):
                await runs.cancel(RunId(f"r{number}"))
