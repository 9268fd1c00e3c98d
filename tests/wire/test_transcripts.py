"""What the reference server said, and what we say to the same requests. Every difference is wanted, and says why."""

from __future__ import annotations

import json

import httpx
import pytest

from .transcript import Comparison, Exchange, Wanted, read_frames, read_transcript, threads_of

NOT_OURS = "names a server that we are not"
SECRET = "data about who asked, and the server's own bookkeeping, are nobody's business"
AS_CREATED = "the echo shows what the run was created with, and nothing that came to it later"
MORE = "tells more; clients pass over what they do not know"

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
    },
    values={"user_id": "whoever acts has a name here, also without authentication"},
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
        "context": "a thread is shown whole, in the clients' own type",
    },
)

STREAMS = (
    *(f"stream_{graph}_{mode}" for graph in ("agent", "nested", "tools") for mode in (
        "values", "updates", "messages", "messages-tuple", "tasks", "checkpoints", "debug", "custom", "events",
    )),
    "stream_default_mode",
    "stream_multi_modes_resumable",
    "stream_stateless",
)  # fmt: skip

CONVERSATIONS = (
    "create_background",
    "error_in_node",
    "fork",
    "interrupt_before_after",
    "interrupt_multi",
    "interrupt_nested",
    "interrupt_resume",
    "wait",
    "stream_bad_mode",
)


@pytest.mark.parametrize("name", [*STREAMS, *CONVERSATIONS])
async def test_we_say_what_the_reference_said(name: str, client: httpx.AsyncClient) -> None:
    comparison = Comparison(WANTED)
    exchanges = read_transcript(name)
    for thread_id in threads_of(exchanges):
        await client.post("/threads", json={"thread_id": thread_id})
    for exchange in exchanges:
        await replay(client, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def replay(client: httpx.AsyncClient, exchange: Exchange, comparison: Comparison) -> httpx.Response:
    """Ask what was asked, and compare what we answer."""
    body = None if exchange.body is None else json.loads(comparison.to_ours(json.dumps(exchange.body)))
    response = await client.request(
        exchange.method, comparison.to_ours(exchange.path), json=body, headers=dict(exchange.headers)
    )
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
