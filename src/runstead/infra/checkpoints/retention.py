"""Deletion of a thread's older checkpoints, as its retention rule says. A dry run selects the same rows.

Reads and deletions are small steps: a thread may have thousands of checkpoints, and requests must not wait for them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from runstead.infra.storage.database import Database
from runstead.resources.retention import RetentionReport, Ruled, StoredCheckpoint, deletable
from runstead.runtime.pace import Pace
from runstead.runtime.runs.types import ThreadId

from . import rollback
from .driver import Driver, driver_of

_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)
"""The time from which UUIDs count."""
_PAGE: Final = 100
"""Checkpoints that one step reads."""
_BATCH: Final = 50
"""Checkpoints that one transaction deletes, and their bytes, unless one alone has more."""
_BATCH_BYTES: Final = 1_000_000

_PLACE: Final = "w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id"
_CHECKPOINTS: Final = f"""
    SELECT checkpoint_ns, position, checkpoint_id, parent_checkpoint_id, metadata,
        coalesce(length(checkpoint), 0) + coalesce(length(metadata), 0)
            + coalesce((SELECT sum(length(value)) FROM writes w WHERE {_PLACE}), 0),
        (SELECT count(*) FROM writes w WHERE {_PLACE}),
        EXISTS (SELECT 1 FROM writes w WHERE {_PLACE} AND channel = '__interrupt__')
    FROM checkpoints c WHERE thread_id = ? AND (checkpoint_ns, position) > (?, ?)
    ORDER BY checkpoint_ns, position LIMIT ?
"""
_COUNTS: Final = """
    SELECT thread_id, count(*) FROM checkpoints WHERE thread_id IN ({}) GROUP BY thread_id, checkpoint_ns
    HAVING count(*) > 1
"""
_NEWEST: Final = "SELECT max(position) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
_OF_BATCH: Final = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id IN ({})"

_Place: TypeAlias = tuple[str, int]
"""Namespace and position."""
_FIRST: Final[_Place] = ("", -1)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Checkpoints of a namespace to delete, oldest first, and the position of its newest one at that time."""

    thread_id: ThreadId
    namespace: str
    newest: int
    over: Sequence[StoredCheckpoint]


class CheckpointRetention:
    """Checkpoints in a database, for retention."""

    def __init__(self, database: Database, *, durable: bool = True) -> None:
        """``durable``: each transaction is on disk when it returns."""
        self._database, self._durable = database, durable

    async def counts(self, thread_ids: Sequence[ThreadId]) -> Mapping[ThreadId, int]:
        """Return how many checkpoints the largest namespace of each thread has, without threads that have one each."""
        return await self._database.read(partial(_counts, thread_ids=thread_ids))

    async def planned(self, ruled: Ruled, now: datetime, pace: Pace) -> Mapping[ThreadId, RetentionReport]:
        """Return what `apply` would delete now, by thread."""
        found: dict[ThreadId, RetentionReport] = {}
        for plan in await self._plans(ruled, now, pace):
            found[plan.thread_id] = found.get(plan.thread_id, RetentionReport()).plus(_report(plan.over))
        return found

    async def apply(self, ruled: Ruled, now: datetime, pace: Pace) -> Mapping[ThreadId, RetentionReport]:
        """Delete what the rules delete of these threads, and return it by thread. What a run or an update changes
        meanwhile is left for later, and so is a thread with a run that could still be undone."""
        found: dict[ThreadId, RetentionReport] = {}
        for batch in _batches(await self._plans(ruled, now, pace)):
            done = await pace.step(self._database.write(partial(_delete, batch=batch), durable=self._durable))
            for thread_id, deleted in done:
                found[thread_id] = found.get(thread_id, RetentionReport()).plus(deleted)
        return found

    async def _plans(self, ruled: Ruled, now: datetime, pace: Pace) -> Sequence[_Plan]:
        found: dict[tuple[ThreadId, str], list[StoredCheckpoint]] = defaultdict(list)
        waiting, after = list(ruled), _FIRST
        while waiting:
            page = await pace.step(self._database.read(partial(_page, thread_ids=waiting, after=after)))
            for thread_id, namespace, one in page:
                found[thread_id, namespace].append(one)
            if len(page) < _PAGE:
                break
            last, namespace, one = page[-1]
            waiting, after = waiting[waiting.index(last) :], (namespace, one.position)
        plans = [
            _Plan(thread_id, namespace, all_[-1].position, deletable(all_, ruled[thread_id], now))
            for (thread_id, namespace), all_ in found.items()
        ]
        return [plan for plan in plans if plan.over]


