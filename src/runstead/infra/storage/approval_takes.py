"""Runs that were created before a question was asked, or before they could take it: they take it later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, select

from runstead.runtime.field_encryption import CONTEXT
from runstead.runtime.runs.approvals import GraphRules
from runstead.runtime.runs.types import RunRecord, ThreadId

from .approval_changes import take_now
from .approval_tables import approvals
from .prepared import Prepared
from .run_rows import RECORD, to_record
from .schema import runs

_WAITING: Final = Prepared(
    select(*RECORD)
    .where(
        runs.c.thread_id == bindparam("the_thread"),
        runs.c.ended_at.is_(None),
        runs.c.stop_requested.is_(None),
        runs.c.due_at <= bindparam("now", type_=runs.c.due_at.type),
    )
    .order_by(runs.c.queue_seq)
    .limit(10)
)
_OPEN: Final = Prepared(
    select(approvals.c.approval_id)
    .where(approvals.c.thread_id == bindparam("the_thread"), approvals.c.state == "open")
    .limit(1)
)


def take_for_waiting(connection: Connection, thread_id: ThreadId, now: datetime, rules: GraphRules) -> None:
    """Let the next runs that wait on a thread take the questions that a run has left there. The thread must be
    locked. The cost does not depend on the length of the queue: the first run that answers nothing takes all."""
    if _OPEN.first(connection, {"the_thread": thread_id}) is None:
        return
    for row in _WAITING.rows(connection, {"the_thread": thread_id, "now": now}):
        take_for_run(connection, to_record(row), now, rules)


def take_for_run(connection: Connection, run: RunRecord, now: datetime, rules: GraphRules) -> None:
    """Let a run take questions that were open when it was created, or became open since. The thread must be locked."""
    resume = None if run.spec.command is None else run.spec.command.resume
    if isinstance(resume, Mapping) and CONTEXT in resume:
        # Encrypted by handlers, also whether it is an answer: the questions are closed when the run is settled.
        return
    take_now(connection, run.thread_id, run.spec, run.run_id, run.actor, now, rules)
