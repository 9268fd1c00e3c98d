"""SQL conditions: a run is waiting, and it is the next run of its thread."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, exists, or_

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
