"""JSON schemas of responses for the API documentation. A test validates real responses against them.

Fields that are always present are required; additional fields are possible, since clients ignore unknown ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import USAGE_COUNTS

Schema: TypeAlias = JsonObject

ANYTHING: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object"}
TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_ID: Final[Schema] = {"type": "string", "format": "uuid"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_FLAG: Final[Schema] = {"type": "boolean"}
_NUMBER: Final[Schema] = {"type": "integer"}
_NAMES: Final[Schema] = {"type": "array", "items": TEXT}
_LIST: Final[Schema] = {"type": "array"}


EVENT: Final[Schema] = {"type": "object", "properties": {"event": TEXT, "data": TEXT, "id": TEXT}}
"""Schema of one server-sent event. Its data is JSON, whose schema depends on the event's name."""


def named(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def some_of(name: str) -> Schema:
    """Return one of `SCHEMAS` without required fields, since ``select`` may leave some out."""
    return {"type": "object", "properties": SCHEMAS[name]["properties"]}


def object_of(**fields: Schema) -> Schema:
    """Return an object schema in which all of these fields are required."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def with_optional(optional: Mapping[str, Schema], **fields: Schema) -> Schema:
    """Return an object schema in which ``fields`` are required, and ``optional`` ones are not."""
    return {**object_of(**fields), "properties": {**fields, **optional}}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_FAILED: Final = object_of(error=TEXT, message=TEXT)
_CHECKPOINT: Final[Schema] = {
    **object_of(thread_id=TEXT, checkpoint_id=TEXT),
    "properties": {"thread_id": TEXT, "checkpoint_id": TEXT, "checkpoint_ns": TEXT, "checkpoint_map": OBJECT},
}

_ASSISTANT: Final[Mapping[str, Schema]] = {
    "assistant_id": _ID,
    "graph_id": TEXT,
    "config": OBJECT,
    "context": OBJECT,
    "metadata": OBJECT,
    "name": TEXT,
    "created_at": _TIME,
    "version": {"type": "integer", "minimum": 1},
    "description": or_null(TEXT),
}
"""Fields of an assistant, which each of its versions has too."""
_USED_COUNTS: Final = dict.fromkeys(USAGE_COUNTS, COUNT)
_USED: Final[Schema] = object_of(**_USED_COUNTS)
_COST: Final[Schema] = object_of(usd=or_null({"type": "number"}), unpriced=_NAMES, prices=or_null(TEXT))

_APPROVAL_EVENT: Final = object_of(number=COUNT, kind=TEXT, at=_TIME, user_id=or_null(TEXT), details=OBJECT)
_APPROVAL_TIMES: Final = ("remind", "reminded", "escalate", "escalated", "deadline", "closed")

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Failure": object_of(detail=TEXT),
    "Run": with_optional(
        {"cost": _COST},
        run_id=_ID,
        thread_id=_ID,
        assistant_id=_ID,
        created_at=_TIME,
        updated_at=_TIME,
        status={"enum": ["pending", "running", "success", "error", "timeout", "interrupted"]},
        metadata=OBJECT,
        kwargs=OBJECT,
        multitask_strategy={"enum": ["reject", "interrupt", "rollback", "enqueue", "steer"]},
        cancel_reason=or_null(TEXT),
        attempt=COUNT,
        started_at=or_null(_TIME),
        ended_at=or_null(_TIME),
        failure=or_null(_FAILED),
        error=or_null(TEXT),
        dead_letter=_FLAG,
        completion=or_null(OBJECT),
    ),
    "SteeringMessage": object_of(
        message_id=TEXT,
        thread_id=_ID,
        run_id=_ID,
        user_id=TEXT,
        status={"enum": ["waiting", "delivered", "withdrawn", "moved"]},
        created_at=_TIME,
        ended_at=or_null(_TIME),
        messages=many(OBJECT),
    ),
    "Steered": object_of(
        thread_id=_ID,
        run_id=_ID,
        message_id=or_null(TEXT),
        status={"enum": ["waiting", "moved"]},
        delivery={"enum": ["next_model_call", "next_run", "unknown"]},
    ),
    "Thread": object_of(
        thread_id=_ID,
        created_at=_TIME,
        updated_at=_TIME,
        state_updated_at=_TIME,
        metadata=OBJECT,
        status={"enum": ["idle", "busy", "interrupted", "error"]},
        config=OBJECT,
        values=ANYTHING,
        error=or_null(_FAILED),
        interrupts={"type": "object", "additionalProperties": many(OBJECT)},
    ),
    "Task": object_of(
        id=TEXT,
        name=TEXT,
        path=_LIST,
        error=or_null(TEXT),
        interrupts=many(OBJECT),
        checkpoint=or_null(OBJECT),
        state=or_null(named("ThreadState")),
        result=ANYTHING,
    ),
    "ThreadState": object_of(
        values=ANYTHING,
        next=_NAMES,
        tasks=many(named("Task")),
        metadata=or_null(OBJECT),
        created_at=or_null(_TIME),
        checkpoint=or_null(_CHECKPOINT),
        parent_checkpoint=or_null(_CHECKPOINT),
        interrupts=many(OBJECT),
        checkpoint_id=or_null(TEXT),
        parent_checkpoint_id=or_null(TEXT),
    ),
    "Updated": object_of(checkpoint=_CHECKPOINT, configurable=_CHECKPOINT, checkpoint_id=TEXT),
    "AssistantVersion": object_of(**_ASSISTANT),
    "Assistant": object_of(**_ASSISTANT, updated_at=_TIME),
    "Drawing": object_of(nodes=many(OBJECT), edges=many(OBJECT)),
    "Schemas": object_of(
        graph_id=TEXT,
        input_schema=or_null(OBJECT),
        output_schema=or_null(OBJECT),
        state_schema=or_null(OBJECT),
        config_schema=or_null(OBJECT),
    ),
    "Item": object_of(namespace=_NAMES, key=TEXT, value=OBJECT, created_at=_TIME, updated_at=_TIME),
    "ApprovalEvent": _APPROVAL_EVENT,
    "Approval": object_of(
        approval_id=_ID,
        state={"enum": ["open", "answered", "expired", "withdrawn"]},
        thread_id=_ID,
        run_id=or_null(_ID),
        graph_id=TEXT,
        assistant_id=TEXT,
        interrupt_id=TEXT,
        user_id=TEXT,
        question=ANYTHING,
        response_schema=ANYTHING,
        created_at=_TIME,
        updated_at=_TIME,
        **{f"{name}_at": or_null(_TIME) for name in _APPROVAL_TIMES},
        escalate_to=or_null(TEXT),
        delegate=or_null(TEXT),
        decider=or_null(TEXT),
        answered_by=or_null({"enum": ["user", "deadline"]}),
        decision=ANYTHING,
        answer_run_id=or_null(_ID),
    ),
    "Feedback": object_of(
        run_id=_ID,
        thread_id=_ID,
        message_id=or_null(TEXT),
        user_id=TEXT,
        score=or_null({"type": "number"}),
        value=ANYTHING,
        comment=or_null(TEXT),
        created_at=_TIME,
        updated_at=_TIME,
    ),
    "Usage": object_of(
        thread_id=_ID,
        runs=COUNT,
        total=_USED,
        by_caller={"type": "object", "additionalProperties": _USED},
        by_model=many(object_of(model=TEXT, provider=or_null(TEXT), caller=TEXT, usd=or_null({"type": "number"}))),
        cost=_COST,
    ),
    "UsagePage": object_of(
        **{name: {"type": "string", "format": "date"} for name in ("from", "to")},
        group_by=_NAMES,
        data=many(object_of(runs=COUNT, **_USED_COUNTS, usd=or_null({"type": "number"}), unpriced=_NAMES)),
        has_more=_FLAG,
        total=object_of(runs=COUNT, **_USED_COUNTS),
        cost=_COST,
    ),
    "RunWaiting": object_of(
        run_id=_ID,
        due_at=_TIME,
        slots=COUNT,
        slots_in_use=COUNT,
        reasons=many(object_of(kind={"enum": ["delayed", "thread", "worker", "slots"]})),
    ),
    "Limits": object_of(
        user_id=TEXT,
        tenant_id=TEXT,
        is_read_only=_FLAG,
        limits=many(
            object_of(
                kind={"enum": ["requests", "streams", "runs", "queued_runs"]},
                scope={"enum": ["user", "tenant"]},
                limit=COUNT,
                seconds=or_null(COUNT),
                used=or_null(COUNT),
            )
        ),
        budgets=many(
            object_of(
                per=_NAMES,
                unit={"enum": ["tokens", "usd"]},
                graph_id=or_null(TEXT),
                limit={"type": "number"},
                **dict.fromkeys(("used", "reserved"), or_null({"type": "number"})),
                resets_at=or_null(_TIME),
                on_exceeded={"enum": ["pause", "stop"]},
                warn_at={"type": "number"},
            )
        ),
    ),
    "Workers": object_of(
        at=_TIME,
        server=object_of(slots=COUNT, slots_in_use=COUNT, pools=OBJECT, user_code=OBJECT),
        workers=many(object_of(worker=TEXT, runs=COUNT, expired_leases=COUNT, lease_until=_TIME)),
        held=many(
            object_of(run_id=_ID, thread_id=_ID, worker=TEXT, attempt=COUNT, lease_until=_TIME, is_expired=_FLAG)
        ),
        queue=OBJECT,
        sizes=OBJECT,
        tables=many(object_of(name=TEXT, used=COUNT, rows=or_null(COUNT))),
    ),
    "ApiKey": object_of(
        **dict.fromkeys(("key_id", "name", "user_id", "tenant_id"), TEXT),
        scopes=_NAMES,
        created_at=_TIME,
        **dict.fromkeys(("last_used_at", "revoked_at", "expires_at"), or_null(_TIME)),
    ),
    "ChannelCode": object_of(code=TEXT, command=TEXT, expires_at=_TIME),
    "ChannelLink": object_of(provider=TEXT, workspace=TEXT, chat_user_id=TEXT, created_at=_TIME),
    "File": object_of(path=TEXT, size=COUNT, modified_at=_TIME, media_type=TEXT),
    "EventPage": object_of(
        data=many(
            object_of(
                seq=_NUMBER,
                run_id=_ID,
                thread_id=_ID,
                event_type=TEXT,
                category={"enum": ["lifecycle", "trace", "message"]},
                content=ANYTHING,
                metadata=OBJECT,
                created_at=_TIME,
            )
        ),
        has_more=_FLAG,
    ),
}
