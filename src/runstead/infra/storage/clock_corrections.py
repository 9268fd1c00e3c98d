"""Correct times in the future that were written while the clock was ahead.

A clock can be set back: by hand, by NTP after a start with a wrong time, or between two starts of a server. Without
this, a waiting run would not be due until the clock has caught up, and the lease of a dead worker would hold its run
for as long.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, or_, select, update

from .schema import runs

TOLERANCE: Final = timedelta(minutes=1)
"""Tolerance for differences between the clocks of servers that share a database; smaller ones are not corrected."""

_TIME: Final = runs.c.updated_at.type
_AHEAD: Final = (
    select(runs.c.run_id, runs.c.created_at, runs.c.updated_at, runs.c.due_at, runs.c.lease_until)
    .where(
        runs.c.ended_at.is_(None),
        or_(
            runs.c.created_at > bindparam("the_latest", type_=_TIME),
            runs.c.updated_at > bindparam("the_latest", type_=_TIME),
        ),
    )
    .with_for_update(skip_locked=True)
)


def correct_times(connection: Connection, now: datetime) -> int:
    """Move open runs whose times are in the future to now, keeping delays and lease terms; return their number."""
    found = connection.execute(_AHEAD, {"the_latest": now + TOLERANCE}).all()
    for run_id, created_at, updated_at, due_at, lease_until in found:
        values: dict[str, Any] = {"updated_at": now}
        if created_at > now:
            values |= {"created_at": now, "due_at": now + (due_at - created_at)}
        # A lease that was renewed after the clock was set back ends before its claim was made, and is right.
        if lease_until is not None and lease_until > updated_at:
            values["lease_until"] = now + (lease_until - updated_at)
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))
    return len(found)