def _counts(connection: Connection, thread_ids: Sequence[ThreadId]) -> Mapping[ThreadId, int]:
    found: dict[ThreadId, int] = {}
    statement = _COUNTS.format(_slots(thread_ids))
    for thread_id, count in driver_of(connection).execute(statement, tuple(thread_ids)).fetchall():
        found[thread_id] = max(count, found.get(thread_id, 0))
    return found


def _page(
    connection: Connection, thread_ids: Sequence[ThreadId], after: _Place
) -> Sequence[tuple[ThreadId, str, StoredCheckpoint]]:
    """Return the next checkpoints by thread, namespace and position, up to _PAGE; of the first thread, those behind
    ``after``. Threads with a run that could be undone are skipped."""
    driver, found = driver_of(connection), list[tuple[ThreadId, str, StoredCheckpoint]]()
    for thread_id in thread_ids:
        if not rollback.has_undo_log(driver, thread_id):
            rows = driver.execute(_CHECKPOINTS, (thread_id, *after, _PAGE - len(found))).fetchall()
            found += [(thread_id, row[0], _described(*row[1:])) for row in rows]
        if len(found) == _PAGE:
            break
        after = _FIRST
    return found


def _described(
    position: int, name: str, parent: str | None, metadata: bytes | None, size: int, writes: int, asks: Any
) -> StoredCheckpoint:
    described = json.loads(metadata) if metadata else {}
    counters = described.get("counters_since_delta_snapshot") or {}
    return StoredCheckpoint(
        checkpoint_id=name,
        parent_id=parent,
        position=int(position),
        created_at=created_at(name),
        step=described.get("step"),
        # A counter is (updates, steps) since the channel was last stored completely.
        delta_steps=max((steps for _, steps in counters.values()), default=0),
        is_interrupted=bool(asks),
        size=int(size),
        writes=int(writes),
    )


def _batches(plans: Sequence[_Plan]) -> Iterator[Sequence[_Plan]]:
    """Yield the plans in parts that one transaction deletes."""
    batch: list[_Plan] = []
    count = size = 0
    for plan in plans:
        some: list[StoredCheckpoint] = []
        for one in plan.over:
            if count and (count == _BATCH or size + one.size > _BATCH_BYTES):
                yield [*batch, replace(plan, over=some)]
                batch, some, count, size = [], [], 0, 0
            some.append(one)
            count, size = count + 1, size + one.size
        batch.append(replace(plan, over=some))
    if batch:
        yield batch


def _delete(connection: Connection, batch: Sequence[_Plan]) -> Sequence[tuple[ThreadId, RetentionReport]]:
    """Delete the checkpoints of plans, and return what was deleted, with its thread."""
    driver, done = driver_of(connection), list[tuple[ThreadId, RetentionReport]]()
    for plan in sorted(batch, key=lambda plan: plan.thread_id):
        _line_up(driver, plan.thread_id)
        where = _OF_BATCH.format(_slots(plan.over))
        values = (plan.thread_id, plan.namespace, *(one.checkpoint_id for one in plan.over))
        if not plan.over or _has_changed(driver, plan, where, values):
            continue
        # Checkpoints last, so that no write is ever without one.
        writes = driver.execute(f"DELETE FROM writes WHERE {where}", values).rowcount
        checkpoints = driver.execute(f"DELETE FROM checkpoints WHERE {where}", values).rowcount
        size = sum(one.size for one in plan.over)
        deleted = RetentionReport(checkpoints=checkpoints, writes=writes, checkpoint_bytes=size)
        done.append((plan.thread_id, deleted))
    return done


def _has_changed(driver: Driver, plan: _Plan, where: str, values: Sequence[str]) -> bool:
    """Return whether the namespace has changed since it was read, or a run could be undone."""
    newest = driver.execute(_NEWEST, (plan.thread_id, plan.namespace)).fetchone()[0]
    return (
        newest != plan.newest
        or rollback.has_undo_log(driver, plan.thread_id)
        or driver.execute(f"SELECT 1 FROM writes WHERE {where} AND channel = '__interrupt__'", values).fetchone()
        is not None
    )


def _slots(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _report(over: Sequence[StoredCheckpoint]) -> RetentionReport:
    return RetentionReport(
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
