"""Fair turns over rows in memory: flows are found by scanning all runs."""

from __future__ import annotations

from collections import Counter, defaultdict

from runstead.runtime.runs.fair_turns import Flow, QueuedRun, in_fair_order
from runstead.runtime.runs.types import RunId

from .tables import InMemoryTables, RunRow


def next_in_turn(tables: InMemoryTables, limit: int, shared: int) -> list[RunId]:
    """Return the next ``limit`` claimable runs in fair order, as a store with turns does."""
    rows = [row for row in tables.runs.values() if row.turn.group is not None]
    waiting: defaultdict[tuple[str, int], list[RunRow]] = defaultdict(list)
    for row in rows:
        if tables.is_claimable(row):
            waiting[_key(row)].append(row)
    begun = [(_key(row), row.record.started_at) for row in rows if row.record.started_at is not None]
    flows = []
    for (group, priority), of_flow in waiting.items():
        of_flow.sort(key=lambda row: (row.record.due_at, row.record.created_at, row.record.queue_seq))
        turns = [started for key, started in begun if key == (group, priority)]
        flows.append(Flow(group, priority, of_flow[0].record.due_at, max(turns, default=None)))

    def runs_of(flow: Flow, count: int) -> list[QueuedRun]:
        records = [row.record for row in waiting[flow.group, flow.priority]]
        return [QueuedRun(record.run_id, record.due_at) for record in records[:count]]

    executing = Counter(_key(row)[0] for row in rows if row.record.status.is_held)
    return in_fair_order(flows, runs_of, executing, tables.clock.now(), limit, shared)


def _key(row: RunRow) -> tuple[str, int]:
    assert row.turn.group is not None, "only rows with a group take turns"
    return row.turn.group, row.turn.priority
