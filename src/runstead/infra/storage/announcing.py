"""Telling the queue, where there is one besides the rows, of a thread whose next run may have come up.

It happens in the transaction in which the run came up: a queue in the same database then knows of exactly the runs
that are there. Where workers look at the rows themselves there is nothing to write, and a bell after the commit does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Connection

from runstead.runtime.runs.types import ThreadId

Announce: TypeAlias = Callable[[Connection, ThreadId], None]
"""Called with the open transaction, which has the thread locked, after all it writes about the thread's runs."""


def the_rows_are_the_queue(connection: Connection, thread_id: ThreadId) -> None:
    """Nothing to write."""
