"""Input that the reference server accepts silently is accepted here too; a header names parts without effect."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.wire.remarks import HEADER

RUN = {"assistant_id": "agent", "input": {"messages": []}}
UPDATE = {"values": {"messages": []}, "as_node": "model"}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/assistants"): {"graph_id": "agent"},
    ("POST", "/assistants/{assistant_id}/latest"): {"version": 1},
    ("POST", "/threads/{thread_id}/state"): UPDATE,
    ("PATCH", "/threads/{thread_id}/state"): {"metadata": {}},
    ("POST", "/threads/{thread_id}/state/checkpoint"): {"checkpoint": {"checkpoint_id": str(uuid.uuid4())}},
    ("POST", "/threads/prune"): {"thread_ids": []},
    ("POST", "/threads/{thread_id}/runs"): RUN,
    ("POST", "/threads/{thread_id}/runs/stream"): RUN,
    ("POST", "/threads/{thread_id}/runs/wait"): RUN,
    ("POST", "/threads/{thread_id}/runs/crons"): {**RUN, "schedule": "0 0 29 2 *"},
    ("POST", "/runs"): RUN,
    ("POST", "/runs/stream"): RUN,
    ("POST", "/runs/wait"): RUN,
    ("POST", "/runs/batch"): [RUN],
    ("POST", "/runs/crons"): {**RUN, "schedule": "0 0 29 2 *"},
    ("POST", "/runs/cancel"): {"status": "all"},
    ("PUT", "/store/items"): {"namespace": ["a"], "key": "k", "value": {}},
    ("DELETE", "/store/items"): {"namespace": ["a"], "key": "k"},
    ("POST", "/store/items/search"): {"namespace_prefix": []},
    ("POST", "/threads/{thread_id}/commands"): {"id": 1, "method": "state.get"},
    ("POST", "/approvals/{approval_id}/answer"): {"answer": True},
    ("POST", "/approvals/{approval_id}/comments"): {"text": "why?"},
    ("POST", "/approvals/{approval_id}/delegate"): {"user_id": "bob"},
}
"""Bodies that routes need beside the unknown field; the others need none."""
OPEN_ENDED = ("/stream", "/stream/events")
"""Their responses do not end, unless refused."""


async def test_unknown_field_is_remarked_on_by_every_route(application: Application, client: httpx.AsyncClient) -> None:
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    await client.post(f"/threads/{thread}/runs/wait", json=RUN)
    described: dict[str, Any] = application.asgi.openapi()["paths"]
    routes = [
        (method.upper(), path)
        for path, methods in described.items()
        for method, operation in methods.items()
        if "requestBody" in operation and path.removeprefix("/threads/{thread_id}") not in OPEN_ENDED
    ]
    assert len(routes) > 25
    silent = {}
    for route in routes:
        body = BODIES.get(route, {})
        sent = [{**body[0], "bogus": 1}] if isinstance(body, list) else {**body, "bogus": 1}
        path = re.sub(r"\{(\w+)\}", lambda found: thread if found[1] == "thread_id" else "agent", route[1])
        if "cron_id" in route[1]:
            cron = (await client.post("/runs/crons", json={**RUN, "schedule": "0 0 29 2 *"})).json()["cron_id"]
            path = f"/runs/crons/{cron}"
        answer = await client.request(route[0], path, json=sent)
        if answer.headers.get(HEADER) != "'bogus' has no effect, for there is no such field":
            silent[route] = (answer.status_code, answer.headers.get(HEADER), answer.text[:100])
    assert silent == {}


@pytest.mark.parametrize("path", OPEN_ENDED)
async def test_refusal_carries_the_remark_too(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"/threads/{uuid.uuid4()}{path}", json={"channels": ["none"], "bogus": 1})
    assert (answer.status_code, answer.headers[HEADER]) == (400, "'bogus' has no effect, for there is no such field")


async def test_nested_unknown_field_is_named_by_its_path(client: httpx.AsyncClient) -> None:
    body = {**RUN, "config": {"bogus": 1, "configurable": {"any": 1}}, "feedback_keys": ["x"]}
    said = (await client.post("/runs/wait", json=body)).headers[HEADER]
    assert said.split("; ") == [
        "feedback_keys has no effect, for this server collects no feedback",
        "'config.bogus' has no effect, for there is no such field",
    ]
    thread = (await client.post("/threads", json={"ttl": {"ttl": 5, "bogus": 1}})).headers[HEADER]
    assert thread == "'ttl.bogus' has no effect, for there is no such field"


async def test_parameter_of_a_command_is_remarked_on(client: httpx.AsyncClient) -> None:
    command = {"id": 1, "method": "run.start", "params": {**RUN, "multitaskStrategy": "reject", "bogus": 1}}
    answer = await client.post(f"/threads/{uuid.uuid4()}/commands", json=command)
    assert answer.json()["type"] == "success"
    assert answer.headers[HEADER] == "'params.bogus' has no effect, for there is no such field"


async def test_names_fit_into_a_header(client: httpx.AsyncClient) -> None:
    odd = {"gr\u00fc\u00dfe\r\nx: y; z": 1, "x" * 10_000: 1, **{f"f{number}": 1 for number in range(50)}}
    said = (await client.post("/threads", json=odd)).headers[HEADER]
    assert len(said) < 2_000
    assert said.startswith("'gr\\xfc\\xdfe\\r\\nx: y, z' has no effect")
    assert said.endswith("; neither have 42 more")


async def test_known_field_is_not_remarked_on(client: httpx.AsyncClient) -> None:
    for path, body in (
        ("/threads", {"metadata": {"any": 1}, "ttl": 5}),
        ("/runs/wait", RUN),
        ("/assistants/search", {}),
    ):
        assert HEADER not in (await client.post(path, json=body)).headers


@pytest.mark.parametrize("action", ["bogus", "", "Rollback"])
async def test_cancel_of_an_unknown_kind_interrupts(client: httpx.AsyncClient, action: str) -> None:
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    slow = {"assistant_id": "slow", "input": {"steps": 200, "delay": 0.05}}
    said = "action is neither interrupt nor rollback, so the run is interrupted"
    run = (await client.post(f"/threads/{thread}/runs", json=slow)).json()["run_id"]
    cancelled = await client.post(f"/threads/{thread}/runs/{run}/cancel", params={"wait": "1", "action": action})
    assert (cancelled.status_code, cancelled.headers[HEADER]) == (200, said)
    assert (await client.get(f"/threads/{thread}/runs/{run}")).json()["status"] == "interrupted"
    run = (await client.post(f"/threads/{thread}/runs", json=slow)).json()["run_id"]
    many = {"thread_id": thread, "run_ids": [run]}
    cancelled = await client.post("/runs/cancel", json=many, params={"action": action})
    assert (cancelled.status_code, cancelled.headers[HEADER]) == (204, said)
    await client.get(f"/threads/{thread}/runs/{run}/join")
    assert (await client.get(f"/threads/{thread}/runs/{run}")).json()["status"] == "interrupted"


async def test_empty_update_creates_a_version(client: httpx.AsyncClient) -> None:
    made = (await client.post("/assistants", json={"graph_id": "agent", "name": "n", "metadata": {"a": 1}})).json()
    for version, body in enumerate(({}, {"metadata": {}}, {"unknown": 1}), 2):
        changed = (await client.patch(f"/assistants/{made['assistant_id']}", json=body)).json()
        assert {**changed, "updated_at": made["updated_at"]} == {**made, "version": version}
    versions = (await client.post(f"/assistants/{made['assistant_id']}/versions", json={})).json()
    assert [one["version"] for one in versions] == [4, 3, 2, 1]


@pytest.mark.parametrize("ttl", [0.001, {"ttl": 0.001}, {"ttl": 0.01, "strategy": "keep_latest"}])
async def test_ttl_below_one_second_is_accepted(client: httpx.AsyncClient, ttl: Any) -> None:
    made = await client.post("/threads", json={"ttl": ttl})
    assert made.status_code == 200
    shown = (await client.get(f"/threads/{made.json()['thread_id']}", params={"include": "ttl"})).json()["ttl"]
    assert shown["ttl_minutes"] == (ttl["ttl"] if isinstance(ttl, dict) else ttl)


@pytest.mark.parametrize("ttl", [0, -1, {"ttl": 0}, {"ttl": -0.5}])
async def test_ttl_of_zero_is_refused(client: httpx.AsyncClient, ttl: Any) -> None:
    refused = await client.post("/threads", json={"ttl": ttl})
    assert (refused.status_code, refused.json()["detail"]) == (422, "ttl.ttl: Input should be greater than 0")
