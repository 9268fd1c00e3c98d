"""Clients without a URL: asynchronous subagents of deepagents wake their parent, as the same user, and streams
stream.

The server is under a prefix; in the cluster, the graphs run in a process without an HTTP server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError

from tests.cluster.nodes import Cluster

from .serving import server_for

CONFIG = Path(__file__).parent / "delegating.json"


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("delegating")
    if request.param == "embedded":
        with server_for(CONFIG, place) as url:
            yield url
    else:
        with Cluster.running(place, gateways=1, workers=1, config=CONFIG) as cluster:
            yield f"{cluster.urls[0]}/agents"


def client_of(url: str, user: str) -> Any:
    return get_client(url=url, api_key=None, headers={"x-user": user})


async def texts(client: Any, thread_id: str) -> list[str]:
    state = await client.threads.get_state(thread_id)
    return [message["content"] for message in state["values"]["messages"] if isinstance(message["content"], str)]


async def heard(client: Any, thread_id: str) -> str:
    """Return the supervisor's reply to the notification, once it exists."""
    async with asyncio.timeout(60):
        while True:
            for text in await texts(client, thread_id):
                if text.startswith("heard:"):
                    return text
            await asyncio.sleep(0.1)


async def test_subagents_wake_their_parent_as_its_user(url: str) -> None:
    users = {name: client_of(url, name) for name in ("ada", "grace")}
    parents, tasks = {}, {}
    for name, client in users.items():
        thread = await client.threads.create()
        parents[name] = thread["thread_id"]
        asked = {"messages": [{"role": "user", "content": f"{name}'s {uuid4()}"}]}
        tasks[name] = asked["messages"][0]["content"]
        await client.runs.wait(parents[name], "supervisor", input=asked)
    # Both turns have ended before an answer exists: only a run of the subagent can wake the supervisor.
    for name, client in users.items():
        assert (await client.threads.get(parents[name]))["status"] == "idle"
        await client.runs.wait(None, "opening", input={"name": tasks[name]})
    for name, client in users.items():
        assert f"found {tasks[name]}" in await heard(client, parents[name])
        owned = await client.threads.search(limit=100)
        assert {thread["metadata"]["owner"] for thread in owned} == {name}
        of_tasks = [one for one in owned if one["metadata"].get("parent_thread_id") == parents[name]]
        assert len(of_tasks) == 1
        other = users["grace" if name == "ada" else "ada"]
        for thread_id in (parents[name], of_tasks[0]["thread_id"]):
            with pytest.raises(NotFoundError):
                await other.threads.get(thread_id)


async def test_loopback_stream_is_not_buffered(url: str) -> None:
    said = await client_of(url, "ada").runs.wait(None, "relaying", input={"name": str(uuid4())})
    assert said["parts"] == ["first", "second"]


async def test_server_notices_a_loopback_reader_that_disconnects(url: str) -> None:
    said = await client_of(url, "ada").runs.wait(None, "leaving", input={"name": str(uuid4())})
    assert said["parts"] == ["interrupted"]
