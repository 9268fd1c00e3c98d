"""Assistants beyond the SDK's calls: ownership, lifetime, invalid ones."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.auth.none import LOCAL_ACTOR
from runstead.resources.assistants import assistant_id_of

from .assistants import ALICE, BOB, GRAPHS, OPERATOR, Served, a_new, a_thread

CTX = assistant_id_of("ctx")


async def test_assistant_of_another_user_is_not_found(served: Served) -> None:
    async with served(users=True) as client:
        made = await a_new(client, ALICE, metadata={"mark": 1})
        place = f"/assistants/{made['assistant_id']}"
        run = {"assistant_id": made["assistant_id"], "input": {}}
        asked: list[tuple[str, str, Any]] = [
            ("GET", place, None),
            ("PATCH", place, {"name": "bob's"}),
            ("DELETE", place, None),
            ("DELETE", f"{place}?delete_threads=true", None),
            ("POST", f"{place}/versions", {}),
            ("POST", f"{place}/latest", {"version": 1}),
            ("GET", f"{place}/schemas", None),
            ("GET", f"{place}/graph", None),
            ("GET", f"{place}/subgraphs", None),
            ("GET", f"{place}/subgraphs/child", None),
            ("POST", "/runs/wait", run),
            ("POST", "/runs", run),
        ]
        for method, path, body in asked:
            response = await client.request(method, path, json=body, headers=BOB)
            assert response.status_code == 404, (method, path, response.text)
        for where in ({"mark": 1}, {}):
            wanted = {"metadata": where, "name": "Untitled"}
            assert (await client.post("/assistants/search", json=wanted, headers=BOB)).json() == []
            assert (await client.post("/assistants/count", json=wanted, headers=BOB)).json() == 0
        for if_exists in ("raise", "do_nothing"):
            taken = {"graph_id": "ctx", "assistant_id": made["assistant_id"], "if_exists": if_exists}
            assert (await client.post("/assistants", json=taken, headers=BOB)).status_code == 409
        assert (await client.get(place, headers=ALICE)).json() == made


@pytest.mark.parametrize("name", ["ctx", CTX])
async def test_users_cannot_change_default_assistants(served: Served, name: str) -> None:
    async with served(users=True) as client:
        before = (await client.get(f"/assistants/{name}", headers=ALICE)).json()
        for method, path, body in (
            ("PATCH", "", {"context": {"color": "red"}}),
            ("POST", "/latest", {"version": 1}),
            ("DELETE", "", None),
            ("DELETE", "?delete_threads=true", None),
        ):
            refused = await client.request(method, f"/assistants/{name}{path}", json=body, headers=OPERATOR)
            assert refused.status_code == 403, (method, path)
            assert "create one of your own with graph_id='ctx'" in refused.json()["detail"]
        there = {"graph_id": "ctx", "assistant_id": CTX, "if_exists": "do_nothing"}
        assert (await client.post("/assistants", json=there, headers=ALICE)).json() == before
        assert (await client.get(f"/assistants/{name}", headers=BOB)).json() == before


async def test_scope_allows_changing_default_assistants(served: Served) -> None:
    async with served(users=True, shared_assistants_scope="assistants") as client:
        change = {"context": {"color": "gold"}}
        assert (await client.patch("/assistants/ctx", json=change, headers=ALICE)).status_code == 403
        assert (await client.patch("/assistants/ctx", json=change, headers=OPERATOR)).json()["version"] == 2
        # It is shared by all users.
        run = await client.post("/runs/wait", json={"assistant_id": "ctx", "input": {}}, headers=ALICE)
        assert run.json()["seen"]["context"] == {"color": "gold"}
        refused = await client.delete("/assistants/ctx", headers=OPERATOR)
        assert (refused.status_code, "take the graph out" in refused.json()["detail"]) == (409, True)


async def test_versions_survive_a_restart(served: Served) -> None:
    async with served() as client:
        made = await a_new(client, context={"color": "red"})
        place = f"/assistants/{made['assistant_id']}"
        await client.patch(place, json={"context": {"color": "blue"}})
        back = (await client.post(f"{place}/latest", json={"version": 1})).json()
        own = (await client.patch("/assistants/ctx", json={"context": {"color": "gold"}, "name": "Golden"})).json()
        assert (own["version"], own["assistant_id"], own["metadata"]) == (2, CTX, {"created_by": "system"})
    async with served() as client:
        assert (await client.get(place)).json() == back
        versions = (await client.post(f"{place}/versions", json={})).json()
        assert [(one["version"], one["context"]) for one in versions] == [(2, {"color": "blue"}), (1, {"color": "red"})]
        assert (await client.get("/assistants/ctx")).json() == own
        assert (await client.post("/assistants/ctx/latest", json={"version": 1})).json()["context"] == {}
        assert len((await client.post("/assistants/ctx/versions", json={})).json()) == 2


async def test_assistants_of_a_removed_graph_remain(served: Served, tmp_path: Path) -> None:
    async with served() as client:
        made = await a_new(client, context={"color": "red"})
        thread = await a_thread(client)
        await client.post(f"/threads/{thread}/runs/wait", json={"assistant_id": made["assistant_id"], "input": {}})
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps({"graphs": {"agent": str(GRAPHS.parent / "recorded.py") + ":agent"}}))
    async with served(graphs=fewer) as client:
        for assistant_id in (made["assistant_id"], CTX):
            place = f"/assistants/{assistant_id}"
            assert (await client.get(place)).status_code == 200
            for path in ("schemas", "graph", "subgraphs"):
                refused = await client.get(f"{place}/{path}")
                assert (refused.status_code, "ctx" in refused.json()["detail"]) == (404, True)
            run = await client.post("/runs/wait", json={"assistant_id": assistant_id, "input": {}})
            assert (run.status_code, "ctx" in run.json()["detail"]) == (404, True)
        # It can be moved to another graph; and resources that belonged to the graph only can be removed now.
        moved = await client.patch(f"/assistants/{made['assistant_id']}", json={"graph_id": "agent"})
        assert (moved.status_code, moved.json()["graph_id"]) == (200, "agent")
        assert (await client.delete(f"/assistants/{CTX}")).status_code == 204
        assert (await client.get("/assistants/ctx")).status_code == 422
    async with served() as client:
        assert (await client.get("/assistants/ctx")).json()["version"] == 1


async def test_nested_graphs_are_drawn_to_the_requested_depth(served: Served, tmp_path: Path) -> None:
    nested = tmp_path / "nested.json"
    nested.write_text(json.dumps({"graphs": {"outer": str(Path(__file__).parent / "nesting.py") + ":outer"}}))
    async with served(graphs=nested) as client:
        made = await a_new(client, graph_id="outer")
        for name in ("outer", made["assistant_id"]):
            place = f"/assistants/{name}"
            assert [*(await client.get(f"{place}/subgraphs")).json()] == ["middle"]
            deep = (await client.get(f"{place}/subgraphs?recurse=true")).json()
            assert [*deep] == ["middle", "middle|inner"]
            for namespace, described in deep.items():
                for recurse in ("", "?recurse=true", "?recurse=false"):
                    found = await client.get(f"{place}/subgraphs/{namespace}{recurse}")
                    assert found.json() == {namespace: described}
            for unknown in ("inner", "middle|", "middle|other", "midd", "*"):
                refused = await client.get(f"{place}/subgraphs/{unknown}")
                assert (refused.status_code, "There is no subgraph" in refused.json()["detail"]) == (404, True), unknown
            depths = {"false": "middle", "0": "middle", "1": "middle:inner", "2": "middle:inner:leaf"}
            for xray, deepest in {**depths, "true": "middle:inner:leaf", "True": "middle:inner:leaf"}.items():
                drawn = (await client.get(f"{place}/graph?xray={xray}")).json()
                assert {node["id"] for node in drawn["nodes"]} == {"__start__", deepest, "__end__"}, xray


async def test_description_can_be_removed(served: Served) -> None:
    async with served() as client:
        made = await a_new(client, description="d", name="n")
        place = f"/assistants/{made['assistant_id']}"
        same = (await client.patch(place, json={"name": None, "metadata": None})).json()
        assert {**same, "version": 1, "updated_at": made["updated_at"]} == made
        assert (await client.patch(place, json={"description": None})).json()["description"] is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"graph_id": 1}',
        b'{"graph_id": null}',
        b'{"graph_id": "ctx", "assistant_id": "ctx"}',
        b'{"graph_id": "ctx", "assistant_id": 1}',
        b'{"graph_id": "ctx", "name": 1}',
        b'{"graph_id": "ctx", "name": "' + b"x" * 10_001 + b'"}',
        b'{"graph_id": "ctx", "config": []}',
        b'{"graph_id": "ctx", "config": {"configurable": []}}',
        b'{"graph_id": "ctx", "config": {"recursion_limit": "5"}}',
        b'{"graph_id": "ctx", "config": {"max_concurrency": 0}}',
        b'{"graph_id": "ctx", "config": {"callbacks": ["x"]}}',
        b'{"graph_id": "ctx", "context": []}',
        b'{"graph_id": "ctx", "metadata": "x"}',
        b'{"graph_id": "ctx", "metadata": {"x": "\\u0000"}}',
        b'{"graph_id": "ctx", "metadata": {"x": "\\ud800"}}',
        b'{"graph_id": "ctx", "metadata": {"x": NaN}}',
        b'{"graph_id": "ctx", "if_exists": "update"}',
    ],
)
async def test_invalid_assistant_body_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    refused = await client.post("/assistants", content=body, headers={"content-type": "application/json"})
    assert (refused.status_code, bool(refused.json()["detail"])) == (422, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("latest", {}),
        ("latest", {"version": None}),
        ("latest", {"version": 1.5}),
        ("latest", {"version": True}),
        ("latest", {"version": 2**31}),
        ("versions", {"limit": 1001}),
        ("versions", {"offset": -1}),
        ("versions", {"metadata": []}),
    ],
)
async def test_invalid_version_body_is_refused(client: httpx.AsyncClient, path: str, body: Any) -> None:
    refused = await client.post(f"/assistants/agent/{path}", json=body)
    assert (refused.status_code, bool(refused.json()["detail"])) == (422, True)


@pytest.mark.parametrize("xray", ["", "-1", "1.5", "yes", "1000"])
async def test_invalid_xray_is_refused(client: httpx.AsyncClient, xray: str) -> None:
    refused = await client.get(f"/assistants/nested/graph?xray={xray}")
    assert (refused.status_code, "xray" in refused.text) == ((200, False) if not xray else (422, True))


async def test_invalid_assistant_id_is_not_found(client: httpx.AsyncClient) -> None:
    for name in ("nope", "%00", "..%2F..", "%F0%9F%98%80", "x" * 5000, f"{{{uuid.uuid4()}}}x"):
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/latest"), ("POST", "/versions")):
            body = {"version": 1} if method in ("POST", "PATCH") else None
            refused = await client.request(method, f"/assistants/{name}{path}", json=body)
            assert refused.status_code in (404, 405, 422), (method, name, path)
            assert isinstance(refused.json()["detail"], str)


async def test_local_user_owns_assistants_without_authentication(served: Served) -> None:
    async with served() as client:
        assert LOCAL_ACTOR.auth_source == "none"
        assert (await client.patch("/assistants/ctx", json={"name": "Mine"})).status_code == 200
    async with served(users=True) as client:
        # The same name with another authentication is another user.
        impostor = {"x-user": LOCAL_ACTOR.user_id}
        assert (await client.patch("/assistants/ctx", json={"name": "Mine"}, headers=impostor)).status_code == 403
