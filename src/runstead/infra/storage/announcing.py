"""The hook that adds runs to an external queue, called when a thread's next run may have become claimable.

It is called in the transaction that makes the run claimable: a queue in the same database then has jobs for exactly
the existing runs. If workers poll the rows themselves, nothing has to be written, and a wake-up after the commit
suffices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Connection

from runstead.runtime.runs.types import ThreadId

Announce: TypeAlias = Callable[[Connection, ThreadId], None]
"""Called with the open transaction, which holds the thread's lock, after all its writes to the thread's runs."""


def the_rows_are_the_queue(connection: Connection, thread_id: ThreadId) -> None:
    """Write nothing: workers poll the rows."""
