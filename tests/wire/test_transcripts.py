"""Recorded responses of the reference server, compared with Runstead's. Wanted differences are listed in `wanted`."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import langgraph.version
import pytest

from .expected_differences import (
    NOT_OURS_YET,
    OF_ASSISTANTS,
    OF_CONTEXT,
    OF_CRONS,
    OTHER_STATUS,
    OTHERWISE_ASSISTANTS,
    THREADS,
    WANTED,
    ask,
    replay,
    with_our_ids,
)
from .transcript import Comparison, Exchange, read_transcript, threads_of

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
async def test_responses_equal_those_of_the_reference(name: str, client: httpx.AsyncClient) -> None:
    comparison = Comparison(WANTED)
    exchanges = read_transcript(name)
    for thread_id in threads_of(exchanges):
        await client.post("/threads", json={"thread_id": thread_id})
    for exchange in exchanges:
        await replay(client, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def test_wrong_requests_are_refused_with_the_same_status(client: httpx.AsyncClient) -> None:
    different = []
    for exchange in read_transcript("errors"):
        response = await ask(client, exchange)
        wanted, _ = OTHER_STATUS.get(
            (exchange.method, exchange.path.split("/")[-1], exchange.status), (exchange.status, "")
        )
        if response.status_code != wanted or (wanted >= 400 and not isinstance(response.json()["detail"], str)):
            asked = f"{exchange.method} {exchange.path} {json.dumps(exchange.body)}"
            different.append(f"{asked}: theirs {exchange.status}, ours {response.status_code} {response.text[:200]}")
    assert different == []


async def test_texts_that_clients_show_are_the_same(client: httpx.AsyncClient) -> None:
    """Error texts of the reference that are meaningful; not a mere "Not Found" or the text of a schema validator."""
    different = []
    for exchange in read_transcript("errors"):
        theirs = json.loads(exchange.text)["detail"] if exchange.status in (400, 404, 409) else ""
        ours = (await ask(client, exchange)).json()
        if theirs not in ("", "Not Found") and ours["detail"] != theirs:
            different.append(f"{exchange.method} {exchange.path}: theirs {theirs!r}, ours {ours['detail']!r}")
    assert different == []


async def test_threads(client: httpx.AsyncClient) -> None:
    comparison = Comparison(THREADS)
    for exchange in read_transcript("threads"):
        if exchange.path.endswith(NOT_OURS_YET):
            continue
        if exchange.status in (422, 500):
            # Forms of ``before`` permitted by the reference's own types, and a search by values: only Runstead supports
            # them.
            response = await ask(client, with_our_ids(exchange, comparison))
            assert response.status_code == 200, response.text
        elif exchange.path == "/threads/search":
            await replay(client, _among_its_own(exchange), comparison)
        elif exchange.path == "/threads/count":
            assert (await ask(client, exchange)).json() == 1
        elif exchange.method == "GET" and exchange.path.endswith("?include=ttl"):
            response = await replay(client, exchange, comparison)
            assert response.json()["ttl"].items() >= {"strategy": "delete", "ttl_minutes": 60}.items()
        else:
            await replay(client, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


def _among_its_own(exchange: Exchange) -> Exchange:
    """The recording's searches also found threads of other recordings; here only one exists."""
    found = [one for one in json.loads(exchange.text) if one["status"] == "idle"]
    return replace(exchange, text=json.dumps(found))


