"""Fencing: check in a writing transaction that an attempt still holds its run.

A worker that was frozen for longer than its lease, and woken again, may be at any point: also between its own check of
the clock and its commit. So the database is asked, and its answer is valid until the commit.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.types import Holder

from .prepared import Prepared
from .schema import runs

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


def hold_on(connection: Connection, holder: Holder) -> None:
    """Lock the attempt's lease until the transaction ends. Raises LeaseLost if the attempt no longer holds the run."""
    if _HELD.first(connection, {"the_run": holder.run_id, "the_attempt": holder.attempt}) is None:
        raise LeaseLost(holder.run_id, holder.attempt)
