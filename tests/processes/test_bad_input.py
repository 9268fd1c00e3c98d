"""Any invalid request gets a 4xx with an error text, and the server keeps running.

One table of requests per kind of error, over every route, on real connections: requests that a test client would
refuse (NUL in a path, half a body) count as well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from .client import Client, new_id
from .frames import strict
from .server import ServerProcess

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data", settings={"max_body_bytes": LIMIT})
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def thread_id(client: Client) -> AsyncIterator[str]:
    """A thread with a finished run, which must be unchanged at the end of the test."""
    thread_id = new_id()
    await client.wait(thread_id, "noop", {"n": 1})
    yield thread_id
    assert await client.values(thread_id) == {"n": 2}
    assert (await client.wait(thread_id, "noop", {"n": 1}))["n"] == 2


RUN = {"assistant_id": "noop", "input": {}}

# Routes that read a body, each with an accepted one. {t}: the thread, {u}: an unknown id.
WITH_BODY: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/threads", {}),
    ("POST", "/threads/search", {}),
    ("POST", "/threads/count", {}),
    ("POST", "/threads/prune", {"thread_ids": []}),
    ("PATCH", "/threads/{t}", {}),
    ("POST", "/threads/{t}/state", {"values": {"n": 2}}),
    ("POST", "/threads/{t}/state/checkpoint", {"checkpoint": {"checkpoint_id": "{u}"}}),
    ("POST", "/threads/{t}/history", {}),
    ("POST", "/threads/{t}/runs", RUN),
    ("POST", "/threads/{t}/runs/stream", RUN),
    ("POST", "/threads/{t}/runs/wait", RUN),
    ("POST", "/runs", RUN),
    ("POST", "/runs/stream", RUN),
    ("POST", "/runs/wait", RUN),
    ("POST", "/runs/batch", RUN),
    ("POST", "/runs/cancel", {"status": "pending"}),
    ("POST", "/assistants/search", {}),
    ("PUT", "/store/items", {"namespace": ["a"], "key": "k", "value": {}}),
    ("POST", "/store/items/search", {"namespace_prefix": []}),
    ("POST", "/store/namespaces", {}),
    ("DELETE", "/store/items", {"namespace": ["a"], "key": "k"}),
]
BAD_BODIES: dict[str, bytes] = {
    "not JSON": b"{'single': 'quotes'}",
    "half of it": b'{"assistant_id": "noop", "inp',
    "NaN": b'{"assistant_id": "noop", "input": NaN, "metadata": NaN, "values": NaN, "value": NaN}',
    "Infinity": b'{"assistant_id": "noop", "input": -Infinity}',
    "a lone surrogate": b'{"assistant_id": "noop", "input": "\\ud800", "metadata": {"a": "\\udfff"}}',
    "not UTF-8": b'{"assistant_id": "noop", "input": "\xff\xfe"}',
    "NUL": b'{"assistant_id": "noop", "input": "a\\u0000b", "metadata": {"a\\u0000": 1}}',
    "a bare number": b"17",
    "a string": b'"noop"',
    "two documents": b"{} {}",
    "deep nesting": b'{"assistant_id": "noop", "input": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "endless nesting": b"[" * 400_000,
    "too large": b'{"assistant_id": "noop", "input": "' + b"x" * (LIMIT + 1) + b'"}',
}

# One wrong field each; the rest of the body is valid.
WRONG_FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("/threads", {"thread_id": "../../etc/passwd"}),
    ("/threads", {"thread_id": 7}),
    ("/threads", {"thread_id": ""}),
    ("/threads", {"metadata": "text"}),
    ("/threads", {"if_exists": "explode"}),
    ("/threads/search", {"limit": "ten"}),
    ("/threads/search", {"limit": -1}),
    ("/threads/search", {"limit": 10**30}),
    ("/threads/search", {"offset": -5}),
    ("/threads/search", {"status": "asleep"}),
    ("/threads/search", {"sort_by": "thread_id; DROP TABLE threads"}),
    ("/threads/search", {"select": ["no_such_field"]}),
    ("/threads/search", {"ids": "not-a-list"}),
    ("/threads/search", {"metadata": []}),
    ("/threads/{t}/state", {"values": "text", "as_node": 5}),
    ("/threads/{t}/state", {"values": {"n": 1}, "as_node": "no such node"}),
    ("/threads/{t}/state", {"values": {"n": 1}, "checkpoint_id": "nonsense"}),
    ("/threads/{t}/history", {"limit": 0}),
    ("/threads/{t}/history", {"before": 17}),
    ("/assistants/search", {"limit": "x"}),
    ("/assistants/search", {"graph_id": 5}),
    ("/store/items/search", {"namespace_prefix": "a.b"}),
    ("/store/items/search", {"namespace_prefix": [], "limit": -3}),
    ("/store/namespaces", {"max_depth": "deep"}),
]
WRONG_RUNS: list[dict[str, Any]] = [
    {"assistant_id": None},
    {"assistant_id": 5},
    {"assistant_id": "no such graph"},
    {"assistant_id": ""},
    {"assistant_id": "../noop"},
    {"assistant_id": "00000000-0000-0000-0000-000000000000"},
    {"stream_mode": "lifecycle"},
    {"stream_mode": ["values", "smoke"]},
    {"stream_mode": {"a": 1}},
    {"multitask_strategy": "panic"},
    {"if_not_exists": "maybe"},
    {"on_disconnect": "sulk"},
    {"on_completion": "celebrate"},
    {"durability": "eternal"},
    {"config": "text"},
    {"config": {"configurable": []}},
    {"config": {"recursion_limit": "many"}},
    {"config": {"recursion_limit": -1}},
    {"config": {"tags": "text"}},
    {"config": {"configurable": {"a": 1}}, "context": {"b": 2}},
    {"context": 17},
    {"metadata": "text"},
    {"command": "resume"},
    {"command": {}, "input": {"a": 1}},
    {"command": {"goto": 5}},
    {"command": {"update": "text"}},
    {"checkpoint_id": "not-a-checkpoint"},
    {"checkpoint_id": 5},
    {"checkpoint": {"checkpoint_id": "../x"}},
    {"interrupt_before": 5},
    {"interrupt_before": "node"},
    {"after_seconds": "soon"},
    {"after_seconds": 10**30},
    {"webhook": "http://169.254.169.254/latest/meta-data"},
    {"stream_subgraphs": "yes"},
    {"stream_resumable": 1},
    {"run_id": "not a uuid"},
    {"run_id": "../../x"},
    {"timeout_seconds": -1},
    {"max_attempts": 0},
]
WRONG_PATHS: list[tuple[str, str]] = [
    ("GET", "/threads/{u}"),
    ("PATCH", "/threads/{u}"),
    ("DELETE", "/threads/{u}"),
    ("GET", "/threads/{u}/state"),
    ("POST", "/threads/{u}/state"),
    ("GET", "/threads/{u}/history"),
    ("POST", "/threads/{u}/history"),
    ("GET", "/threads/{t}/state/{u}"),
    ("GET", "/threads/{u}/runs"),
    ("GET", "/threads/{t}/runs/{u}"),
    ("DELETE", "/threads/{t}/runs/{u}"),
    ("GET", "/threads/{t}/runs/{u}/join"),
    ("GET", "/threads/{t}/runs/{u}/stream"),
    ("POST", "/threads/{t}/runs/{u}/cancel"),
    ("POST", "/threads/{t}/runs/{u}/retry"),
    ("GET", "/runs/{u}"),
    ("GET", "/runs/{u}/join"),
    ("GET", "/runs/{u}/stream"),
    ("GET", "/assistants/{u}"),
    ("GET", "/assistants/{u}/schemas"),
    ("GET", "/assistants/{u}/graph"),
    ("GET", "/assistants/no-such-graph"),
    ("GET", "/threads/not-a-uuid"),
    ("GET", "/threads/..%2F..%2Fetc%2Fpasswd"),
    ("GET", "/threads/%00"),
    ("GET", "/threads/%ED%A0%80"),
    ("GET", "/threads/%FF%FE/state"),
    ("DELETE", "/threads/" + "x" * 5_000),
    ("GET", "/threads/{t}/runs/%00/stream"),
    ("GET", "/threads/{t}/runs/'; DROP TABLE runs; --"),
    ("GET", "/runs/%2e%2e%2fetc"),
    ("GET", "/threads/{t}/runs?limit=many"),
    ("GET", "/threads/{t}/runs?limit=-1"),
    ("GET", "/threads/{t}/runs?offset=99999999999999999999999"),
    ("GET", "/threads/{t}/runs?status=asleep"),
    ("GET", "/threads/{t}/runs?select=secrets"),
    ("GET", "/threads/{t}/state?subgraphs=perhaps"),
    ("GET", "/threads/{t}/state?select=secrets"),
    ("GET", "/threads/{t}/history?limit=1e9"),
    ("GET", "/threads/{t}/history?before=nonsense"),
    ("POST", "/threads/{t}/runs/{u}/cancel?action=explode"),
    ("GET", "/store/items?key=x"),
    ("GET", "/no/such/route"),
    ("PUT", "/threads"),
    ("DELETE", "/ok"),
    ("GET", "/runs/wait/x/y"),
]


async def _refused(client: Client, thread_id: str, method: str, path: str, **options: Any) -> int:
    """Send a request that must be refused with 4xx and an error text in JSON; return its status."""
    url = path.replace("{t}", thread_id).replace("{u}", new_id())
    async with client.http.stream(method, url, **options) as response:
        body = await response.aread()
    place = f"{method} {url[:200]} -> {response.status_code} {body[:300]!r}"
    assert 400 <= response.status_code < 500, place
    assert response.headers["content-type"].startswith("application/json"), place
    detail = strict(body)["detail"]
    assert isinstance(detail, str), place
    assert 3 < len(detail) < 1_000, place
    assert "Traceback" not in detail, place
    return response.status_code


def _filled(body: dict[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = json.loads(json.dumps(body).replace("{u}", new_id()))
    return filled


@pytest.mark.parametrize("kind", BAD_BODIES)
async def test_body_that_is_bad_for_any_route_is_refused_by_every_route(
    client: Client, thread_id: str, kind: str
) -> None:
    for method, path, _ in WITH_BODY:
        headers = {"content-type": "application/json"}
        status = await _refused(client, thread_id, method, path, content=BAD_BODIES[kind], headers=headers)
        assert status in ((413, 422) if "nesting" in kind or kind == "too large" else (422,)), (kind, method, path)


async def test_body_with_another_content_type_is_refused(client: Client, thread_id: str) -> None:
    for method, path, body in WITH_BODY:
        content = json.dumps(_filled(body)).encode()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
            status = await _refused(client, thread_id, method, path, content=content, headers={"content-type": kind})
            assert status == 415


@pytest.mark.parametrize(("path", "fields"), WRONG_FIELDS)
async def test_field_of_the_wrong_kind_is_refused(
    client: Client, thread_id: str, path: str, fields: dict[str, Any]
) -> None:
    await _refused(client, thread_id, "POST", path, json=fields)


@pytest.mark.parametrize("fields", WRONG_RUNS, ids=str)
async def test_run_with_a_wrong_field_is_refused_wherever_runs_are_created(
    client: Client, thread_id: str, fields: dict[str, Any]
) -> None:
    for path in ("/threads/{t}/runs", "/threads/{t}/runs/stream", "/threads/{t}/runs/wait", "/runs", "/runs/wait"):
        await _refused(client, thread_id, "POST", path, json={**RUN, **fields})
    await _refused(client, thread_id, "POST", "/runs/batch", json=[RUN, {**RUN, **fields}])
    assert len(await client.runs_of(thread_id)) == 1, "nothing of it was accepted"


@pytest.mark.parametrize(("method", "path"), WRONG_PATHS)
async def test_unknown_url_is_refused(client: Client, thread_id: str, method: str, path: str) -> None:
    options = {"json": {"values": {"n": 1}}} if method in ("POST", "PATCH") and "?" not in path else {}
    await _refused(client, thread_id, method, path, **options)


async def test_reserved_keys_have_no_effect(client: Client, thread_id: str) -> None:
    """A request cannot set the acting user or the ids of a run."""
    forged = {
        "thread_id": new_id(),
        "run_id": new_id(),
        "user_id": "another user",
        "checkpoint_ns": "elsewhere",
        "__pregel_task_id": "x",
        "langgraph_auth_user": {"identity": "root"},
    }
    run = await client.create(
        thread_id, "noop", {"n": 1}, config={"configurable": forged, "metadata": forged}, metadata=forged
    )
    ended = await client.ended(f"/threads/{thread_id}/runs/{run['run_id']}")
    assert (ended["status"], ended["thread_id"]) == ("success", thread_id)
    assert run["run_id"] != forged["run_id"]
    assert "__pregel_task_id" not in json.dumps(ended["kwargs"])
    assert "langgraph_auth_user" not in json.dumps(ended["kwargs"])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /runs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /runs HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /threads/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /threads/%00 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \x80\xff\r\nConnection: close\r\n\r\n",
        b"POST /runs/wait HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
    ],
)
async def test_bytes_that_are_not_http_do_no_harm(client: Client, server: ServerProcess, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(raw)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 15)
    except TimeoutError:
        # It is an OSError too: a request that is never answered.
        raise
    except OSError:
        # The server refused it before it was sent completely.
        answer = b""
    finally:
        writer.close()
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:200]
    assert (await client.get("/ok"))["ok"]


async def test_server_continues_and_nothing_was_created(client: Client, server: ServerProcess) -> None:
    assert await client.get("/runs", params={"status": "pending"}) == []
    assert await client.get("/runs", params={"status": "error"}) == []
    assert (await client.wait(None, "noop", {"n": 1}))["n"] == 2
    assert "Traceback" not in server.log, server.log[-6000:]