async def test_store_items(client: httpx.AsyncClient) -> None:
    comparison = Comparison(WANTED)
    *exchanges, refused = read_transcript("store")
    for exchange in exchanges:
        await replay(client, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
    # The reference's is plain text, Runstead's has the same sentence as JSON.
    answer = await client.request(refused.method, refused.path, json=refused.body)
    assert answer.status_code == 422
    assert answer.json() == {"detail": "Namespace label 'a.b' must be a non-empty string without periods"}


@pytest.mark.parametrize("name", ["batch", "after_seconds"])
async def test_delayed_runs_and_batches(name: str, client: httpx.AsyncClient) -> None:
    comparison = Comparison(WANTED)
    exchanges = read_transcript(name)
    for thread_id in threads_of(exchanges):
        await client.post("/threads", json={"thread_id": thread_id})
    for exchange in exchanges:
        await replay(client, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def test_context_and_config_seen_by_a_run(client: httpx.AsyncClient) -> None:
    """context.txt, in which the first run uses the assistant that assistants.txt created, changed and restored."""
    comparison = Comparison(OF_CONTEXT)
    exchanges = read_transcript("context")
    made, changed, back = (one for one in read_transcript("assistants") if one.status == 200 and _settles(one))
    for exchange in (replace(made, body={**made.body, "assistant_id": OF_CTX}), changed, back):
        assert (await ask(client, exchange)).status_code == 200
    for thread_id in threads_of(exchanges):
        await client.post("/threads", json={"thread_id": thread_id})
    first = await replay(client, exchanges[0], comparison)
    assert first.json()["seen"]["context"] == {"color": "red"}
    comparison = Comparison(WANTED)
    for exchange in exchanges[1:]:
        await replay(client, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


def _settles(exchange: Exchange) -> bool:
    """True if the response describes an assistant."""
    return exchange.path == "/assistants" or exchange.method == "PATCH" or exchange.path.endswith("/latest")


async def test_configured_headers_are_seen_by_the_run(client: httpx.AsyncClient) -> None:
    headers = {"x-tenant": "acme", "x-other": "no", "authorization": "Bearer secret"}
    answer = await client.post("/runs/wait", json={"assistant_id": "ctx", "input": {}}, headers=headers)
    configurable = answer.json()["seen"]["configurable"]
    assert configurable["x-tenant"] == "acme"
    assert "x-other" not in configurable
    assert "authorization" not in configurable


OF_CTX = "9ff15f2d-6694-43e8-a743-df01c7739379"
"""The assistant that is created in assistants.txt, and used in context.txt."""


async def test_assistants(client: httpx.AsyncClient) -> None:
    """assistants.txt, complete. Of the first page, whose total exceeds its limit by one, only the shape is compared."""
    comparison = Comparison(OF_ASSISTANTS)
    first, *exchanges = read_transcript("assistants")
    page = await ask(client, first)
    assert (page.status_code, len(page.json()), page.headers["x-pagination-next"]) == (200, 2, "2")
    for exchange in exchanges:
        asked = f"{exchange.method} {exchange.path}"
        if asked in OTHERWISE_ASSISTANTS:
            response = await ask(client, exchange)
            assert response.status_code == OTHERWISE_ASSISTANTS[asked][0], asked
            continue
        response = await replay(client, exchange, comparison)
        comparison.same(
            exchange.answer_headers.get("x-pagination-total"), response.headers.get("x-pagination-total"), "total"
        )
        if exchange.status in (404, 409):
            assert "detail" in response.json()
            comparison.same(json.loads(exchange.text)["detail"], response.json()["detail"], f"{asked}: detail")
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def test_older_version_is_restored_completely(client: httpx.AsyncClient) -> None:
    """The reference keeps the newer context (see SET_BACK)."""
    made, changed, back = (one for one in read_transcript("assistants") if one.status == 200 and _settles(one))
    before = (await ask(client, replace(made, body={**made.body, "assistant_id": OF_CTX}))).json()
    assert (await ask(client, changed)).json()["context"] == {"color": "blue"}
    assert json.loads(back.text)["context"] == {"color": "blue"}
    ours = (await ask(client, back)).json()
    assert {**ours, "updated_at": None} == {**before, "updated_at": None}


async def test_server_routes(client: httpx.AsyncClient) -> None:
    exchanges = {one.path: one for one in read_transcript("meta")}
    comparison = Comparison(WANTED)
    for path in ("/ok", "/ok?check_db=1", "/"):
        await replay(client, exchanges[path], comparison)
    assert comparison.differences == []
    theirs = json.loads(exchanges["/info"].text)
    ours = (await client.get("/info")).json()
    assert theirs.keys() <= ours.keys()
    assert ours["langgraph_py_version"] == langgraph.version.__version__


async def test_crons(client: httpx.AsyncClient) -> None:
    """crons.txt, complete."""
    comparison = Comparison(OF_CRONS)
    exchanges = read_transcript("crons")
    for thread_id in threads_of(exchanges):
        await client.post("/threads", json={"thread_id": thread_id})
    for exchange in exchanges:
        response = await replay(client, exchange, comparison)
        comparison.same(
            exchange.answer_headers.get("x-pagination-total"), response.headers.get("x-pagination-total"), "total"
        )
        if exchange.status == 422:
            assert response.json()["detail"].startswith("Invalid cron schedule: 'bogus'. Reason: ")
            assert "Example: '*/5 * * * *' for every 5 minutes." in response.json()["detail"]
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
