"""A reader of a thread's events, controlled by a test, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx

Event: TypeAlias = dict[str, Any]

EVERYTHING = ["values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints"]
HI = {"messages": [{"role": "human", "content": "hi there"}]}


class Follower:
    """One connection. Events are read as they arrive, and stored; so are names of frames and comments."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self.status = response.status_code
        self.events: list[Event] = []
        self.notices: list[Event] = []
        self.ids: list[str] = []
        self.comments = 0
        self.ended = self.cut = False
        self._news = asyncio.Event()
        self._response = response

    async def read(self) -> None:
        try:
            await self._read_lines()
        except httpx.RemoteProtocolError:
            self.cut = True
        self.ended = True
        self._news.set()

    async def _read_lines(self) -> None:
        name = ""
        async for line in self._response.aiter_lines():
            kind, _, rest = line.partition(": ")
            if kind == "event":
                name = rest
            elif kind == "data":
                (self.notices if name == "resume_gap" else self.events).append(json.loads(rest))
            elif kind == "id":
                self.ids.append(rest)
            elif line.startswith(":"):
                self.comments += 1
            self._news.set()

    async def until(self, wanted: Callable[[Follower], object], seconds: float = 20) -> None:
        """Return when the awaited events have arrived."""
        async with asyncio.timeout(seconds):
            while not wanted(self):
                self._news.clear()
                await self._news.wait()

    async def run_ended(self, runs: int = 1) -> Sequence[Event]:
        """Return the events up to the end of this number of runs."""
        await self.until(lambda it: len(endings(it.events)) >= runs)
        return self.events

    def of(self, method: str) -> list[Event]:
        return [event for event in self.events if event["method"] == method]


@asynccontextmanager
async def following(
    http: httpx.AsyncClient, thread_id: str, path: str = "stream/events", **wanted: Any
) -> AsyncIterator[Follower]:
    """Read until the block ends. All channels, unless some are named."""
    body = {"channels": EVERYTHING, **wanted}
    async with http.stream("POST", f"/threads/{thread_id}/{path}", json=body) as response:
        follower = Follower(response)
        reading = asyncio.create_task(follower.read())
        try:
            yield follower
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def command(http: httpx.AsyncClient, thread_id: str, method: str, **params: Any) -> Mapping[str, Any]:
    """Return the response to a command, successful or not."""
    body = {"id": 7, "method": method, "params": params}
    response = await http.post(f"/threads/{thread_id}/commands", json=body)
    assert response.status_code == 200, response.text
    answer: Mapping[str, Any] = response.json()
    assert answer["id"] == 7
    return answer


async def start(http: httpx.AsyncClient, thread_id: str, graph: str, given: Any = None, **more: Any) -> str:
    """Start a run and return its id."""
    answer = await command(http, thread_id, "run.start", assistant_id=graph, input=given or HI, **more)
    run_id: str = answer["result"]["run_id"]
    return run_id


def endings(events: Sequence[Event]) -> list[Event]:
    """Return the terminal events of runs."""
    return [
        event
        for event in events
        if event["method"] == "lifecycle"
        and not event["params"]["namespace"]
        and event["params"]["data"]["event"] in ("completed", "failed", "interrupted")
    ]


def data_of(events: Sequence[Event]) -> list[Any]:
    return [event["params"]["data"] for event in events]
