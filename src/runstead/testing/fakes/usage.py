"""Usage of models in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.store import ThreadUsage, UsageGroup, UsageQuery
from runstead.runtime.runs.types import ModelUsage, RunRecord, ThreadId

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

    async def grouped(self, query: UsageQuery) -> Sequence[UsageGroup]:
        actor = require_actor_context("reading usage")
        found: dict[tuple[str, ...], list[tuple[RunRecord, ModelUsage]]] = {}
        for run, day, one in self._tables.usage.values():
            if query.since <= day <= query.until and _is_within_reach(actor, run.actor, query):
                values = {
                    "day": day.isoformat(),
                    "tenant": run.actor.tenant_id,
                    "user": run.actor.user_id,
                    "graph": run.spec.graph_id,
                    "model": one.model,
                    "caller": one.caller,
                }
                found.setdefault(tuple(values[name] for name in query.dimensions), []).append((run, one))
        keys = sorted(found)
        for place in reversed(range(len(query.dimensions))):
            keys.sort(key=itemgetter(place), reverse=query.dimensions[place] == "day")
        return [
            UsageGroup(key, len({run.run_id for run, _ in found[key]}), _sums(one for _, one in found[key]))
            for key in keys[query.offset : query.offset + query.limit]
        ]


def _is_within_reach(actor: ActorContext, owner: ActorContext, query: UsageQuery) -> bool:
    if query.reach == "own":
        return owns(actor, owner)
    return query.reach == "all" or owner.tenant_id == actor.tenant_id


def _sums(usage: Iterable[ModelUsage]) -> tuple[ModelUsage, ...]:
    sums: dict[tuple[str, str | None, str], ModelUsage] = {}
    for one in usage:
        sums[one.key] = sums[one.key].plus(one) if one.key in sums else one
    return tuple(sums[key] for key in sorted(sums, key=lambda key: (key[0], key[1] or "", key[2])))
