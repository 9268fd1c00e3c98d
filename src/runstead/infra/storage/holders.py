"""Whether an attempt still holds its run, asked in the transaction that writes on its behalf.

A worker that was frozen for longer than its lease, and woken again, may be anywhere: also between its own look at the
clock and its commit. So the database is asked, and its answer holds until the commit.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.types import Holder

from .prepared import Prepared
from .tables import runs

_HELD: Final = Prepared(
    select(runs.c.attempt)
    .where(
        runs.c.run_id == bindparam("the_run"),
        runs.c.attempt == bindparam("the_attempt"),
        runs.c.lease_until.is_not(None),
    )
    # In common with others of the same attempt; whoever takes the run away waits, or has been before us.
    .with_for_update(read=True)
)


def hold_on(connection: Connection, holder: Holder) -> None:
    """Nobody takes the run away until the transaction ends. Raises LeaseLost when it is no longer the attempt's."""
    if _HELD.first(connection, {"the_run": holder.run_id, "the_attempt": holder.attempt}) is None:
        raise LeaseLost(holder.run_id, holder.attempt)
