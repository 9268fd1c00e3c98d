"""Storage size of a thread's states: equal on both profiles, and for own threads only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from tests.servers.profiles import PROFILES, served
from tests.servers.sqlite import current_data

AUTH = Path(__file__).parent.parent / "auth" / "tutorial_one.json"
ALICE, BOB = ({"authorization": f"Bearer user{number}-token"} for number in (1, 2))
ABSENT = "01a22e6e-6972-768c-987f-111cd7c852e4"


@pytest.fixture(params=PROFILES)
async def http(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with served(AUTH, tmp_path, request) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def measured(http: httpx.AsyncClient, thread: str) -> Any:
    answer = await http.get(f"/threads/{thread}/storage", headers=ALICE)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_thread_is_measured_by_channel(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={}, headers=ALICE)).json()["thread_id"]
    nothing = {"count": 0, "bytes": 0}
    assert await measured(http, thread) == {
        "thread_id": thread,
        "total_bytes": 0,
        "checkpoints": nothing,
        "channel_values": {**nothing, "by_channel": {}},
        "pending_writes": nothing,
    }
    run = {"assistant_id": "agent", "input": {}}
    await http.post(f"/threads/{thread}/runs/wait", json=run, headers=ALICE)
    first = await measured(http, thread)
    parts = [first[name] for name in ("checkpoints", "channel_values", "pending_writes")]
    assert sum(part["bytes"] for part in parts) == first["total_bytes"]
    assert all(part["count"] > 0 and part["bytes"] > 0 for part in parts)
    channels = first["channel_values"]["by_channel"]
    assert channels["observed"]["versions"] == 1
    assert sum(channel["bytes"] for channel in channels.values()) == first["channel_values"]["bytes"]
    assert sum(channel["versions"] for channel in channels.values()) == first["channel_values"]["count"]
    await http.post(f"/threads/{thread}/runs/wait", json=run, headers=ALICE)
    second = await measured(http, thread)
    assert second["total_bytes"] > first["total_bytes"]
    assert second["channel_values"]["by_channel"]["observed"]["versions"] == 2


async def test_thread_of_another_user_is_not_found(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={}, headers=ALICE)).json()["thread_id"]
    for path, who in ((thread, BOB), (ABSENT, ALICE)):
        answer = await http.get(f"/threads/{path}/storage", headers=who)
        assert (answer.status_code, answer.json()) == (404, {"detail": f"Thread with ID {path} not found"})
    assert (await http.get("/threads/none/storage", headers=ALICE)).status_code == 422


async def test_title_in_the_state_becomes_the_title_of_the_thread(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    (tmp_path / "titled.py").write_text(
        "from typing import TypedDict\n"
        "from langgraph.graph import START, StateGraph\n"
        "class State(TypedDict, total=False):\n    title: str\n    n: int\n"
        "graph = StateGraph(State).add_node('a', lambda state: {'n': 1}).add_edge(START, 'a').compile()\n"
    )
    config.write_text('{"graphs": {"titled": "./titled.py:graph"}}')
    application = Application.from_file(config, data_dir=current_data(tmp_path / "data"), port=0)
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]

        async def title() -> Any:
            return (await http.get(f"/threads/{thread}")).json()["metadata"].get("title")

        async def run(**given: Any) -> None:
            await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "titled", "input": given})

        await run(n=1)
        assert await title() is None
        await run(title="By input")
        assert await title() == "By input"
        await http.post(f"/threads/{thread}/state", json={"values": {"title": "By update"}})
        assert await title() == "By update"
        # A title set on the thread itself stays until the state's title changes again.
        await http.patch(f"/threads/{thread}", json={"metadata": {"title": "By hand"}})
        await run(n=2)
        assert await title() == "By hand"
        await run(title="Again")
        assert await title() == "Again"
