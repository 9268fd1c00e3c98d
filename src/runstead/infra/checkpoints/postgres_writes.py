"""Writes of runs in PostgreSQL, each in one statement: the fence, the undo records, and the write itself.

One statement is a transaction by itself, so each write is one round trip and one commit. The fence is a shared lock on
the run's row, as in `runstead.infra.storage.run_predicates.lock_attempt`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from runstead.resources.storage_errors import StorageBusy
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.types import Holder, RunId, ThreadId

from .driver import REPLACING_CHECKPOINT, REPLACING_WRITE, Driver

_LONGEST: Final = 30.0
"""Seconds that an undo waits for a write under way."""

_HELD: Final = """
    WITH held AS MATERIALIZED (
        SELECT run_id FROM runs WHERE run_id = :holder AND attempt = :attempt AND lease_until IS NOT NULL FOR SHARE
    )
"""
_PUT: Final = f"""{_HELD}, kept AS (
        INSERT INTO mark_checkpoints (
            thread_id, mark_run_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata,
            run_id, position
        )
        SELECT m.thread_id, m.run_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.type, c.checkpoint,
            c.metadata, c.run_id, c.position
        FROM held CROSS JOIN marks m JOIN checkpoints c ON c.thread_id = m.thread_id AND c.checkpoint_ns = :ns
            AND c.checkpoint_id = :checkpoint_id
        WHERE m.thread_id = :thread AND (c.run_id IS NULL OR c.run_id <> m.run_id)
        ON CONFLICT DO NOTHING
        RETURNING thread_id, mark_run_id, checkpoint_ns, checkpoint_id
    ), kept_writes AS (
        INSERT INTO mark_writes (
            thread_id, mark_run_id, checkpoint_ns, checkpoint_id, task_id, idx, existed, task_path, channel, type, value
        )
        SELECT k.thread_id, k.mark_run_id, k.checkpoint_ns, k.checkpoint_id, w.task_id, w.idx, true, w.task_path,
            w.channel, w.type, w.value
        FROM kept k JOIN writes w ON w.thread_id = k.thread_id AND w.checkpoint_ns = k.checkpoint_ns
            AND w.checkpoint_id = k.checkpoint_id
        ON CONFLICT DO NOTHING
    )
    INSERT INTO checkpoints (
        thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id, position
    )
    SELECT CAST(:thread AS text), CAST(:ns AS text), CAST(:checkpoint_id AS text), CAST(:parent AS text),
        CAST(:type AS text), CAST(:checkpoint AS bytea), CAST(:metadata AS bytea), CAST(:run AS text), (
            SELECT 1 + coalesce(max(latest), 0) FROM (
                SELECT max(position) AS latest FROM checkpoints WHERE thread_id = :thread AND checkpoint_ns = :ns
                UNION ALL SELECT max(position) FROM checkpoints WHERE thread_id = :thread AND checkpoint_ns = ''
            ) AS spaces
        )
    FROM held
    {REPLACING_CHECKPOINT}
    RETURNING 1
"""
_PUT_WRITES: Final = f"""{_HELD}, new AS MATERIALIZED (
        SELECT idx, channel, type, value FROM unnest(
            CAST(:indexes AS integer[]), CAST(:channels AS text[]), CAST(:types AS text[]), CAST(:values AS bytea[])
        ) AS given(idx, channel, type, value)
    ), kept AS (
        INSERT INTO mark_writes (
            thread_id, mark_run_id, checkpoint_ns, checkpoint_id, task_id, idx, existed, task_path, channel, type, value
        )
        SELECT m.thread_id, m.run_id, :ns, :checkpoint_id, :task, n.idx, w.idx IS NOT NULL, w.task_path, w.channel,
            w.type, w.value
        FROM held CROSS JOIN new n JOIN marks m ON m.thread_id = :thread
        LEFT JOIN writes w ON w.thread_id = m.thread_id AND w.checkpoint_ns = :ns
            AND w.checkpoint_id = :checkpoint_id AND w.task_id = :task AND w.idx = n.idx
        WHERE NOT EXISTS (
            SELECT 1 FROM checkpoints c WHERE c.thread_id = m.thread_id AND c.checkpoint_ns = :ns
            AND c.checkpoint_id = :checkpoint_id AND c.run_id = m.run_id
        )
        ON CONFLICT DO NOTHING
    ), put AS (
        INSERT INTO writes (
            thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
        )
        SELECT :thread, :ns, :checkpoint_id, :task, :task_path, n.idx, n.channel, n.type, n.value
        FROM held CROSS JOIN new n
        %s
    )
    SELECT 1 FROM held
