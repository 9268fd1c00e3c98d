"""A server with data moves to a cluster and continues there, and back again: real processes, real commands."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner

from runstead.cli.main import app
from tests.processes.client import Client, eventually
from tests.processes.server import ServerProcess
from tests.servers.postgres import PostgresSchema
from tests.servers.valkey import own_valkey

from .conftest import NewPlace

_GRAPHS: Final = """
from typing import Annotated, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from runstead.graphs.scripted import ScriptedChatModel, turns


class Chat(TypedDict):
    messages: Annotated[list, add_messages]


def greeter():
    return create_agent(ScriptedChatModel(script=turns(AIMessage("hello"), AIMessage("hello again"))), [])


def _ask(state):
    return {"messages": [AIMessage(f"the answer was {interrupt('really?')!r}")]}


asker = StateGraph(Chat).add_node("ask", _ask).add_edge(START, "ask").compile()
"""
_SETTINGS: Final = {"auth": "keys", "max_concurrent_runs": 8, "database_pool_size": 4}


def said(word: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": word}]}


def commanded(*arguments: str, environ: Mapping[str, str], exit_code: int = 0) -> dict[str, Any]:
    """Run a command to its end; return its last output line."""
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("RUNSTEAD_")}
    done = CliRunner().invoke(app, [*arguments, "--json"], env={**clean, **environ})
    assert done.exit_code == exit_code, done.output
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


class _Past:
    """The data that a client created on one server, and looks for on another."""

    def __init__(self, key: str) -> None:
        self._key = {"x-api-key": key}

    def client(self, server: ServerProcess) -> Client:
        client = Client(server.url)
        client.http.headers.update(self._key)
        return client

    async def made(self, server: ServerProcess) -> None:
        async with self.client(server) as client:
            thread = await client.post("/threads", {"metadata": {"topic": "moving"}, "ttl": 1_000})
            self.talked = thread["thread_id"]
            for word in ("one", "two"):
                await client.wait(self.talked, "greeter", said(word))
            self.history = await client.post(f"/threads/{self.talked}/history", {"limit": 100})
            (_, last) = await client.runs_of(self.talked)
            self.events_of = f"/threads/{self.talked}/runs/{last['run_id']}/events"
            self.events = await client.get(self.events_of)
            self.thread = await client.get(f"/threads/{self.talked}", params={"include": "ttl"})
            assert (self.thread["metadata"]["topic"], self.thread["ttl"]["ttl_minutes"]) == ("moving", 1_000)
            self.asked = (await client.post("/threads"))["thread_id"]
            await client.wait(self.asked, "asker", said("go"))
            self.late = (await client.post("/threads"))["thread_id"]
            self.run = await client.create(self.late, "greeter", said("later"), after_seconds=10)
            self.ticking = (await client.post("/threads"))["thread_id"]
            self.cron = await client.post(
                f"/threads/{self.ticking}/runs/crons",
                {"assistant_id": "greeter", "schedule": "0 0 1 1 *", "input": said("tick")},
            )
            item = {"namespace": ["a"], "key": "k", "value": {"kept": "Ω"}}
            assert (await client.http.put("/store/items", json=item)).is_success
            assistant = {"graph_id": "greeter", "name": "mine", "context": {"n": 1}}
            self.assistant = (await client.post("/assistants", assistant))["assistant_id"]
            await client.http.patch(f"/assistants/{self.assistant}", json={"name": "renamed"})

    async def is_whole_at(self, server: ServerProcess) -> None:
        async with self.client(server) as client:
            assert await client.post(f"/threads/{self.talked}/history", {"limit": 100}) == self.history
            assert await client.get(self.events_of) == self.events
            assert await client.get(f"/threads/{self.talked}", params={"include": "ttl"}) == self.thread
            item = await client.get("/store/items", params={"namespace": "a", "key": "k"})
            assert item["value"] == {"kept": "Ω"}
            versions = await client.post(f"/assistants/{self.assistant}/versions")
            assert [version["name"] for version in versions] == ["renamed", "mine"]
            assert (await client.http.get("/assistants/x", headers={"x-api-key": "wrong"})).status_code in (401, 403)

    async def goes_on_at(self, server: ServerProcess) -> None:
        async with self.client(server) as client:
            assert (await client.get(f"/threads/{self.asked}"))["status"] == "interrupted"
            answered = await client.post(
                f"/threads/{self.asked}/runs/wait", {"assistant_id": "asker", "command": {"resume": "yes"}}
            )
            assert answered["messages"][-1]["content"] == "the answer was 'yes'"
            assert (await client.ended(f"/threads/{self.late}/runs/{self.run['run_id']}"))["status"] == "success"
            cron_id = self.cron["cron_id"]
            await client.http.patch(f"/runs/crons/{cron_id}", json={"schedule": "* * * * * */1"})

            async def has_fired() -> bool:
                return any(run["status"] == "success" for run in await client.runs_of(self.ticking))

            await eventually(has_fired)
            await client.http.delete(f"/runs/crons/{cron_id}")
            # A newly assigned number is above all imported ones.
            again = await client.wait(self.talked, "greeter", said("three"))
            assert [message["content"] for message in again["messages"]][::2] == ["one", "two", "three"]
            assert len(await client.runs_of(self.talked)) == 3


async def test_server_moves_to_a_cluster_and_continues(
    tmp_path: Path, postgres_schema: PostgresSchema, postgres: NewPlace
) -> None:
    (tmp_path / "graphs.py").write_text(_GRAPHS)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {name: f"./graphs.py:{name}" for name in ("greeter", "asker")}}))
    alone = {"RUNSTEAD_DATA_DIR": str(tmp_path / "data")}
    old = ServerProcess(tmp_path / "data", config=config, settings=_SETTINGS)
    file = str(tmp_path / "moving.zip")
    made = await asyncio.to_thread(commanded, "keys", "create", "--user", "alice", environ=alone)
    past = _Past(made["key"])
    with own_valkey(tmp_path / "valkey") as valkey:
        shared = {
            "RUNSTEAD_DATABASE_URL": postgres_schema.url,
            "RUNSTEAD_DATABASE_SCHEMA": postgres_schema.name,
            "RUNSTEAD_REDIS_URL": valkey.url,
        }
        new = ServerProcess(tmp_path / "new", config=config, settings=_SETTINGS, environ=shared)
        try:
            old.start()
            await past.made(old)
            beside = await asyncio.to_thread(commanded, "export", f"{file}.beside", environ=alone)
            assert beside["event"] == "exported"
            in_use = await asyncio.to_thread(commanded, "import", f"{file}.beside", environ=alone, exit_code=1)
            assert "in use by the process" in in_use["error"]
            # A crash: its held runs are recovered on the target.
            old.kill()
            exported = await asyncio.to_thread(commanded, "export", file, environ=alone)
            imported = await asyncio.to_thread(commanded, "import", file, environ=shared)
            assert imported["sha256"] == exported["sha256"]
            assert imported["restored"] == 1
            verified = await asyncio.to_thread(commanded, "import", file, "--verify", environ=shared)
            assert verified["event"] == "verified"
            new.start()
            await past.is_whole_at(new)
            await past.goes_on_at(new)
            new.terminate()
            new.wait()
            await _and_back(tmp_path, past, shared, config)
        finally:
            old.stop()
            new.stop()


async def _and_back(tmp_path: Path, past: _Past, shared: Mapping[str, str], config: Path) -> None:
    file, alone = str(tmp_path / "back.zip"), {"RUNSTEAD_DATA_DIR": str(tmp_path / "back")}
    exported = await asyncio.to_thread(commanded, "export", file, environ=shared)
    imported = await asyncio.to_thread(commanded, "import", file, environ=alone)
    assert imported["sha256"] == exported["sha256"]
    back = ServerProcess(tmp_path / "back", config=config, settings=_SETTINGS)
    try:
        back.start()
        async with past.client(back) as client:
            values = await client.wait(past.talked, "greeter", said("four"))
            assert [message["content"] for message in values["messages"]][::2] == ["one", "two", "three", "four"]
    finally:
        back.stop()
