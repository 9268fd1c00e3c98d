"""Wanted differences from the reference, with reasons; and replay of a recorded request."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx

from .transcript import Comparison, Exchange, Wanted, read_frames

NOT_OURS = "names the reference server"
SECRET = "data about the user, and the server's internal data, are not exposed"
AS_CREATED = "the echo shows the run as created, without later additions"
EMPTY = "an empty object has no information"
PLACE = "the position of a subgraph is in its checkpoint and in the path of its task"
UNNAMED = "LangGraph names a message when it is merged into the state; events from before that have no id for it"
WHOLE = "a thread is shown with all fields, also before its first run"
MORE = "additional field; clients ignore unknown fields"

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
        "user_id": "the acting user has a name here, also without authentication",
        **{f"data.{path}.id": UNNAMED for path in ("output", "output.messages", "chunk.messages")},
    },
    ours={
        "thread_id": "the metadata event also names the thread of the run",
        "graph_id": "a run's metadata names its graph from the first run on, not from the second",
        "user_id": "the acting user has a name here, also without authentication",
        "attempt": MORE,
        "started_at": MORE,
        "ended_at": MORE,
        "failure": MORE,
        "dead_letter": MORE,
        "completion": MORE,
        "cancel_reason": MORE,
        "$.answers": "a waiter gets all values, also beside interrupts",
        "$.error": f"{WHOLE}; and a run has its error, where deepagents reads it",
        "$.interrupts": WHOLE,
        "$.checkpoint.checkpoint_ns": "a checkpoint names its namespace, also when it is the root's",
        "context": "a thread is shown with all fields of the clients' own type",
    },
)


NOT_SERVED = {
    "mcp": "agents as tools for MCP clients: not needed by clients of runs, threads and assistants; not supported yet",
    "a2a": "Agent2Agent: likewise; not supported yet",
}
"""Recordings of unsupported features; requests for them get 404."""

OTHER_STATUS = {
    ("GET", "join", 200): (
        404,
        "an unknown run has no values; the reference reports that inside a successful response",
    ),
    ("GET", "stream", 200): (404, "the same, for its stream"),
}

NOT_OURS_YET = ("/storage",)
"""Storage size of a thread in bytes; no known client requests it."""
THREADS = Wanted(
    theirs=WANTED.theirs,
    ours={
        **WANTED.ours,
        "ttl": "the reference drops it: its in-memory server has no expiry",
        "$.values": "a copy is shown with the values that were copied",
    },
    values=WANTED.values,
)

SET_BACK = "an assistant restored to an older version has that version's context too, not the newer one"
OF_CONTEXT = replace(WANTED, values={**WANTED.values, "$.seen.context.color": SET_BACK})
NOT_NAMED = "an update of the context only keeps the tags of the config"
BY_NAME = "a default assistant may be named by its graph, everywhere"
OF_ASSISTANTS = replace(
    WANTED, ours={**WANTED.ours, "config.tags": NOT_NAMED}, values={**WANTED.values, "context.color": SET_BACK}
)
OTHERWISE_ASSISTANTS = {
    "GET /assistants/nested/subgraphs": (200, BY_NAME),
    "GET /assistants/nested/subgraphs?recurse=true": (200, BY_NAME),
    "GET /assistants/nested/subgraphs/child": (200, BY_NAME),
    "GET /assistants/agent": (200, BY_NAME),
    "DELETE /assistants/agent": (409, "named by its graph, too; and a served graph has an assistant"),
}

SOON = "Runstead's crons start at the due time, and report their last run"
OF_CRONS = replace(WANTED, ours={**WANTED.ours, "last_run_id": SOON, "last_error": SOON})

CHANCE = "the progress of the run is random"
SPEED = "Runstead's are made faster"
LIVE = Wanted(
    theirs={**WANTED.theirs, "values.done": CHANCE},
    ours={**WANTED.ours, "values.done": CHANCE},
    values={
        **WANTED.values,
        "done": CHANCE,
        "log": CHANCE,
        "metadata.step": CHANCE,
        "delay": SPEED,
        "error.message": "has another wording",
    },
)

PROTOCOL = Wanted(
    theirs={
        "output_version": "the reference's models are asked for content blocks; Runstead's output is as elsewhere",
    },
    ours={
        "value": "langgraph-sdk for Python reads the value of an interrupt, which the reference leaves out",
        "metadata": "the node of the message: clients show it",
        "run_id": "a response to an interrupt starts a run, and the client may need its id",
    },
    values={
        "applied_through_seq": "Runstead's are not counted: see NUMBERS",
    },
)

NUMBERS = (
    """Runstead's seq is derived from time and position, not counted: it is stable when earlier runs are deleted."""
)
SILENT = {
    "updates": "the reference accepts the channel and sends nothing in it",
    "tasks": "the same",
    "tools": "the same",
    "custom": "the same",
    "checkpoints": "the same",
    "input.answered": "in the newest specification, and not in the reference server yet",
}
IN_ONE_PIECE = (
    "a node's unstreamed message is a message too, as in LangGraph's own stream; the reference shows streamed ones only"
)
LAST = "the end of a run is its last event; the reference sends an interrupt's state after the end"


async def ask(client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
    return await client.request(exchange.method, exchange.path, json=exchange.body, headers=dict(exchange.headers))


def with_our_ids(exchange: Exchange, comparison: Comparison) -> Exchange:
    body = None if exchange.body is None else json.loads(comparison.to_ours(json.dumps(exchange.body)))
    return replace(exchange, path=comparison.to_ours(exchange.path), body=body)


async def replay(client: httpx.AsyncClient, exchange: Exchange, comparison: Comparison) -> httpx.Response:
    """Send a recorded request, and compare the response."""
    response = await ask(client, with_our_ids(exchange, comparison))
    comparison.same(exchange.status, response.status_code, "status")
    for name in ("content-type", "location", "content-location", "cache-control", "x-accel-buffering"):
        comparison.same(exchange.answer_headers.get(name), response.headers.get(name), name)
    if exchange.is_stream:
        comparison.same_frames(read_frames(exchange.text), read_frames(response.text))
    elif exchange.status >= 400:
        # The reference's texts come from a JSON schema validator; only their existence counts.
        assert isinstance(response.json()["detail"], str)
    elif exchange.text:
        comparison.same(json.loads(exchange.text), response.json())
    return response
