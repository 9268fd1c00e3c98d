"""Which runs wait, and which of them is the next on its thread: said once, as SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, exists, or_

from .tables import runs

_other: Final = runs.alias("other")
NOW: Final = bindparam("now", type_=runs.c.due_at.type)
WAITS: Final = and_(runs.c.ended_at.is_(None), runs.c.lease_until.is_(None))
"""Nobody holds it, and it has not ended; it may be for later."""

# Looks at the thread, each by an index: nobody holds a run of it, no due one stands before this one, and none that has
# begun waits to go on. Whoever has begun goes before all who have not.
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
