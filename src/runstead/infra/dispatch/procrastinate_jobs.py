"""Runs as jobs of procrastinate: written in the transaction that makes a run claimable, recreated if lost.

Only the first run of a thread's queue has a job, and every run with a later due time, so that a thread with a thousand
waiting runs is one job. The rows remain the source of truth: a job only means "look at this run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    ColumnClause,
    Connection,
    Select,
    Text,
    bindparam,
    case,
    column,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from runstead.infra.storage.database import Database
from runstead.infra.storage.dialect import lock_thread
from runstead.infra.storage.run_predicates import IS_HEAD, NOW, WAITS
from runstead.infra.storage.schema import runs, threads
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import RunId, ThreadId

TASK: Final = "runstead.run"
DEFAULT_QUEUE: Final = "default"
_AT_ONCE: Final = 200

_jobs: Final = table("procrastinate_jobs", column("queueing_lock"), column("status"))
_IS_JOB: Final = exists().where(_jobs.c.queueing_lock == runs.c.run_id, _jobs.c.status == text("'todo'"))
_IS_OWED_A_JOB: Final = (WAITS, or_(runs.c.due_at > NOW, IS_HEAD), ~_IS_JOB)

# procrastinate's own function for clients that write its jobs themselves; see its schema.
_JOB: Final[ColumnClause[object]] = literal_column(
    "ROW(owed.queue, owed.task, owed.priority, NULL, owed.run_id,"
    " jsonb_build_object('run_id', owed.run_id), owed.due_at)::procrastinate_job_to_defer_v1"
)
_LOST: Final = text(
    "DELETE FROM procrastinate_jobs WHERE task_name = :task AND (status = 'failed' OR status = 'doing' AND ("
    "worker_id IS NULL OR worker_id IN "
    "(SELECT id FROM procrastinate_workers WHERE last_heartbeat < now() - make_interval(secs => :silent))))"
)


@dataclass(frozen=True, slots=True)
class JobRouting:
    """The queue and the priority of each graph's runs; a higher number is more urgent. Keys are graph ids."""

    queues: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)


class RunJobs:
    """The jobs of waiting runs. The stores call ``announce`` in their transactions."""

    def __init__(self, database: Database, clock: Clock, routing: JobRouting | None = None) -> None:
        self._database = database
        self._clock = clock
        self._owed_on = _deferring(_owed(routing or JobRouting()).where(runs.c.thread_id == bindparam("the_thread")))

    def enqueue(self, connection: Connection, thread_id: ThreadId) -> None:
        """Create the missing jobs of the thread's runs. The transaction must hold the lock of the thread."""
        connection.execute(self._owed_on, {"the_thread": thread_id, "now": self._clock.now()})

    async def reschedule(self, run_id: RunId) -> None:
        """Create a missing job of the run, or of the next run of its thread, after a job had no effect."""

        def work(connection: Connection) -> None:
            thread_id = connection.execute(select(runs.c.thread_id).where(runs.c.run_id == run_id)).scalar()
            if thread_id is not None:
                self._locked(connection, thread_id)

        await self._database.write(work)

    async def restore(self, *, silent: float) -> int:
        """Delete jobs that failed or whose worker sent no heartbeat for ``silent`` seconds; create missing jobs.

        Returns the number of threads that had missing jobs.
        """
        now = self._clock.now()
        lost = {"task": TASK, "silent": silent}
        await self._database.write(lambda connection: connection.execute(_LOST, lost).rowcount)
        owed = await self._database.read(lambda connection: _threads_owed(connection, now))
        for thread_id in owed:
            await self._database.write(partial(self._locked, thread_id=thread_id))
        return len(owed)

    def _locked(self, connection: Connection, thread_id: ThreadId) -> None:
        lock_thread(connection, threads, thread_id)
        self.enqueue(connection, thread_id)


def _threads_owed(connection: Connection, now: datetime) -> Sequence[ThreadId]:
    owed = select(runs.c.thread_id).where(*_IS_OWED_A_JOB).distinct().limit(_AT_ONCE)
    return connection.execute(owed, {"now": now}).scalars().all()


def _owed(routing: JobRouting) -> Select[Any]:
    """Return the query for the columns of the missing jobs."""
    # The SQL function is created by the migrations: it changes JSON text that PostgreSQL would refuse so that it is
    # valid.
    graph = func.runstead_json(runs.c.spec, type_=JSONB)["graph_id"].astext
    return (
        select(
            runs.c.run_id,
            case((runs.c.due_at > NOW, runs.c.due_at)).label("due_at"),
            runs.c.queue_seq,
            literal(TASK).label("task"),
            _by(graph, routing.queues, DEFAULT_QUEUE).label("queue"),
            # The graph's priority of a run in a fairness group is in the run's own priority, where lower is more
            # urgent.
            case((runs.c.fairness_group.is_not(None), -runs.c.priority), else_=_by(graph, routing.priorities, 0)).label(
                "priority"
            ),
        )
        .where(*_IS_OWED_A_JOB)
        .order_by(runs.c.queue_seq)
    )


def _by(graph: Any, choices: JsonMapping, otherwise: Any) -> Any:
    if not choices:
        return literal(otherwise, Text if isinstance(otherwise, str) else None)
    return case(*((graph == name, literal(choice)) for name, choice in choices.items()), else_=literal(otherwise))


def _deferring(owed: Select[object]) -> Select[object]:
    rows = owed.subquery("owed")
    deferred = func.procrastinate_defer_jobs_v1(func.array_agg(_JOB))
    return select(deferred).select_from(rows).having(func.count() > 0)
