"""Successful responses of routes for the API documentation: statuses, types and schemas.

Each route declares one of them (`..route_declaration`).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject

from .schemas import ANYTHING, COUNT, EVENT, OBJECT, Schema, many, named, object_of, or_null, some_of

Responses: TypeAlias = JsonMapping
"""Responses by status, in OpenAPI's format."""

_DESCRIPTIONS: Final = {
    "200": "Done.",
    "201": "Created.",
    "202": "Under way.",
    "206": "A part of it.",
    "204": "Done, without content.",
}
_PLACES: Final = ("content-location", "location", "runstead-remark")
_PAGES: Final = ("x-pagination-total", "x-pagination-next")


def _json(schema: Schema, *headers: str, status: str = "200") -> JsonObject:
    return {status: _content("application/json", schema, headers, status)}


def _content(kind: str, schema: Schema, headers: tuple[str, ...], status: str = "200") -> JsonObject:
    response: JsonObject = {"description": _DESCRIPTIONS[status], "content": {kind: {"schema": schema}}}
    if headers:
        response["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return response


def _nothing(status: str = "204") -> JsonObject:
    return {status: {"description": _DESCRIPTIONS[status]}}


EVENT_STREAM: Final[Responses] = {"200": _content("text/event-stream", EVENT, _PLACES)}
RUN: Final[Responses] = _json(named("Run"))
NEW_RUN: Final[Responses] = _json(named("Run"), *_PLACES)
RUN_WAITING: Final[Responses] = _json(named("RunWaiting"))
RUNS: Final[Responses] = _json(many(some_of("Run")), *_PAGES)
RUN_OUTPUT: Final[Responses] = _json(ANYTHING, *_PLACES)
STATE: Final[Responses] = _json(some_of("ThreadState"))
STATES: Final[Responses] = _json(many(some_of("ThreadState")))
COUNTED: Final[Responses] = _json(COUNT)
EVENT_PAGE: Final[Responses] = _json(named("EventPage"))
MESSAGE_PAGE: Final[Responses] = _json(
    object_of(data=many(OBJECT), has_more={"type": "boolean"}, feedback=many(named("Feedback")))
)
USAGE: Final[Responses] = _json(named("Usage"))
LIMITS: Final[Responses] = _json(named("Limits"))
WORKERS: Final[Responses] = _json(named("Workers"))
KEYS: Final[Responses] = _json(many(named("ApiKey")))
USAGE_PAGE: Final[Responses] = _json(named("UsagePage"))
ASSISTANT: Final[Responses] = _json(named("Assistant"))
SUBGRAPHS: Final[Responses] = _json({"type": "object", "additionalProperties": OBJECT})

OK: Final[Responses] = _json(object_of(ok={"const": True}))
READY: Final[Responses] = _json(object_of(ready={"const": True}))
INFO: Final[Responses] = _json(object_of(version={"type": "string"}, flags=OBJECT, host=OBJECT, user_code=OBJECT))
METRICS: Final[Responses] = {
    "200": {
        "description": _DESCRIPTIONS["200"],
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/json": {"schema": object_of(queue=OBJECT, api=OBJECT)},
        },
    }
}
THREAD: Final[Responses] = _json(named("Thread"))
THREADS: Final[Responses] = _json(many(some_of("Thread")), *_PAGES)
PRUNED: Final[Responses] = _json(object_of(pruned_count=COUNT))
SELECTED_THREAD: Final[Responses] = _json(some_of("Thread"))
THREAD_OR_NOTHING: Final[Responses] = {**_json(named("Thread")), **_nothing()}
NO_CONTENT: Final[Responses] = _nothing()
STEERED: Final[Responses] = _json(named("Steered"), *_PLACES)
STEERING_MESSAGE: Final[Responses] = _json(named("SteeringMessage"))
STEERING_MESSAGES: Final[Responses] = _json(many(named("SteeringMessage")))
STATE_UPDATED: Final[Responses] = _json(named("Updated"))
CANCELLED: Final[Responses] = {**RUN_OUTPUT, **_nothing("202")}
NEW_RUNS: Final[Responses] = _json(many(named("Run")), "runstead-remark")
ASSISTANTS: Final[Responses] = _json(many(some_of("Assistant")), *_PAGES)
GRAPH_SCHEMAS: Final[Responses] = _json(named("Schemas"))
DRAWING: Final[Responses] = _json(named("Drawing"))
ASSISTANT_VERSIONS: Final[Responses] = _json(many(named("AssistantVersion")))
APPROVAL: Final[Responses] = _json(named("Approval"))
APPROVALS: Final[Responses] = _json(many(named("Approval")), *_PAGES)
APPROVAL_EVENT: Final[Responses] = _json(named("ApprovalEvent"), status="201")
FEEDBACK: Final[Responses] = _json(named("Feedback"))
FEEDBACK_PAGE: Final[Responses] = _json(many(named("Feedback")), *_PAGES)
CHANNEL_CODE: Final[Responses] = _json(named("ChannelCode"))
CHANNEL_LINKS: Final[Responses] = _json(many(named("ChannelLink")))
FILES: Final[Responses] = _json(many(named("File")), "x-pagination-total")
CONTENT: Final[Responses] = {
    "200": _content("application/octet-stream", {"type": "string", "format": "binary"}, ()),
    "206": _content("application/octet-stream", {"type": "string", "format": "binary"}, ("content-range",), "206"),
}
ARCHIVE: Final[Responses] = {"200": _content("application/zip", {"type": "string", "format": "binary"}, ())}
ITEM_OR_NULL: Final[Responses] = _json(or_null(named("Item")))
ITEMS: Final[Responses] = _json(object_of(items=many(named("Item"))))
NAMESPACES: Final[Responses] = _json(object_of(namespaces=many(many({"type": "string"}))))

FAILURES: Final[Responses] = {
    "4XX": {
        "description": "What is wrong with the request, in one sentence.",
        "content": {"application/json": {"schema": named("Failure")}},
    },
    "503": {
        "description": "Unavailable: the storage or a graph does not respond, or the server is stopping.",
        "content": {"application/json": {"schema": named("Failure")}},
    },
    "507": {
        "description": "The server's disk is full, and nothing was kept.",
        "content": {"application/json": {"schema": named("Failure")}},
    },
}
"""Responses of every route."""
