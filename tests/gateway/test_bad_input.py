"""Any request to any route gets a response with an error text, never a 5xx, and the server keeps running."""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application

from .conftest import LIMIT

JSON = {"content-type": "application/json"}

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "half": b'{"assistant_id": "agent", ',
    "a list": b"[]",
    "a list of nothing": b"[null]",
    "a text": b'"x"',
    "null": b"null",
    "a number": b"1e400",
    "not a number": b'{"assistant_id": "agent", "metadata": {"x": NaN}, "values": {"x": NaN}}',
    "infinity": b'{"metadata": {"x": -Infinity}}',
    "half a character": b'{"metadata": {"x": "\\ud800"}, "namespace": ["\\udfff"], "key": "\\ud800"}',
    "a nul": b'{"metadata": {"x\\u0000": "y\\u0000"}, "assistant_id": "\\u0000", "key": "\\u0000"}',
    "no utf-8": b'{"metadata": "\xff\xfe"}',
    "deep lists": b'{"metadata": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    "deep objects": b'{"values":' * 500 + b"1" + b"}" * 500,
    "too much": b'{"metadata": {"x": "' + b"x" * LIMIT + b'"}}',
    "wrong types": json.dumps(
        {
            **dict.fromkeys(("assistant_id", "thread_id", "status", "if_exists", "as_node", "key", "sort_by"), 7),
            **dict.fromkeys(
                ("metadata", "config", "context", "values", "filter", "value", "checkpoint", "command"), "x"
            ),
            **dict.fromkeys(("limit", "offset", "max_depth", "after_seconds", "ttl"), "x"),
            **{
                name: {"a": 1}
                for name in ("stream_mode", "select", "namespace", "namespace_prefix", "ids", "supersteps")
            },
        }
    ).encode(),
    "beyond the bounds": json.dumps(
        {
            "limit": -1,
            "offset": -1,
            "max_depth": 0,
            "after_seconds": 1e308,
            "ids": ["../../etc/passwd"],
            "graph_id": "x",
        }
    ).encode(),
    "more than an integer": b'{"limit": 99999999999999999999999999, "offset": 1e30, "after_seconds": -1e308}',
    "ids that are paths": json.dumps(
        {"thread_id": "../../x", "checkpoint_id": "..\\..", "checkpoint": {"checkpoint_id": "/etc"}, "run_id": "%2e%2e"}
    ).encode(),
    "reserved keys": json.dumps(
        {
            "assistant_id": "agent",
            "metadata": {"__proto__": 1, "run_id": [1], "graph_id": {"a": 1}},
            "config": {"configurable": {"__pregel_send": 1, "checkpoint_map": 1, "thread_id": {}, "checkpoint_ns": 1}},
            "command": {"resume": 1, "goto": "__end__", "update": [["__root__", 1]]},
            "namespace": ["langgraph"],
            "key": "k",
            "value": {},
        }
    ).encode(),
    "modes that are none": b'{"assistant_id": "agent", "stream_mode": ["values", "tools"], "durability": "never"}',
    "a graph that is none": b'{"assistant_id": "no/such\\ngraph", "graph_id": "no", "metadata": {"graph_id": "no"}}',
}

ENDLESS = "/threads/{thread_id}/stream"
"""A response that lasts as long as the thread exists, whatever the request."""

IDS = (
    "not-a-uuid",
    "..%2F..%2Fetc%2Fpasswd",
    "%00",
    "x" * 3_000,
    "%F0%9F%A6%84",
    "%ff",
    "-1",
    "c6d0abea-ed71-469b-9912-d13073e14beb",
)

QUERIES: tuple[dict[str, str], ...] = (
    {"limit": "-1", "offset": "-1", "wait": "2", "xray": "x", "after": "-1", "before": "x", "refresh_ttl": "x"},
    {"limit": "abc", "offset": "1.5", "status": "bogus", "action": "explode", "recurse": "maybe"},
    {"limit": "9" * 40, "offset": "9" * 40, "after": "9" * 40, "namespace": ".", "key": "\x00"},
    {"select": "bogus,,\x00", "stream_mode": "tools", "cancel_on_disconnect": "x", "subgraphs": "x", "check_db": "x"},
    {"select": "values.\x00", "namespace": "a..b", "key": "k", "types": "\x00", "before": "../..", "xray": "9" * 40},
)


def routes(application: Application) -> Iterator[tuple[str, str]]:
    for path, methods in application.asgi.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path


def filled(path: str, value: str) -> str:
    return path.format_map(dict.fromkeys(re.findall(r"\{(\w+)\}", path), value))


def has_message(response: httpx.Response) -> bool:
    """Assert that a request was served or refused with a message."""
    if response.status_code < 400:
        return True
    body = response.json()
    # Invalid commands are refused in the envelope of commands.
    sentence = body.get("message") if body.get("type") == "error" else body.get("detail")
    return response.status_code < 500 and isinstance(sentence, str) and bool(sentence)


