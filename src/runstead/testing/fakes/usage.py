"""Usage of models in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.runs.store import DailyUsage, ThreadUsage
from runstead.runtime.runs.types import ModelUsage, ThreadId

from .tables import InMemoryTables, owns


class InMemoryRunUsageStore:
    """RunUsageStore over `InMemoryTables`."""

    def __init__(self, tables: InMemoryTables) -> None:
        self._tables = tables

    async def of_thread(self, thread_id: ThreadId) -> ThreadUsage:
        actor = require_actor_context("reading usage")
        found = [
            (run.run_id, one)
            for run, _, one in self._tables.usage.values()
            if run.thread_id == thread_id
            and run.actor.tenant_id == actor.tenant_id
            and (owns(actor, run.actor) or thread_id in actor.access_scope.thread_ids)
        ]
        return ThreadUsage(len({run_id for run_id, _ in found}), _sums(one for _, one in found))

    async def by_day(self, since: date, until: date) -> Sequence[DailyUsage]:
        actor = require_actor_context("reading usage")
        days: dict[date, list[ModelUsage]] = {}
        for run, day, one in self._tables.usage.values():
            if owns(actor, run.actor) and since <= day <= until:
                days.setdefault(day, []).append(one)
        return [DailyUsage(day, _sums(days[day])) for day in sorted(days)]


def _sums(usage: Iterable[ModelUsage]) -> tuple[ModelUsage, ...]:
    sums: dict[tuple[str, str | None, str], ModelUsage] = {}
    for one in usage:
        sums[one.key] = sums[one.key].plus(one) if one.key in sums else one
    return tuple(sums[key] for key in sorted(sums, key=lambda key: (key[0], key[1] or "", key[2])))
