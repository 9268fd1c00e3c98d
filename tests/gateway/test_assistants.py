"""What becomes of assistants beyond the SDK's calls: whose they are, what runs make of them, how long they last."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.gateway.api import create_api
from runstead.graphs.configuration import read_configuration
from runstead.plugins.auth.none import LOCAL_ACTOR
from runstead.resources.assistants import assistant_id_of
from runstead.runtime.actor_context import ActorContext
from runstead.settings import load_settings
from runstead.wire.credentials import Credentials

from .conftest import GRAPHS

CTX = assistant_id_of("ctx")
LATER = 3600
Served: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class ByName:
    """Everybody is who the header says, with the scopes that it says."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        name, *scopes = credentials.headers["x-user"].split()
        return ActorContext(user_id=name, scopes=frozenset(scopes), auth_source="header")


ALICE, BOB, OPERATOR = {"x-user": "alice"}, {"x-user": "bob"}, {"x-user": "olga assistants"}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Serves one data directory, as often as it is asked to; with users, or with other graphs than before."""

    @asynccontextmanager
    async def serve(*, users: bool = False, graphs: Path = GRAPHS, **flags: Any) -> AsyncIterator[httpx.AsyncClient]:
        flags = {"data_dir": tmp_path / "data", "shutdown_grace_seconds": 0.1, **flags}
        application = Application(load_settings(flags, project=tmp_path), read_configuration(graphs))
        asgi = create_api(application, authenticator=ByName()) if users else application.asgi
        transport = httpx.ASGITransport(asgi)
        async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client

    return serve


async def a_new(client: httpx.AsyncClient, who: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    made = await client.post("/assistants", json={"graph_id": "ctx", **fields}, headers=who)
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


async def a_thread(client: httpx.AsyncClient) -> str:
    return str((await client.post("/threads", json={})).json()["thread_id"])


async def test_nothing_of_alices_assistant_is_there_for_bob(served: Served) -> None:
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
async def test_users_cannot_change_what_everybody_uses(served: Served, name: str) -> None:
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


async def test_who_is_trusted_with_it_can(served: Served) -> None:
    async with served(users=True, shared_assistants_scope="assistants") as client:
        change = {"context": {"color": "gold"}}
        assert (await client.patch("/assistants/ctx", json=change, headers=ALICE)).status_code == 403
        assert (await client.patch("/assistants/ctx", json=change, headers=OPERATOR)).json()["version"] == 2
        # It is everybody's.
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


async def test_a_run_keeps_the_version_that_it_was_created_with(served: Served) -> None:
    """Also one that waits: for its turn behind another one, or for its time."""
    async with served() as client:
        made = await a_new(client, context={"color": "red"}, metadata={"k": "old"}, config={"tags": ["old"]})
        place, run = f"/assistants/{made['assistant_id']}", {"assistant_id": made["assistant_id"], "input": {}}
        thread = await a_thread(client)
        busy = {"assistant_id": "slow", "input": {"steps": 4, "delay": 0.1}}
        await client.post(f"/threads/{thread}/runs", json=busy)
        queued = (await client.post(f"/threads/{thread}/runs", json=run)).json()
        later = await a_thread(client)
        delayed = (await client.post(f"/threads/{later}/runs", json={**run, "after_seconds": 0.5})).json()
        assert queued["status"] == delayed["status"] == "pending"
        change = {"context": {"color": "blue"}, "metadata": {"k": "new"}, "config": {"tags": ["new"]}}
        assert (await client.patch(place, json=change)).json()["version"] == 2
        for one in (queued, delayed):
            seen = (await client.get(f"/threads/{one['thread_id']}/runs/{one['run_id']}/join")).json()["seen"]
            assert (seen["context"], seen["configurable"]["color"]) == ({"color": "red"}, "red")
            assert (seen["metadata"]["k"], seen["tags"]) == ("old", ["old"])
        seen = (await client.post("/runs/wait", json=run)).json()["seen"]
        assert (seen["context"], seen["metadata"]["k"], seen["tags"]) == ({"color": "blue"}, "new", ["new"])


async def test_assistant_thread_and_run_are_merged_in_this_order(served: Served) -> None:
    async with served() as client:
        made = await a_new(
            client,
            config={"tags": ["assistant"], "metadata": {"c": "assistant"}},
            context={"color": "red", "shade": "dark"},
            metadata={"a": "assistant", "b": "assistant", "d": "assistant"},
        )
        thread = (await client.post("/threads", json={"metadata": {"b": "thread", "d": "thread"}})).json()["thread_id"]

        async def seen(**fields: Any) -> dict[str, Any]:
            body = {"assistant_id": made["assistant_id"], "input": {}, **fields}
            answer = await client.post(f"/threads/{thread}/runs/wait", json=body)
            found: dict[str, Any] = answer.json()["seen"]
            return found

        of_run = await seen(config={"configurable": {"color": "blue"}, "tags": ["run"]}, metadata={"d": "run"})
        assert (of_run["context"], of_run["configurable"]["color"]) == ({"color": "blue"}, "blue")
        told = {name: of_run["metadata"][name] for name in "abcd"}
        assert told == {"a": "assistant", "b": "thread", "c": "assistant", "d": "run"}
        assert of_run["tags"] == ["run"]
        by_context = await seen(context={"color": "green"})
        assert (by_context["context"], by_context["configurable"]["color"]) == ({"color": "green"}, "green")
        assert by_context["tags"] == ["assistant"]
        # What the assistant says is no reason to refuse a configurable beside it.
        refused = {"assistant_id": made["assistant_id"], "context": {"a": 1}, "config": {"configurable": {"b": 1}}}
        assert (await client.post("/runs/wait", json=refused)).status_code == 400


async def test_deleting_interrupts_what_is_in_flight_and_keeps_what_was_done(served: Served) -> None:
    async with served() as client:
        made, other = await a_new(client, graph_id="slow"), await a_new(client, graph_id="slow")
        run = {"assistant_id": made["assistant_id"], "input": {"steps": 500, "delay": 0.02}}
        ended, busy, delayed, mixed = threads = [await a_thread(client) for _ in range(4)]
        await client.post(f"/threads/{ended}/runs/wait", json={**run, "input": {"steps": 1, "delay": 0}})
        mine = [
            (await client.post(f"/threads/{thread}/runs", json={**run, **more})).json()
            for thread, more in ((busy, {}), (busy, {}), (delayed, {"after_seconds": LATER}))
        ]
        short = {"assistant_id": other["assistant_id"], "input": {"steps": 4, "delay": 0.05}}
        theirs = (await client.post(f"/threads/{mixed}/runs", json=short)).json()
        mine.append((await client.post(f"/threads/{mixed}/runs", json=run)).json())
        stateless = (await client.post("/runs", json=run)).json()
        reading = asyncio.create_task(client.get(f"/threads/{busy}/runs/{mine[0]['run_id']}/stream"))
        assert (await client.delete(f"/assistants/{made['assistant_id']}")).status_code == 204
        assert (await asyncio.wait_for(reading, 10)).status_code == 200
        for one in (*mine, stateless):
            place = f"/threads/{one['thread_id']}/runs/{one['run_id']}"
            await asyncio.wait_for(client.get(f"{place}/join"), 10)
            told = (await client.get(f"/runs/{one['run_id']}")).json()
            assert (told["status"], told["assistant_id"]) == ("interrupted", made["assistant_id"])
        place = f"/threads/{mixed}/runs/{theirs['run_id']}"
        assert (await client.get(f"{place}/join")).json()["done"] == 4
        assert (await client.get(place)).json()["status"] == "success"
        (old,) = (await client.get(f"/threads/{ended}/runs")).json()
        assert old["status"] == "success"
        for thread in threads:
            assert (await client.post(f"/threads/{thread}/history", json={})).status_code == 200
            again = await client.post(f"/threads/{thread}/runs/wait", json=run)
            assert (again.status_code, again.json()["detail"]) == (404, "Thread or assistant not found.")
            more = await client.post(f"/threads/{thread}/runs/wait", json={**short, "input": {"steps": 1, "delay": 0}})
            assert more.status_code == 200


async def test_deleting_with_threads_stops_what_runs_and_waits_there(served: Served) -> None:
    async with served() as client:
        made = await a_new(client, graph_id="slow")
        run = {"assistant_id": made["assistant_id"], "input": {"steps": 1000, "delay": 0.01}}
        threads = [await a_thread(client) for _ in range(3)]
        runs = [(await client.post(f"/threads/{thread}/runs", json=run)).json()["run_id"] for thread in threads]
        await client.post(f"/threads/{threads[0]}/runs", json={**run, "after_seconds": LATER})
        other = await a_thread(client)
        reading = asyncio.create_task(client.get(f"/threads/{threads[1]}/runs/{runs[1]}/join"))
        deleted = await client.delete(f"/assistants/{made['assistant_id']}?delete_threads=true")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (await asyncio.wait_for(reading, 10)).status_code in (200, 404)
        for thread, run_id in zip(threads, runs, strict=True):
            assert (await client.get(f"/threads/{thread}")).status_code == 404
            assert (await client.get(f"/threads/{thread}/runs/{run_id}")).status_code == 404
        assert (await client.get(f"/threads/{other}")).status_code == 200
        assert (await client.delete(f"/assistants/{made['assistant_id']}")).status_code == 404


async def test_of_deletions_changes_and_runs_at_once_none_fails_badly(served: Served) -> None:
    async with served() as client:
        made = await a_new(client)
        place, run = f"/assistants/{made['assistant_id']}", {"assistant_id": made["assistant_id"], "input": {}}
        answers = await asyncio.gather(
            *(client.patch(place, json={"metadata": {"n": n}}) for n in range(5)),
            *(client.post("/runs/wait", json=run) for _ in range(3)),
            client.delete(f"{place}?delete_threads=true"),
            client.delete(place),
            *(client.post(f"{place}/latest", json={"version": 1}) for _ in range(3)),
            *(client.post(f"{place}/versions", json={}) for _ in range(3)),
        )
        assert {answer.status_code for answer in answers} <= {200, 204, 404}
        assert [answer.status_code for answer in answers].count(204) == 1
        assert (await client.get(place)).status_code == 404


async def test_a_graph_that_is_gone_leaves_its_assistants_behind(served: Served, tmp_path: Path) -> None:
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
        # It can be moved to another graph; and what belonged to the graph alone can be removed now.
        moved = await client.patch(f"/assistants/{made['assistant_id']}", json={"graph_id": "agent"})
        assert (moved.status_code, moved.json()["graph_id"]) == (200, "agent")
        assert (await client.delete(f"/assistants/{CTX}")).status_code == 204
        assert (await client.get("/assistants/ctx")).status_code == 422
    async with served() as client:
        assert (await client.get("/assistants/ctx")).json()["version"] == 1


async def test_graphs_in_graphs_in_graphs_are_described_as_deep_as_asked(served: Served, tmp_path: Path) -> None:
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
            for nobody in ("inner", "middle|", "middle|other", "midd", "*"):
                refused = await client.get(f"{place}/subgraphs/{nobody}")
                assert (refused.status_code, "There is no subgraph" in refused.json()["detail"]) == (404, True), nobody
            depths = {"false": "middle", "0": "middle", "1": "middle:inner", "2": "middle:inner:leaf"}
            for xray, deepest in {**depths, "true": "middle:inner:leaf", "True": "middle:inner:leaf"}.items():
                drawn = (await client.get(f"{place}/graph?xray={xray}")).json()
                assert {node["id"] for node in drawn["nodes"]} == {"__start__", deepest, "__end__"}, xray


async def test_what_only_the_server_says_is_not_kept(served: Served) -> None:
    """Clients send back what they have read, of runs too."""
    own = {"langgraph_auth_user": {"identity": "eve"}, "__pregel_x": 1, "color": "red"}
    async with served() as client:
        for fields in ({"context": own}, {"config": {"configurable": own}}):
            made = await a_new(client, **fields)
            assert (made["context"], made["config"]) == ({"color": "red"}, {"configurable": {"color": "red"}})
        made = await a_new(client, config={"configurable": {"thread_id": "x", "checkpoint_id": "y", "color": "red"}})
        run = await client.post("/runs/wait", json={"assistant_id": made["assistant_id"], "input": {}})
        assert run.status_code == 200
        assert run.json()["seen"]["configurable"]["thread_id"] != "x"


async def test_a_config_holds_what_has_an_effect_on_runs(served: Served) -> None:
    config = {"tags": ["t"], "metadata": {"m": None}, "recursion_limit": 9, "max_concurrency": 2, "run_name": "r"}
    async with served() as client:
        made = await a_new(client, config={**config, "callbacks": None})
        assert made["config"] == config
        run = (await client.post("/runs", json={"assistant_id": made["assistant_id"], "input": {}})).json()
        told = run["kwargs"]["config"]
        assert {name: told[name] for name in config if name != "metadata"} == {
            name: config[name] for name in config if name != "metadata"
        }
        refused = await client.patch(f"/assistants/{made['assistant_id']}", json={"config": {"callbacks": ["x"]}})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("config: 'callbacks' has no effect on runs; it may hold tags, ")


async def test_a_description_can_be_taken_away(served: Served) -> None:
    async with served() as client:
        made = await a_new(client, description="d", name="n")
        place = f"/assistants/{made['assistant_id']}"
        assert (await client.patch(place, json={"name": None, "metadata": None})).json() == made
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
async def test_a_body_that_cannot_be_meant_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
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
async def test_so_is_one_about_versions(client: httpx.AsyncClient, path: str, body: Any) -> None:
    refused = await client.post(f"/assistants/agent/{path}", json=body)
    assert (refused.status_code, bool(refused.json()["detail"])) == (422, True)


@pytest.mark.parametrize("xray", ["", "-1", "1.5", "yes", "1000"])
async def test_so_is_an_xray_of_no_depth(client: httpx.AsyncClient, xray: str) -> None:
    refused = await client.get(f"/assistants/nested/graph?xray={xray}")
    assert (refused.status_code, "xray" in refused.text) == ((200, False) if not xray else (422, True))


async def test_no_assistant_is_called_by_what_cannot_be_an_id(client: httpx.AsyncClient) -> None:
    for name in ("nope", "%00", "..%2F..", "%F0%9F%98%80", "x" * 5000, f"{{{uuid.uuid4()}}}x"):
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/latest"), ("POST", "/versions")):
            body = {"version": 1} if method in ("POST", "PATCH") else None
            refused = await client.request(method, f"/assistants/{name}{path}", json=body)
            assert refused.status_code in (404, 405, 422), (method, name, path)
            assert isinstance(refused.json()["detail"], str)


async def test_the_one_user_of_a_server_without_users_is_the_local_one(served: Served) -> None:
    async with served() as client:
        assert LOCAL_ACTOR.auth_source == "none"
        assert (await client.patch("/assistants/ctx", json={"name": "Mine"})).status_code == 200
    async with served(users=True) as client:
        # The same name proved otherwise is another one.
        impostor = {"x-user": LOCAL_ACTOR.user_id}
        assert (await client.patch("/assistants/ctx", json={"name": "Mine"}, headers=impostor)).status_code == 403
