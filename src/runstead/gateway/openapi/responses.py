"""Successful responses of each route, in one table from method and path to statuses, types and schemas.

Routes write their responses themselves, so that nothing is encoded twice. This table describes them for the API
documentation, and a test with random requests checks it. A route that is not listed responds with arbitrary JSON and
status 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject

from .schemas import ANYTHING, COUNT, EVENT, OBJECT, Schema, many, named, object_of, or_null, some_of

Answers: TypeAlias = JsonMapping
"""Responses by status, in OpenAPI's format."""

_DESCRIPTIONS: Final = {"200": "Done.", "202": "Under way.", "204": "Done, without content."}
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


_EVENTS: Final[Answers] = {"200": _content("text/event-stream", EVENT, _PLACES)}
_RUN: Final[Answers] = _json(named("Run"))
_NEW_RUN: Final[Answers] = _json(named("Run"), *_PLACES)
_RUNS: Final[Answers] = _json(many(some_of("Run")), *_PAGES)
_AWAITED: Final[Answers] = _json(ANYTHING, *_PLACES)
_STATE: Final[Answers] = _json(some_of("ThreadState"))
_STATES: Final[Answers] = _json(many(some_of("ThreadState")))
_COUNTED: Final[Answers] = _json(COUNT)
_PAGE: Final[Answers] = _json(named("EventPage"))
_ASSISTANT: Final[Answers] = _json(named("Assistant"))
_SUBGRAPHS: Final[Answers] = _json({"type": "object", "additionalProperties": OBJECT})

RESPONSES: Final[Mapping[tuple[str, str], Answers]] = {
    ("GET", "/ok"): _json(object_of(ok={"const": True})),
    ("GET", "/ready"): _json(object_of(ready={"const": True})),
    ("GET", "/info"): _json(object_of(version={"type": "string"}, flags=OBJECT, host=OBJECT, user_code=OBJECT)),
    ("POST", "/threads"): _json(named("Thread")),
    ("POST", "/threads/search"): _json(many(some_of("Thread")), *_PAGES),
    ("POST", "/threads/count"): _COUNTED,
    ("POST", "/threads/prune"): _json(object_of(pruned_count=COUNT)),
    ("GET", "/threads/{thread_id}"): _json(some_of("Thread")),
    ("PATCH", "/threads/{thread_id}"): {**_json(named("Thread")), **_nothing()},
    ("DELETE", "/threads/{thread_id}"): _nothing(),
    ("POST", "/threads/{thread_id}/copy"): _json(named("Thread")),
    ("GET", "/threads/{thread_id}/state"): _STATE,
    ("POST", "/threads/{thread_id}/state"): _json(named("Updated")),
    ("POST", "/threads/{thread_id}/state/checkpoint"): _STATE,
    ("GET", "/threads/{thread_id}/state/{checkpoint_id}"): _STATE,
    ("GET", "/threads/{thread_id}/history"): _STATES,
    ("POST", "/threads/{thread_id}/history"): _STATES,
    ("GET", "/threads/{thread_id}/messages"): _PAGE,
    ("GET", "/threads/{thread_id}/stream"): _EVENTS,
    ("POST", "/threads/{thread_id}/stream"): _EVENTS,
    ("POST", "/threads/{thread_id}/stream/events"): _EVENTS,
    ("POST", "/threads/{thread_id}/runs"): _NEW_RUN,
    ("POST", "/threads/{thread_id}/runs/stream"): _EVENTS,
    ("POST", "/threads/{thread_id}/runs/wait"): _AWAITED,
    ("GET", "/threads/{thread_id}/runs"): _RUNS,
    ("GET", "/threads/{thread_id}/runs/{run_id}"): _RUN,
    ("DELETE", "/threads/{thread_id}/runs/{run_id}"): _nothing(),
    ("GET", "/threads/{thread_id}/runs/{run_id}/join"): _AWAITED,
    ("GET", "/threads/{thread_id}/runs/{run_id}/stream"): _EVENTS,
    ("GET", "/threads/{thread_id}/runs/{run_id}/messages"): _PAGE,
    ("GET", "/threads/{thread_id}/runs/{run_id}/events"): _PAGE,
    ("POST", "/threads/{thread_id}/runs/{run_id}/cancel"): {**_AWAITED, **_nothing("202")},
    ("POST", "/threads/{thread_id}/runs/{run_id}/retry"): _RUN,
    ("POST", "/runs"): _NEW_RUN,
    ("POST", "/runs/stream"): _EVENTS,
    ("POST", "/runs/wait"): _AWAITED,
    ("POST", "/runs/batch"): _json(many(named("Run")), "runstead-remark"),
    ("POST", "/runs/cancel"): _nothing(),
    ("GET", "/runs"): _RUNS,
    ("GET", "/runs/{run_id}"): _RUN,
    ("GET", "/runs/{run_id}/join"): _AWAITED,
    ("GET", "/runs/{run_id}/stream"): _EVENTS,
    ("POST", "/runs/{run_id}/retry"): _RUN,
    ("POST", "/assistants"): _ASSISTANT,
    ("POST", "/assistants/search"): _json(many(some_of("Assistant")), *_PAGES),
    ("POST", "/assistants/count"): _COUNTED,
    ("GET", "/assistants/{assistant_id}"): _ASSISTANT,
    ("PATCH", "/assistants/{assistant_id}"): _ASSISTANT,
    ("DELETE", "/assistants/{assistant_id}"): _nothing(),
    ("GET", "/assistants/{assistant_id}/schemas"): _json(named("Schemas")),
    ("GET", "/assistants/{assistant_id}/graph"): _json(named("Drawing")),
    ("GET", "/assistants/{assistant_id}/subgraphs"): _SUBGRAPHS,
    ("GET", "/assistants/{assistant_id}/subgraphs/{namespace}"): _SUBGRAPHS,
    ("POST", "/assistants/{assistant_id}/versions"): _json(many(named("AssistantVersion"))),
    ("POST", "/assistants/{assistant_id}/latest"): _ASSISTANT,
    ("PUT", "/store/items"): _nothing(),
    ("GET", "/store/items"): _json(or_null(named("Item"))),
    ("DELETE", "/store/items"): _nothing(),
    ("POST", "/store/items/search"): _json(object_of(items=many(named("Item")))),
    ("POST", "/store/namespaces"): _json(object_of(namespaces=many(many({"type": "string"})))),
}

FAILURES: Final[Answers] = {
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