"""
_ONCE: Final = _PUT_WRITES.replace("%s", "ON CONFLICT DO NOTHING")
_LATEST: Final = _PUT_WRITES.replace("%s", REPLACING_WRITE)
# Pruning a history takes the same lock, and then reads the marks: a run begins before it and keeps its history, or
# after it. The latest checkpoint, which is read here, is never pruned.
_MARK: Final = """
    WITH line AS MATERIALIZED (
        SELECT pg_advisory_xact_lock(hashtextextended(:line, 0))
    ), new AS (
        INSERT INTO marks (thread_id, run_id, checkpoint_id)
        SELECT CAST(:thread AS text), CAST(:run AS text), (
            SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread AND checkpoint_ns = ''
            ORDER BY position DESC LIMIT 1
        )
        FROM line
        ON CONFLICT DO NOTHING
        RETURNING checkpoint_id
    )
    SELECT checkpoint_id FROM new
    UNION ALL SELECT checkpoint_id FROM marks WHERE thread_id = :thread AND run_id = :run
"""
# The commit need not wait for the disk: a mark that remains is harmless.
_DISCARD: Final = """
    WITH soon AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', true)
    ), over AS (
        DELETE FROM marks USING soon WHERE thread_id = :thread
        AND rowid <= (SELECT rowid FROM marks WHERE thread_id = :thread AND run_id = :run)
        RETURNING run_id
    ), kept AS (
        DELETE FROM mark_checkpoints WHERE thread_id = :thread AND mark_run_id IN (SELECT run_id FROM over)
    )
    DELETE FROM mark_writes WHERE thread_id = :thread AND mark_run_id IN (SELECT run_id FROM over)
"""

Write: TypeAlias = tuple[int, str, tuple[str, bytes]]
"""Index, channel, and the value with its type."""


class WritesUnderWay:
    """Writes of runs that have passed the check of this process and are not committed yet.

    An undo waits for those of its run: the check of a later write fails, and an earlier write is undone too.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._counts: dict[RunId, int] = {}

    @contextmanager
    def checked(self, run_id: RunId, check: Callable[[], object] | None) -> Iterator[None]:
        """Count a write of the run for the duration of a block, after its check. Raises the error of the check."""
        with self._changed:
            self._counts[run_id] = self._counts.get(run_id, 0) + 1
        try:
            if check is not None:
                check()
            yield
        finally:
            with self._changed:
                self._counts[run_id] -= 1
                if not self._counts[run_id]:
                    del self._counts[run_id]
                    self._changed.notify_all()

    def wait(self, run_id: RunId, place: str) -> None:
        """Block until no write of the run is under way. Raises StorageBusy if that takes too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: run_id not in self._counts, _LONGEST):
                raise StorageBusy(place, "still writes for a run that is to be undone; trying again")


def put_checkpoint(driver: Driver, holder: Holder, row: Sequence[Any]) -> None:
    """Store a checkpoint of a run. ``row``: the columns of `saver`'s statement, without those of its position.

    Raises LeaseLost.
    """
    names = ("thread", "ns", "checkpoint_id", "parent", "type", "checkpoint", "metadata", "run")
    values = {**dict(zip(names, row, strict=True)), **_fence(holder)}
    if driver.execute(_PUT, values).fetchone() is None:
        raise LeaseLost(holder.run_id, holder.attempt)


def put_writes(
    driver: Driver,
    holder: Holder,
    place: tuple[ThreadId, str, str],
    task: tuple[str, str],
    writes: Sequence[Write],
    *,
    latest: bool,
) -> None:
    """Store pending writes of a task (id and path). With ``latest``, they replace earlier ones. Raises LeaseLost."""
    # Of several writes to one place, one statement can only store one.
    by_index = {index: (channel, *value) for index, channel, value in (writes if latest else reversed(writes))}
    thread_id, namespace, checkpoint_id = place
    columns = list(zip(*by_index.values(), strict=True)) or [(), (), ()]
    values = {
        **_fence(holder),
        "thread": thread_id,
        "ns": namespace,
        "checkpoint_id": checkpoint_id,
        "task": task[0],
        "task_path": task[1],
        "indexes": list(by_index),
        **dict(zip(("channels", "types", "values"), map(list, columns), strict=True)),
    }
    if driver.execute(_LATEST if latest else _ONCE, values).fetchone() is None:
        raise LeaseLost(holder.run_id, holder.attempt)


def mark(driver: Driver, thread_id: ThreadId, run_id: RunId, line: str) -> str | None:
    """Begin the undo log of a run, as `rollback.begin_undo_log`, after the lock called ``line``."""
    values = {"thread": thread_id, "run": run_id, "line": line}
    # Another worker may have marked the same run while this one waited for the lock: the next statement sees that.
    row = driver.execute(_MARK, values).fetchone() or driver.execute(_MARK, values).fetchone()
    latest: str | None = row[0]
    return latest


def discard(driver: Driver, thread_id: ThreadId, run_id: RunId) -> None:
    """Delete the undo log of a run, as `rollback.discard`."""
    driver.execute(_DISCARD, {"thread": thread_id, "run": run_id})


def _fence(holder: Holder) -> dict[str, object]:
    return {"holder": holder.run_id, "attempt": holder.attempt}
