"""Deletion of a thread's older checkpoints, as its retention rule says. A dry run selects the same rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from runstead.infra.storage.database import Database
from runstead.resources.retention import RetentionReport, RetentionRule, StoredCheckpoint, deletable
from runstead.runtime.runs.types import ThreadId

from . import rollback
from .driver import Driver, driver_of

_INTERRUPT: Final = "__interrupt__"
_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)
"""The time from which UUIDs count."""
_BATCH: Final = 200

_CHECKPOINTS: Final = """
    SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, position, metadata,
        coalesce(length(checkpoint), 0) + coalesce(length(metadata), 0)
    FROM checkpoints WHERE thread_id = ?
"""
_WRITES: Final = """
    SELECT checkpoint_ns, checkpoint_id, count(*), coalesce(sum(length(value)), 0),
        max(CASE WHEN channel = ? THEN 1 ELSE 0 END)
    FROM writes WHERE thread_id = ? GROUP BY checkpoint_ns, checkpoint_id
"""
_SEVERAL: Final = "SELECT thread_id FROM checkpoints WHERE thread_id IN ({}) GROUP BY thread_id HAVING count(*) > 1"


class CheckpointRetention:
    """Checkpoints in a database, for retention."""

    def __init__(self, database: Database, *, durable: bool = True) -> None:
        """``durable``: each transaction is on disk when it returns."""
        self._database, self._durable = database, durable

    async def with_several(self, thread_ids: Sequence[ThreadId]) -> set[ThreadId]:
        """Return those of the threads that have more than one checkpoint."""
        slots = ", ".join("?" * len(thread_ids))

        def work(driver: Driver) -> set[ThreadId]:
            return {row[0] for row in driver.execute(_SEVERAL.format(slots), tuple(thread_ids)).fetchall()}

        return await self._database.read(lambda connection: work(driver_of(connection))) if thread_ids else set()

    async def planned(self, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
        """Return what `apply` would delete now."""
        return await self._database.read(lambda connection: _report(_plan(driver_of(connection), thread_id, rule, now)))

    async def apply(self, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
        """Delete what the rule deletes of a thread, in one transaction. A thread with a run that could still be undone
        is left as it is."""

        def work(driver: Driver) -> RetentionReport:
            _line_up(driver, thread_id)
            plan = _plan(driver, thread_id, rule, now)
            for namespace, over in plan.items():
                _delete(driver, thread_id, namespace, [one.checkpoint_id for one in over])
            return _report(plan)

        return await self._database.write(lambda connection: work(driver_of(connection)), durable=self._durable)


def _plan(
    driver: Driver, thread_id: ThreadId, rule: RetentionRule, now: datetime
) -> Mapping[str, Sequence[StoredCheckpoint]]:
    """Return the checkpoints to delete, by namespace."""
    if rollback.has_undo_log(driver, thread_id):
        return {}
    writes = {
        (namespace, name): (int(count), int(size), bool(asks))
        for namespace, name, count, size, asks in driver.execute(_WRITES, (_INTERRUPT, thread_id)).fetchall()
    }
    found: dict[str, list[StoredCheckpoint]] = defaultdict(list)
    for namespace, name, parent, position, metadata, size in driver.execute(_CHECKPOINTS, (thread_id,)).fetchall():
        count, written, asks = writes.get((namespace, name), (0, 0, False))
        described = json.loads(metadata) if metadata else {}
        counters = described.get("counters_since_delta_snapshot") or {}
        found[namespace].append(
            StoredCheckpoint(
                checkpoint_id=name,
                parent_id=parent,
                position=int(position),
                created_at=created_at(name),
                step=described.get("step"),
                # A counter is (updates, steps) since the channel was last stored completely.
                delta_steps=max((steps for _, steps in counters.values()), default=0),
                is_interrupted=asks,
                size=int(size) + written,
                writes=count,
            )
        )
    return {namespace: over for namespace, all_ in found.items() if (over := deletable(all_, rule, now))}


def _delete(driver: Driver, thread_id: ThreadId, namespace: str, names: Sequence[str]) -> None:
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        # Checkpoints last, so that no write is ever without one.
        for table in ("writes", "checkpoints"):
            driver.execute(
                f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ?"
                f" AND checkpoint_id IN ({', '.join('?' * len(some))})",
                (thread_id, namespace, *some),
            )


def _report(plan: Mapping[str, Sequence[StoredCheckpoint]]) -> RetentionReport:
    over = [one for some in plan.values() for one in some]
    return RetentionReport(
        threads=1 if over else 0,
        checkpoints=len(over),
        writes=sum(one.writes for one in over),
        checkpoint_bytes=sum(one.size for one in over),
    )


def _line_up(driver: Driver, thread_id: ThreadId) -> None:
    """On PostgreSQL, wait for the start of a run on this thread, as pruning does. SQLite has one writer."""
    if not hasattr(driver, "in_transaction"):
        driver.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"marks {thread_id}",))


def created_at(checkpoint_id: str) -> datetime | None:
    """Return the time in the id of a checkpoint (a UUID of version 6); None for an id of another form."""
    digits = checkpoint_id.replace("-", "")
    try:
        if len(digits) != 32 or digits[12] != "6":
            return None
        ticks = (int(digits[:12], 16) << 12) | int(digits[13:16], 16)
    except ValueError:
        return None
    return _EPOCH + timedelta(microseconds=ticks / 10)
