"""Workers of a server or cluster, for operators: slots, leases, queue, pools of connections, sizes of tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Final

from runstead.infra.storage.sizes import TableSize
from runstead.resources.run_waits import HeldRun
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject

from .exposition import MetricSources

_MOST_HELD: Final = 500
_SIZES_FRESH: Final = 60.0
"""Seconds for which sizes of tables are reused."""


class WorkersReport:
    """The report, as clients read it."""

    def __init__(
        self,
        sources: MetricSources,
        held: Callable[[int], Awaitable[Sequence[HeldRun]]],
        tables: Callable[[], Awaitable[Sequence[TableSize]]],
        clock: Clock,
    ) -> None:
        self._sources, self._held, self._tables, self._clock = sources, held, tables, clock
        self._sizes: JsonObject = {}
        self._sizes_at = float("-inf")

    async def as_json(self, *, names_runs: bool) -> JsonObject:
        """Return the report. ``names_runs``: with the ids of runs, which are of all users."""
        held, queue, now = await self._held(_MOST_HELD), await self._sources.queue(), self._clock.now()
        most, in_use = self._sources.slots()
        blocks = self._sources.blocks
        return {
            "at": now,
            "server": {
                "slots": most,
                "slots_in_use": in_use,
                "pools": {name: asdict(pool) for name, pool in self._sources.pools().items()},
                "user_code": {"blocks": blocks.blocks, "blocked_seconds": round(blocks.seconds, 3)},
            },
            "workers": list(_workers(held, now)),
            "held": [_held_run(run, now) for run in held] if names_runs else [],
            "queue": asdict(queue),
            **await self._read_sizes(),
        }

    async def _read_sizes(self) -> JsonObject:
        if self._clock.monotonic() - self._sizes_at >= _SIZES_FRESH:
            sizes = {name: asdict(size) for name, size in (await self._sources.sizes()).items()}
            self._sizes = {"sizes": sizes, "tables": [asdict(table) for table in await self._tables()]}
            self._sizes_at = self._clock.monotonic()
        return self._sizes


def _workers(held: Sequence[HeldRun], now: datetime) -> Iterator[JsonObject]:
    for worker, group in groupby(sorted(held, key=lambda run: run.worker), key=lambda run: run.worker):
        until = [run.lease_until for run in group]
        lost = sum(moment < now for moment in until)
        yield {"worker": worker, "runs": len(until), "expired_leases": lost, "lease_until": min(until)}


def _held_run(run: HeldRun, now: datetime) -> JsonObject:
    return {**asdict(run), "is_expired": run.lease_until < now}
