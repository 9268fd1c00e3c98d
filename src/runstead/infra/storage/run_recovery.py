"""Recovery of runs whose worker was lost: find, release, give up after too many attempts, retry by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, bindparam, case, select, update

from runstead.runtime.runs.exceptions import RunNotRetriable, ThreadBusy
from runstead.runtime.runs.store import SUSPECT_LOSSES, UNCOUNTED_STARTS, Recovery
from runstead.runtime.runs.types import RunFailure, RunId, RunRecord, RunStatus

from . import json_text
from .prepared import Prepared
from .run_ends import WEBHOOKS_ONLY, RunEnds
from .run_rows import RECORD, to_record
from .schema import runs
from .thread_status import mark_busy, mark_failed

_NOW: Final = bindparam("now", type_=runs.c.due_at.type)
_RUN: Final = runs.c.run_id == bindparam("the_run")
_EXPIRED: Final = Prepared(
    select(runs.c.run_id).where(runs.c.lease_until <= _NOW).order_by(runs.c.lease_until).limit(bindparam("the_limit"))
)
_WAITED: Final = and_(
    runs.c.status == RunStatus.STARTING.value,
    runs.c.lost_attempts >= SUSPECT_LOSSES,
    runs.c.attempt - runs.c.lost_attempts <= UNCOUNTED_STARTS,
)
"""The attempt was lost before it began, while the run was waiting. See RunLeaseStore.recover."""
_FREE: Final = Prepared(
    update(runs)
    .where(_RUN, runs.c.lease_until <= _NOW)
    .values(
        status=RunStatus.PENDING.value,
        lost_attempts=case((_WAITED, runs.c.lost_attempts), else_=runs.c.lost_attempts + 1),
        worker=None,
        lease_until=None,
        updated_at=_NOW,
    )
    .returning(*RECORD)
)
_BURY: Final = Prepared(
    update(runs)
    .where(_RUN)
    .values(
        status=RunStatus.ERROR.value,
        dead_letter=True,
        ended_at=_NOW,
        failure=bindparam("the_failure"),
        updated_at=_NOW,
    )
)
_ABANDON: Final = update(runs).where(runs.c.lease_until.is_not(None)).values(lease_until=_NOW)
_RELEASE_ALL: Final = (
    update(runs)
    .where(runs.c.lease_until.is_not(None))
    .values(status=RunStatus.PENDING.value, worker=None, lease_until=None, updated_at=_NOW)
)
_RETRY: Final = Prepared(
    update(runs)
    .where(_RUN)
    .values(
        status=RunStatus.PENDING.value,
        dead_letter=False,
        lost_attempts=0,
        ended_at=None,
        failure=None,
        updated_at=_NOW,
    )
)
_IN_FLIGHT: Final = Prepared(
    select(runs.c.run_id).where(runs.c.thread_id == bindparam("the_thread"), runs.c.ended_at.is_(None))
)
_RECORD: Final = Prepared(select(*RECORD).where(_RUN).with_for_update())


def expired(connection: Connection, now: datetime, limit: int) -> Sequence[RunId]:
    """Return held runs whose lease has expired, the earliest first."""
    return [run_id for (run_id,) in _EXPIRED.rows(connection, {"now": now, "the_limit": limit})]


def ended(connection: Connection, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
    """Return those of these runs that ended before ``before``."""
    statement = select(*RECORD).where(runs.c.run_id.in_(run_ids), runs.c.ended_at < before)
    return [to_record(row) for row in connection.execute(statement)]


def recover(
    connection: Connection, run_id: RunId, max_attempts: int, now: datetime, ends: RunEnds = WEBHOOKS_ONLY
) -> Recovery | None:
    """Release a run whose lease has expired, or make it a dead letter; see RunLeaseStore."""
    row = _FREE.first(connection, {"the_run": run_id, "now": now})
    if row is None:
        return None
    run = to_record(row)
    limit = max_attempts if run.spec.max_attempts is None else run.spec.max_attempts
    if run.lost_attempts < limit or run.stop_requested is not None:
        return Recovery("waiting", run)
    return Recovery("dead", _mark_dead_letter(connection, run, now, ends))


def abandon_all(connection: Connection, now: datetime) -> int:
    """Let every lease expire now."""
    return connection.execute(_ABANDON, {"now": now}).rowcount


def release_all(connection: Connection, now: datetime) -> int:
    """Release every held run without counting a lost attempt."""
    return connection.execute(_RELEASE_ALL, {"now": now}).rowcount


def retry(connection: Connection, run_id: RunId, now: datetime) -> RunRecord | None:
    """Set a dead letter back to ``pending``; see RunLeaseStore."""
    row = _RECORD.first(connection, {"the_run": run_id})
    if row is None:
        return None
    run = to_record(row)
    if not run.dead_letter:
        raise RunNotRetriable(run_id, run.status)
    if busy_with := _IN_FLIGHT.rows(connection, {"the_thread": run.thread_id}):
        raise ThreadBusy([other for (other,) in busy_with])
    _RETRY.rows(connection, {"the_run": run_id, "now": now})
    mark_busy(connection, run.thread_id, now)
    return dataclasses.replace(
        run,
        status=RunStatus.PENDING,
        dead_letter=False,
        lost_attempts=0,
        ended_at=None,
        failure=None,
        updated_at=now,
    )


def _mark_dead_letter(connection: Connection, run: RunRecord, now: datetime, ends: RunEnds) -> RunRecord:
    failure = RunFailure(
        "AttemptsExhausted",
        f"the worker was lost {run.lost_attempts} times while executing this run; it can be retried by hand",
    )
    text = json_text.dump(failure.to_json())
    _BURY.rows(connection, {"the_run": run.run_id, "the_failure": text, "now": now})
    mark_failed(connection, run.thread_id, failure, now)
    buried = dataclasses.replace(
        run, status=RunStatus.ERROR, dead_letter=True, ended_at=now, failure=failure, updated_at=now
    )
    ends.write(connection, buried, now)
    return buried
