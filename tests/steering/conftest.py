"""Servers in this process, on either profile, with runs that work until the test lets them go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.processes.client import eventually
from tests.servers.profiles import PROFILES, served

GRAPHS: Final = Path(__file__).parent / "graphs.json"


@dataclass
class Work:
    """A run that works until `finish`."""

    http: httpx.AsyncClient
    sdk: LangGraphClient
    graph: str
    path: Path
    thread: str = ""
    run: dict[str, Any] = field(default_factory=dict)

    async def begun(self) -> None:
        """Wait until the tool of the run executes."""

        async def has_begun() -> bool:
            return await asyncio.to_thread(Path(f"{self.path}.begun").exists)

        await eventually(has_begun)

    def finish(self) -> None:
        self.path.touch()

    async def send(self, text: str, status: int = 200) -> Any:
        """Send a message to the run."""
        path = f"/threads/{self.thread}/runs/{self.run['run_id']}/inject"
        response = await self.http.post(path, json={"message": {"role": "user", "content": text}})
        assert response.status_code == status, response.text
        return response.json()

    async def messages(self, **params: Any) -> Any:
        return (await self.http.get(f"/threads/{self.thread}/steering", params=params)).json()

    async def withdraw(self, message_id: str) -> httpx.Response:
        return await self.http.delete(f"/threads/{self.thread}/steering/{message_id}")

    async def join(self, run_id: str | None = None) -> Any:
        """Wait for a run, and return the last message of its state."""
        await self.sdk.runs.join(self.thread, run_id or self.run["run_id"])
        return await self.said()

    async def said(self) -> Any:
        values: Any = (await self.sdk.threads.get_state(self.thread))["values"]
        return values["messages"][-1]["content"]

    async def humans(self) -> list[str]:
        """Return the texts of the user in the thread's state, without those that name files."""
        values: Any = (await self.sdk.threads.get_state(self.thread))["values"]
        texts = [message["content"] for message in values["messages"] if message["type"] == "human"]
        return [text for text in texts if not text.startswith("/")]


@dataclass
class Server:
    http: httpx.AsyncClient
    sdk: LangGraphClient
    folder: Path
    number: int = 0

    async def work(self, graph: str = "worker", *, thread: str | None = None, **fields: Any) -> Work:
        """Start a run, and return it when it works."""
        self.number += 1
        work = Work(self.http, self.sdk, graph, self.folder / f"go-{self.number}")
        work.thread = thread or (await self.sdk.threads.create())["thread_id"]
        said: Any = {"messages": [{"role": "user", "content": str(work.path)}]}
        work.run = dict(await self.sdk.runs.create(work.thread, graph, input=said, **fields))
        await work.begun()
        return work


@pytest.fixture(params=PROFILES)
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with (
        served(GRAPHS, tmp_path, request) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        yield Server(http, get_client(url=url), tmp_path)
