"""Conversion of runs to rows, and of rows to RunRecords."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import (
    NOT_STORED,
    RunCompletionData,
    RunFailure,
    RunId,
    RunRecord,
    RunSpec,
    RunStatus,
    StopReason,
    ThreadId,
    ThreadPriority,
)

from . import json_text
from .schema import runs

_SPEC_FIELDS: Final = tuple(
    field.name for field in dataclasses.fields(RunSpec) if field.name not in NOT_STORED | {"metadata"}
)

PROGRESS: Final = (
    runs.c.status,
    runs.c.updated_at,
    runs.c.due_at,
    runs.c.attempt,
    runs.c.lost_attempts,
    runs.c.started_at,
    runs.c.ended_at,
    runs.c.stop_requested,
    runs.c.base_checkpoint_id,
    runs.c.final_checkpoint_id,
    runs.c.failure,
    runs.c.completion,
    runs.c.dead_letter,
)
"""The columns that change during a run: all that a lease holder needs to read again."""

NEW: Final = (
    "run_id",
    "thread_id",
    "tenant_id",
    "user_id",
    "assistant_id",
    "status",
    "created_at",
    "updated_at",
    "due_at",
    "attempt",
    "lost_attempts",
    "dead_letter",
    "temporary",
    "actor",
    "metadata",
    "spec",
    "priority",
    "fairness_group",
)
"""The columns that a run has from its creation."""

RECORD: Final = (
    *PROGRESS,
    runs.c.run_id,
    runs.c.thread_id,
    runs.c.assistant_id,
    runs.c.spec,
    runs.c.metadata,
    runs.c.actor,
    runs.c.created_at,
    runs.c.queue_seq,
)
"""The columns of a RunRecord."""


def to_record(row: Sequence[Any]) -> RunRecord:
    """Return the record for a row of RECORD."""
    run_id, thread_id, assistant_id, spec, metadata, actor, created_at, queue_seq = row[len(PROGRESS) :]
    return RunRecord(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        spec=_to_spec(spec, metadata),
        actor=ActorContext.from_json(json_text.load(actor)),
        created_at=created_at,
        queue_seq=queue_seq,
        **to_progress(row),
    )


def to_progress(row: Sequence[Any]) -> JsonObject:
    """Return the fields of a RunRecord that are in PROGRESS, from a row that starts with them."""
    failure, completion = row[10], row[11]
    return {
        "status": RunStatus(row[0]),
        "updated_at": row[1],
        "due_at": row[2],
        "attempt": row[3],
        "lost_attempts": row[4],
        "started_at": row[5],
        "ended_at": row[6],
        "stop_requested": None if row[7] is None else StopReason(row[7]),
        "base_checkpoint_id": row[8],
        "final_checkpoint_id": row[9],
        "failure": None if failure is None else RunFailure.from_json(json_text.load(failure)),
        "completion": None if completion is None else RunCompletionData.from_json(json_text.load(completion)),
        "dead_letter": bool(row[12]),
    }


def new_row(
    spec: RunSpec,
    run_id: RunId,
    thread_id: ThreadId,
    actor: ActorContext,
    now: datetime,
    due_at: datetime,
    turn: ThreadPriority,
) -> JsonObject:
    """Return the row of a newly accepted run, without its number in the queue."""
    # A field that is None is omitted and read as None again; all others are written, since a default may change.
    fields = {name: value for name in _SPEC_FIELDS if (value := getattr(spec, name)) is not None}
    return {
        "run_id": run_id,
        "thread_id": thread_id,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "assistant_id": spec.assistant_id,
        "status": RunStatus.PENDING.value,
        "created_at": now,
        "updated_at": now,
        "due_at": due_at,
        "attempt": 0,
        "lost_attempts": 0,
        "dead_letter": False,
        "temporary": spec.scope.is_temporary,
        "actor": actor_text(actor),
        "metadata": json_text.dump(spec.metadata),
        "spec": json_text.dump(fields),
        "priority": turn.priority,
        "fairness_group": turn.group,
    }


def actor_text(actor: ActorContext) -> str:
    """Return an actor in its stored form."""
    return json_text.dump({name: value for name, value in actor.to_json().items() if value is not None})


def ended_actor(actor: ActorContext) -> str | None:
    """Return the stored form of the actor after the end of a run; None if it does not change."""
    kept = actor.with_kept_claims()
    return None if kept is actor else actor_text(kept)


def completion_text(completion: RunCompletionData) -> str:
    """Return the stored form of a run's usage and messages."""
    return json_text.dump({name: value for name, value in completion.to_json().items() if value not in (None, [])})


def _to_spec(text: str, metadata: str) -> RunSpec:
    fields: JsonMapping = json_text.load(text)
    return RunSpec.from_json({**dict.fromkeys(_OPTIONAL), **fields, "metadata": json_text.load(metadata)})


_OPTIONAL: Final = tuple(field.name for field in dataclasses.fields(RunSpec) if field.default is None)
