"""In what we want to differ from the reference, and why; and how a recorded request is asked again."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx

from .transcript import Comparison, Exchange, Wanted, read_frames

NOT_OURS = "names a server that we are not"
SECRET = "data about who asked, and the server's own bookkeeping, are nobody's business"
AS_CREATED = "the echo shows what the run was created with, and nothing that came to it later"
EMPTY = "an empty object says nothing"
PLACE = "where a subgraph stands is in its checkpoint and in the path of its task"
UNNAMED = "LangGraph names a message when it is merged into the state; events from before that have no id for it"
WHOLE = "a thread is shown whole, also before its first run"
MORE = "tells more; clients pass over what they do not know"

PLACES = (
    "checkpoint_map", "checkpoint_ns", "langgraph_step", "langgraph_node", "langgraph_triggers", "langgraph_path",
    "langgraph_checkpoint_ns",
)  # fmt: skip

WANTED = Wanted(
    theirs={
        "langgraph_api_version": NOT_OURS,
        "langgraph_plan": NOT_OURS,
        "langgraph_host": NOT_OURS,
        "langgraph_api_url": NOT_OURS,
        "langgraph_auth_user": SECRET,
        "langgraph_auth_user_id": SECRET,
        "langgraph_auth_permissions": SECRET,
        "langgraph_request_id": SECRET,
        "__request_start_time_ms__": SECRET,
        "__after_seconds__": SECRET,
        "__pregel_node_finished": SECRET,
        "user_id": SECRET,
        "kwargs.config.metadata.run_attempt": AS_CREATED,
        "kwargs.config.metadata.langgraph_version": AS_CREATED,
        "$.config.configurable": EMPTY,
        **{f"tasks.state.metadata.{name}": PLACE for name in PLACES},
    },
    values={
        "user_id": "whoever acts has a name here, also without authentication",
        **{f"data.{path}.id": UNNAMED for path in ("output", "output.messages", "chunk.messages")},
    },
    ours={
        "thread_id": "the metadata event also says on which thread the run is",
        "graph_id": "a run's metadata names its graph from the first run on, not from the second",
        "user_id": "the one who acts has a name here, also without authentication",
        "attempt": MORE,
        "started_at": MORE,
        "ended_at": MORE,
        "failure": MORE,
        "dead_letter": MORE,
        "completion": MORE,
        "cancel_reason": MORE,
        "$.answers": "a waiter gets all values, also beside interrupts",
        "$.error": f"{WHOLE}; and a run says why it failed, where deepagents looks for it",
        "$.interrupts": WHOLE,
        "$.checkpoint.checkpoint_ns": "a checkpoint names its namespace, also when it is the root's",
        "context": "a thread is shown whole, in the clients' own type",
    },
)


async def ask(client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
    return await client.request(exchange.method, exchange.path, json=exchange.body, headers=dict(exchange.headers))


def with_our_ids(exchange: Exchange, comparison: Comparison) -> Exchange:
    body = None if exchange.body is None else json.loads(comparison.to_ours(json.dumps(exchange.body)))
    return replace(exchange, path=comparison.to_ours(exchange.path), body=body)


async def replay(client: httpx.AsyncClient, exchange: Exchange, comparison: Comparison) -> httpx.Response:
    """Ask what was asked, and compare what we answer."""
    response = await ask(client, with_our_ids(exchange, comparison))
    comparison.same(exchange.status, response.status_code, "status")
    for name in ("content-type", "location", "content-location", "cache-control", "x-accel-buffering"):
        comparison.same(exchange.answer_headers.get(name), response.headers.get(name), name)
    if exchange.is_stream:
        comparison.same_frames(read_frames(exchange.text), read_frames(response.text))
    elif exchange.status >= 400:
        # The reference's texts come from a JSON schema validator; what counts is that there is one.
        assert isinstance(response.json()["detail"], str)
    elif exchange.text:
        comparison.same(json.loads(exchange.text), response.json())
    return response
