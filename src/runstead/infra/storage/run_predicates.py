"""SQL conditions on runs: waiting, first of its thread, held by an attempt."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, and_, bindparam, exists, or_, select

from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.types import Holder

from .prepared import Prepared
from .schema import runs

_other: Final = runs.alias("other")
NOW: Final = bindparam("now", type_=runs.c.due_at.type)
WAITS: Final = and_(runs.c.ended_at.is_(None), runs.c.lease_until.is_(None))
"""The run is not held and has not ended; its due time may be in the future."""

# Checks the thread, each condition by an index: no run of it is held, no due run precedes this one, and no run that
# has begun waits to continue. Runs that have begun precede all that have not.
IS_HEAD: Final = and_(
    ~exists().where(_other.c.thread_id == runs.c.thread_id, _other.c.lease_until.is_not(None)),
    ~exists().where(
        _other.c.thread_id == runs.c.thread_id,
        _other.c.ended_at.is_(None),
        _other.c.queue_seq < runs.c.queue_seq,
        _other.c.due_at <= NOW,
        or_(runs.c.started_at.is_(None), _other.c.started_at.is_not(None)),
    ),
    or_(
        runs.c.started_at.is_not(None),
        ~exists().where(
            _other.c.thread_id == runs.c.thread_id,
            _other.c.ended_at.is_(None),
            _other.c.queue_seq > runs.c.queue_seq,
            _other.c.started_at.is_not(None),
        ),
    ),
)


_HELD: Final = Prepared(
    select(runs.c.attempt)
    .where(
        runs.c.run_id == bindparam("the_run"),
        runs.c.attempt == bindparam("the_attempt"),
        runs.c.lease_until.is_not(None),
    )
    # Shared with others of the same attempt; a transaction that takes the run away waits, or has come before.
    .with_for_update(read=True)
)


def lock_attempt(connection: Connection, holder: Holder) -> None:
    """Lock the attempt's lease until the transaction ends. Raises LeaseLost if the attempt no longer holds the run."""
    if _HELD.first(connection, {"the_run": holder.run_id, "the_attempt": holder.attempt}) is None:
        raise LeaseLost(holder.run_id, holder.attempt)
