"""Stop requests: a waiting run ends at once, a held one is flagged for its holder."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select, update

from runstead.runtime.runs.store import StopRequest
from runstead.runtime.runs.types import RunId, RunRecord, RunStatus, StopReason

from .prepared import Prepared
from .run_ends import WEBHOOKS_ONLY, RunEnds
from .run_rows import RECORD, ended_actor, to_record
from .schema import runs

_RUN: Final = Prepared(select(*RECORD).where(runs.c.run_id == bindparam("the_run")).with_for_update())
_FLAG: Final = Prepared(
    update(runs)
    .where(runs.c.run_id == bindparam("the_run"))
    .values(stop_requested=bindparam("reason"), updated_at=bindparam("now", type_=runs.c.updated_at.type))
)
_DELETE: Final = Prepared(delete(runs).where(runs.c.run_id == bindparam("the_run")))
_END: Final = Prepared(
    update(runs)
    .where(runs.c.run_id == bindparam("the_run"))
    .values(
        status=RunStatus.INTERRUPTED.value,
        stop_requested=bindparam("reason"),
        actor=func.coalesce(bindparam("the_actor", type_=runs.c.actor.type), runs.c.actor),
        ended_at=bindparam("now", type_=runs.c.ended_at.type),
        updated_at=bindparam("now", type_=runs.c.updated_at.type),
    )
)


def stop(
    connection: Connection, run_id: RunId, reason: StopReason, now: datetime, ends: RunEnds = WEBHOOKS_ONLY
) -> StopRequest | None:
    """Stop a run; return None if it is unknown. The caller must update the status of its thread."""
    row = _RUN.first(connection, {"the_run": run_id})
    if row is None:
        return None
    run = to_record(row)
    if run.status.is_terminal:
        return StopRequest("already_ended", run)
    reason = _first(run.stop_requested, reason)
    # A waiting run that began before has left steps: its next holder rolls them back, or reports their result.
    if run.status.is_held or run.started_at is not None:
        return StopRequest("flagged", _flag(connection, run, reason, now))
    return StopRequest("ended", _end(connection, run, reason, now, ends))


def _first(before: StopReason | None, reason: StopReason) -> StopReason:
    """Return the reason that applies: the first one, but a rollback replaces one that does not roll back."""
    if before is None or (reason.rolls_back and not before.rolls_back):
        return reason
    return before


def _flag(connection: Connection, run: RunRecord, reason: StopReason, now: datetime) -> RunRecord:
    if run.stop_requested is reason:
        return run
    _FLAG.rows(connection, {"the_run": run.run_id, "reason": reason.value, "now": now})
    return dataclasses.replace(run, stop_requested=reason, updated_at=now)


def _end(connection: Connection, run: RunRecord, reason: StopReason, now: datetime, ends: RunEnds) -> RunRecord:
    if reason.rolls_back:
        _DELETE.rows(connection, {"the_run": run.run_id})
    else:
        actor = ended_actor(run.actor)
        _END.rows(connection, {"the_run": run.run_id, "reason": reason.value, "the_actor": actor, "now": now})
    ended = dataclasses.replace(run, status=RunStatus.INTERRUPTED, stop_requested=reason, ended_at=now, updated_at=now)
    ends.write(connection, ended, now)
    return dataclasses.replace(ended, actor=ended.actor.with_kept_claims())
