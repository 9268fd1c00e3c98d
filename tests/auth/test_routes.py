"""Every route, requested without a user, by another user, and by a user with a filter; new routes are covered
automatically.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import httpx
import pytest

from runstead.gateway.auth.policy import OPEN_PATHS
from runstead.gateway.route_declaration import permissions_of

from .test_denials import routers

Route: TypeAlias = tuple[str, str]

ALICE, BOB, GUEST = ({"x-api-key": f"{name}-token"} for name in ("alice", "bob", "guest"))
RUN = {"assistant_id": "teller", "input": {}}
BODIES: dict[Route, Any] = {
    ("POST", "/threads/{thread_id}/runs/crons"): {**RUN, "schedule": "0 0 29 2 *"},
    ("POST", "/threads/{thread_id}/runs"): RUN,
    ("POST", "/threads/{thread_id}/runs/stream"): RUN,
    ("POST", "/threads/{thread_id}/runs/wait"): {**RUN, "if_not_exists": "create"},
    ("POST", "/threads/{thread_id}/state"): {"values": {"observed": {}}},
    ("PATCH", "/threads/{thread_id}"): {"metadata": {"x": 1}},
    ("PATCH", "/threads/{thread_id}/state"): {"metadata": {"x": 1}},
}
"""Bodies of routes that validate them before they look up the thread; ``{}`` is enough for the others."""


@pytest.fixture
async def routes(http: httpx.AsyncClient) -> list[Route]:
    paths = (await http.get("/openapi.json")).json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods if path not in OPEN_PATHS]


@pytest.fixture
async def ids(http: httpx.AsyncClient) -> dict[str, str]:
    """A thread of alice's with a run, all of it private."""
    thread = (await http.post("/threads", json={}, headers=ALICE)).json()["thread_id"]
    await http.post(f"/threads/{thread}/runs/wait", json=RUN, headers=ALICE)
    await http.post(f"/threads/{thread}/files", files={"file": ("a.txt", b"secret")}, headers=ALICE)
    (run,) = (await http.get(f"/threads/{thread}/runs", headers=ALICE)).json()
    state = (await http.get(f"/threads/{thread}/state", headers=ALICE)).json()
    return {"thread_id": thread, "run_id": run["run_id"], "checkpoint_id": state["checkpoint_id"]}


OF_THREADS_TO_COME = ("/commands", "/stream", "/stream/events")
"""Clients open these routes before a thread exists, so a missing thread is no error: see `test_protocol`."""


def of_threads(routes: list[Route]) -> Iterator[Route]:
    for method, path in routes:
        if path.removeprefix("/threads/{thread_id}") in OF_THREADS_TO_COME:
            continue
        if re.search(r"\{(thread_id|run_id)\}", path):
            yield method, path


async def ask(http: httpx.AsyncClient, route: Route, ids: dict[str, str], who: dict[str, str]) -> httpx.Response:
    method, path = route
    filled = re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], str(uuid.uuid4())), path)
    body = BODIES.get(route)
    if body is None and ids and path.endswith("/state/checkpoint"):
        body = {"checkpoint": {"checkpoint_id": ids["checkpoint_id"], "thread_id": ids["thread_id"]}}
    params = {"path": "uploads/a.txt"} if path.endswith("/files/content") else None
    json = (body or {}) if method in ("POST", "PUT", "PATCH") else None
    return await http.request(method, filled, json=json, params=params, headers=who)


async def test_every_route_declares_a_permission(routes: list[Route]) -> None:
    declared = dict(permissions_of(routers()))
    # They decide by the scopes of their callers, and ask no handlers.
    own = {*product(("GET",), ("/metrics", "/audit", "/workers", "/keys")), ("DELETE", "/keys/{key_id}")}
    assert {route for route in routes if declared.get(route) is None} == own


async def test_without_a_token_every_route_answers_401(http: httpx.AsyncClient, routes: list[Route]) -> None:
    assert len(routes) > 40
    for route in routes:
        refused = await ask(http, route, {}, {})
        assert (refused.status_code, refused.json()) == (401, {"detail": "Invalid token"}), route


@pytest.mark.parametrize("stranger", [BOB, GUEST], ids=["another user", "a filter that does not match"])
async def test_resource_of_another_user_is_not_found(
    http: httpx.AsyncClient, routes: list[Route], ids: dict[str, str], stranger: dict[str, str]
) -> None:
    asked = [*of_threads(routes), ("GET", "/threads/{thread_id}/stream")]
    assert len(asked) > 25
    answers = {route: await ask(http, route, ids, stranger) for route in asked}
    wrong = {route: (each.status_code, each.text[:200]) for route, each in answers.items() if each.status_code != 404}
    # One check comes earlier: bob may not delete at all.
    refused = {route for route in wrong if route[0] == "DELETE" and wrong[route][0] == 403 and stranger is BOB}
    assert {route: observed for route, observed in wrong.items() if route not in refused} == {}
    assert all(isinstance(each.json()["detail"], str) for each in answers.values())
    # The thread is unchanged.
    thread = (await http.get(f"/threads/{ids['thread_id']}", headers=ALICE)).json()
    assert (thread["metadata"].get("x"), thread["status"]) == (None, "idle")
    assert len((await http.get(f"/threads/{ids['thread_id']}/runs", headers=ALICE)).json()) == 1


async def test_own_resource_is_found(http: httpx.AsyncClient, routes: list[Route], ids: dict[str, str]) -> None:
    for route in of_threads(routes):
        if route[0] == "GET" and "{message_id}" not in route[1]:
            assert (await ask(http, route, ids, ALICE)).status_code == 200, route
