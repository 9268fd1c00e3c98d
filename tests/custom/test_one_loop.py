"""All user code of a server runs on one event loop, which is not the server's."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pytest

from .conftest import HERE, Served

FILE = HERE / "everything.py"
KINDS = {
    "lifespan", "middleware", "route", "background task", "end of the lifespan", "authenticate", "on", "factory",
    "node", "embedding function",
}  # fmt: skip


def everything(**graph: Any) -> dict[str, Any]:
    return {
        "graphs": {"agent": {"path": f"{FILE}:graph", **graph}},
        "http": {"app": f"{FILE}:app"},
        "auth": {"path": f"{FILE}:auth"},
        "store": {"index": {"dims": 2, "embed": f"{FILE}:embed"}},
    }


def module() -> Any:
    """Return the module loaded for the server."""
    (found,) = (one for one in sys.modules.values() if getattr(one, "__file__", None) == str(FILE))
    return found


def loops() -> dict[str, asyncio.AbstractEventLoop]:
    """Return the thread and loop on which the module's code ran."""
    found: dict[str, asyncio.AbstractEventLoop] = module().LOOPS
    return found


async def test_all_kinds_of_user_code_share_one_loop_that_is_not_the_servers(served: Served) -> None:
    async with served(**everything()) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        loops().pop("node", None)
        assert (await http.get("/route")).json() == "done"
        created = await http.post("/threads", json={})
        thread = created.json()["thread_id"]
        answer = await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "agent", "input": {}})
        assert answer.json() == {"seen": "node"}
        assert (await http.get(f"/threads/{thread}/state")).json()["values"] == {"seen": "node"}
    assert set(loops()) == KINDS
    assert len(set(loops().values())) == 1
    assert asyncio.get_running_loop() not in loops().values()


async def test_graph_with_a_loop_per_run_shares_its_loop_with_nothing(served: Served) -> None:
    document = everything(agent_isolation="run")
    async with served(graphs=document["graphs"]) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        answer = await http.post("/runs/wait", json={"assistant_id": "agent", "input": {}})
        assert answer.status_code == 200
        own = loops()["node"]
        assert own is loops()["factory"]
        assert own is not asyncio.get_running_loop()


@pytest.mark.parametrize("path", ["/ok", "/threads/search"])
async def test_blocking_app_route_does_not_delay_api_routes(served: Served, path: str) -> None:
    async with served(http={"app": f"{FILE}:routes"}) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        blocking = asyncio.create_task(http.get("/blocks"))
        await asyncio.sleep(0.2)
        for _ in range(5):
            answer = await (http.get(path) if path == "/ok" else http.post(path, json={}))
            assert answer.status_code == 200
        assert not blocking.done()
        assert (await blocking).json() == "done"


async def test_lost_loop_of_an_embedded_server_is_replaced(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    document = {
        "graphs": {"stuck": f"{FILE}:stuck", "slow": f"{FILE}:slow"},
        "http": {"app": f"{FILE}:app"},
        "settings": {"blocked_loop_limit_seconds": 0.6, "lease_term_seconds": 1, "max_attempts": 2},
    }
    async with served(**document) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        before = loops()["lifespan"]
        runs = {}
        for name in ("slow", "stuck"):
            body = {"assistant_id": name, "input": {"name": f"{name} {url}"}, "on_completion": "keep"}
            runs[name] = (await http.post("/runs", json=body)).json()

        async def ended(name: str) -> Any:
            place = f"/threads/{runs[name]['thread_id']}/runs/{runs[name]['run_id']}"
            async with asyncio.timeout(30):
                while True:
                    answer = await http.get(place)
                    # The app's middleware wraps Runstead's routes: requests on the lost loop are refused and have to be
                    # repeated.
                    if answer.status_code != 503 and (run := answer.json())["status"] not in ("pending", "running"):
                        return run["status"], run["attempt"]
                    await asyncio.sleep(0.05)

        try:
            assert await ended("slow") == ("success", 2)
            assert await ended("stuck") == ("success", 2)
        finally:
            module().RELEASE.set()
        assert (await http.get("/route")).json() == "done"
        assert loops()["lifespan"] is not before
        assert loops()["route"] is loops()["lifespan"]
        assert (await http.get("/info")).json()["user_code"]["blocks"] >= 1
    assert [record.message for record in caplog.records if record.levelname == "CRITICAL"] == [
        next(record.message for record in caplog.records if "continue on a new loop" in record.message)
    ]
