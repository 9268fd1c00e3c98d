"""Jobs of procrastinate in fair order: the fair queue over the runs selects the next run, and its job is fetched.

Any number of workers may fetch jobs at once. Each sees which jobs the others have fetched before; two workers that
read at the same moment may both give a turn to the same group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from procrastinate.jobs import Job
from sqlalchemy import Connection, column, exists, func, literal, or_, select, table, text

from runstead.infra.storage.database import Database
from runstead.infra.storage.fair_queue import FairQueue
from runstead.infra.storage.prepared import Prepared
from runstead.infra.storage.schema import runs
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunId

_CANDIDATES: Final = 16
"""Number of runs that are tried: other workers may be fetching the jobs of the first ones at this moment."""

_jobs: Final = table("procrastinate_jobs", column("queueing_lock"), column("status"), column("queue_name"))
_of_group: Final = runs.c.fairness_group.is_not(None)
_executing: Final = (
    select(runs.c.fairness_group, runs.c.run_id)
    .where(runs.c.lease_until.is_not(None), _of_group)
    .union(
        # Fetched, and not claimed yet.
        select(runs.c.fairness_group, runs.c.run_id)
        .join(_jobs, _jobs.c.queueing_lock == runs.c.run_id)
        .where(_jobs.c.status == text("'doing'"), runs.c.ended_at.is_(None), _of_group)
    )
    .subquery("executing")
)
_EXECUTING: Final = Prepared(select(_executing.c.fairness_group, func.count()).group_by(_executing.c.fairness_group))
_TAKE: Final = text(
    "UPDATE procrastinate_jobs SET status = 'doing', worker_id = :worker WHERE id = ("
    "SELECT id FROM procrastinate_jobs WHERE queueing_lock = :run AND status = 'todo' LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " RETURNING id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name, attempts,"
    " worker_id"
)


class FairJobs:
    """The jobs in ``queues`` (None: all queues) of runs that have a fairness group."""

    def __init__(self, database: Database, clock: Clock, queues: Sequence[str] | None = None) -> None:
        self._database, self._clock = database, clock
        served = () if queues is None else (or_(*(_jobs.c.queue_name == literal(queue) for queue in queues)),)
        is_job = exists().where(_jobs.c.queueing_lock == runs.c.run_id, _jobs.c.status == text("'todo'"), *served)
        self._queue = FairQueue.for_groups(is_job)

    async def take(self, worker_id: int, shared: int) -> Job | None:
        """Fetch the job of the next run in fair order; return None if there is none.

        With ``shared`` less than one, only groups that execute no run are considered.
        """

        def work(connection: Connection) -> JsonObject | None:
            executing = Counter(dict(_EXECUTING.rows(connection, {})))
            # Only one of them is fetched, so all may count on the same shared slot.
            limit = _CANDIDATES
            first = self._queue.first(connection, executing, self._clock.now(), limit, limit if shared > 0 else 0)
            for run_id in first:
                if (job := _take(connection, run_id, worker_id)) is not None:
                    return job
            return None

        row = await self._database.write(work)
        return None if row is None else Job.from_row(row)


def _take(connection: Connection, run_id: RunId, worker_id: int) -> JsonObject | None:
    row = connection.execute(_TAKE, {"run": run_id, "worker": worker_id}).mappings().first()
    return None if row is None else dict(row)