class Places(dict[str, str]):
    """Values for the parameters of paths; an id of which nothing exists for any that is not named."""

    def __missing__(self, name: str) -> str:
        return str(uuid.uuid4())


@pytest.fixture
async def places(client: httpx.AsyncClient) -> AsyncIterator[dict[str, str]]:
    """A thread with a run and a checkpoint, so that bad bodies reach deeper code."""
    thread_id = (await client.post("/threads", json={})).json()["thread_id"]
    await client.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "agent", "input": {"messages": []}})
    run_id = (await client.get(f"/threads/{thread_id}/runs")).json()[0]["run_id"]
    state = (await client.get(f"/threads/{thread_id}/state")).json()
    yield Places(
        thread_id=thread_id,
        run_id=run_id,
        checkpoint_id=state["checkpoint_id"] or str(uuid.uuid4()),
        assistant_id="agent",
        namespace="child",
    )
    assert (await client.get("/ok?check_db=1")).json()["ok"] is True


@pytest.mark.parametrize("name", BODIES)
async def test_bad_bodies(
    name: str, application: Application, client: httpx.AsyncClient, places: dict[str, str]
) -> None:
    failures = []
    for method, path in routes(application):
        if method in ("POST", "PUT", "PATCH", "DELETE"):
            # Bodies come first: their target must still exist.
            target = path if method == "DELETE" and "store" not in path else path.format_map(places)
            response = await client.request(method, target, content=BODIES[name], headers=JSON)
            if not has_message(response):
                failures.append(f"{method} {path}: {response.status_code} {response.text[:200]}")
    assert failures == []


@pytest.mark.parametrize("value", IDS)
async def test_bad_ids(value: str, application: Application, client: httpx.AsyncClient, places: dict[str, str]) -> None:
    failures = []
    for method, path in routes(application):
        if "{" not in path:
            continue
        for target in {filled(path, value), path.format_map(Places(places, run_id=value, checkpoint_id=value))}:
            response = await client.request(method, target, json={} if method != "GET" else None)
            if not has_message(response):
                failures.append(f"{method} {target[:100]}: {response.status_code} {response.text[:200]}")
    assert failures == []


@pytest.mark.parametrize("query", QUERIES)
async def test_bad_parameters(
    query: dict[str, str], application: Application, client: httpx.AsyncClient, places: dict[str, str]
) -> None:
    failures = []
    for method, path in routes(application):
        if method == "DELETE" or path.endswith(("/cancel", "/retry")):
            continue
        if path == ENDLESS:
            continue
        for names in itertools.chain([query], ({name: value} for name, value in query.items())):
            response = await client.request(
                method, path.format_map(places), params=names, json={} if method != "GET" else None
            )
            if not has_message(response):
                failures.append(f"{method} {path} {names}: {response.status_code} {response.text[:200]}")
    assert failures == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "\xff"]
)
async def test_bodies_with_another_content_type(kind: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/threads", content=b"{}", headers={b"content-type": kind.encode("latin-1")})
    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]


async def test_malformed_headers(client: httpx.AsyncClient, places: dict[str, str]) -> None:
    place = "/threads/{thread_id}/runs/{run_id}/stream".format_map(places)
    for value in (b"x", b"\xff\xfe", b"9" * 1_000, b"1-1-1", b"-2", b"99999999-1"):
        response = await client.get(place, headers={b"last-event-id": value})
        assert response.status_code == 200


async def test_oversized_body_is_not_buffered(client: httpx.AsyncClient) -> None:
    """Sent in chunks, without a length: read to the limit, dropped, and answered."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"metadata": "'
        while sent < 100 * LIMIT:
            sent += 10_000
            yield b"x" * 10_000

    response = await client.post("/threads", content=endless(), headers=JSON)
    assert response.status_code == 413
    assert str(LIMIT) in response.json()["detail"]
    assert sent <= 10 * LIMIT


async def test_paths_and_methods_that_do_not_exist(client: httpx.AsyncClient) -> None:
    for method, path, status in (("GET", "/nope", 404), ("PUT", "/threads", 405), ("POST", "/threads/x/y/z", 404)):
        response = await client.request(method, path)
        assert (response.status_code, list(response.json())) == (status, ["detail"])


async def test_run_with_hostile_input_ends_like_any_other(client: httpx.AsyncClient) -> None:
    hostile: list[Any] = ["x", 5, [[]], {"messages": 7}, {"messages": [{"role": "unknown"}]}, {"__root__": 1}, []]
    for value in hostile:
        response = await client.post("/runs/wait", json={"assistant_id": "agent", "input": value})
        assert response.status_code == 200
        assert "__error__" in response.json()
