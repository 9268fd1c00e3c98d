"""Runs as jobs of procrastinate: written in the transaction in which a run comes up, made again when they were lost.

Only the run that is next on its thread is a job, and every run that is to begin later, so that a thread with a
thousand waiting runs is one job. The rows stay the truth: a job says no more than "look at this run".
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
from runstead.infra.storage.tables import runs, threads
from runstead.infra.storage.waiting_runs import IS_HEAD, NOW, WAITS
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId, ThreadId

TASK: Final = "runstead.run"
DEFAULT_QUEUE: Final = "default"
_AT_ONCE: Final = 200

_jobs: Final = table("procrastinate_jobs", column("queueing_lock"), column("status"))
_IS_JOB: Final = exists().where(_jobs.c.queueing_lock == runs.c.run_id, _jobs.c.status == text("'todo'"))
_IS_OWED_A_JOB: Final = (WAITS, or_(runs.c.due_at > NOW, IS_HEAD), ~_IS_JOB)

# procrastinate's own function for those who write its jobs themselves; see its schema.
_JOB: Final[ColumnClause[Any]] = literal_column(
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
    """Which queue the runs of a graph go to, and how urgent they are: the higher number first. Keys are graph ids."""

    queues: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)


class RunJobs:
    """The jobs of waiting runs. ``announce`` is what the stores are to call in their transactions."""

    def __init__(self, database: Database, clock: Clock, routing: JobRouting | None = None) -> None:
        self._database = database
        self._clock = clock
        self._owed_on = _deferring(_owed(routing or JobRouting()).where(runs.c.thread_id == bindparam("the_thread")))

    def announce(self, connection: Connection, thread_id: ThreadId) -> None:
        """Make jobs of the thread's runs that are owed one. The transaction has the thread locked."""
        connection.execute(self._owed_on, {"the_thread": thread_id, "now": self._clock.now()})

    async def look_again(self, run_id: RunId) -> None:
        """A job of the run came to nothing: it, or who is next on its thread, gets another where that is owed."""

        def work(connection: Connection) -> None:
            thread_id = connection.execute(select(runs.c.thread_id).where(runs.c.run_id == run_id)).scalar()
            if thread_id is not None:
                self._locked(connection, thread_id)

        await self._database.write(work)

    async def restore(self, *, silent: float) -> int:
        """Forget jobs whose worker was lost (not heard of for ``silent`` seconds) or that failed, and make those
        that are owed. Returns how many threads that were.
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
        self.announce(connection, thread_id)


def _threads_owed(connection: Connection, now: datetime) -> Sequence[ThreadId]:
    owed = select(runs.c.thread_id).where(*_IS_OWED_A_JOB).distinct().limit(_AT_ONCE)
    return connection.execute(owed, {"now": now}).scalars().all()


def _owed(routing: JobRouting) -> Select[Any]:
    """What the jobs of runs are made of."""
    # Written by the migrations: JSON text that PostgreSQL would not take is made such that it does.
    graph = func.runstead_json(runs.c.spec, type_=JSONB)["graph_id"].astext
    return (
        select(
            runs.c.run_id,
            case((runs.c.due_at > NOW, runs.c.due_at)).label("due_at"),
            runs.c.queue_seq,
            literal(TASK).label("task"),
            _by(graph, routing.queues, DEFAULT_QUEUE).label("queue"),
            # A run that takes turns has its graph's priority in its own, whose lower number is the more urgent.
            case((runs.c.fairness_group.is_not(None), -runs.c.priority), else_=_by(graph, routing.priorities, 0)).label(
                "priority"
            ),
        )
        .where(*_IS_OWED_A_JOB)
        .order_by(runs.c.queue_seq)
    )


def _by(graph: Any, choices: Mapping[str, Any], otherwise: Any) -> Any:
    if not choices:
        return literal(otherwise, Text if isinstance(otherwise, str) else None)
    return case(*((graph == name, literal(choice)) for name, choice in choices.items()), else_=literal(otherwise))


def _deferring(owed: Select[Any]) -> Select[Any]:
    rows = owed.subquery("owed")
    deferred = func.procrastinate_defer_jobs_v1(func.array_agg(_JOB))
    return select(deferred).select_from(rows).having(func.count() > 0)
