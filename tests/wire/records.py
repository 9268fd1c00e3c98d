"""Records as stores return them, for tests of their serialization and merging."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runstead.resources.assistants import AssistantRecord, assistant_id_of
from runstead.resources.threads import ThreadRecord
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import RunRecord, RunSpec, RunStatus
from runstead.wire.body import parse_body
from runstead.wire.runs import RUN_CREATE, RunCreate, to_run_spec

THREAD = "ad3f7257-1f35-477c-a96d-1d2aac96c5c1"
RUN = "01a202ac-a895-7148-89f0-26ba5aeb42ff"
CHECKPOINT = "1f1e65a8-f7dc-6932-8000-31da949b8cf8"
NOON = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)


def assistant(**changes: Any) -> AssistantRecord:
    fields: dict[str, Any] = {
        "assistant_id": assistant_id_of("agent"),
        "graph_id": "agent",
        "name": "agent",
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "version": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return AssistantRecord(**{**fields, **changes})


def thread(**changes: Any) -> ThreadRecord:
    fields: dict[str, Any] = {
        "thread_id": THREAD,
        "status": "idle",
        "metadata": {},
        "config": {},
        "created_at": NOON,
        "updated_at": NOON,
    }
    return ThreadRecord(**{**fields, **changes})


def body(raw: bytes) -> RunCreate:
    return parse_body(raw, RUN_CREATE)


def spec_of(raw: bytes, **options: Any) -> RunSpec:
    return to_run_spec(body(raw), **{"assistant": assistant(), "thread_id": THREAD, "thread": thread(), **options})


def run_record(spec: RunSpec, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": RUN,
        "thread_id": THREAD,
        "assistant_id": spec.assistant_id,
        "spec": spec,
        "actor": ActorContext("default"),
        "status": RunStatus.PENDING,
        "created_at": NOON,
        "updated_at": NOON,
        "due_at": NOON,
    }
    return RunRecord(**{**fields, **changes})
