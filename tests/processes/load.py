"""Clients that keep a server busy, reconnect after outages, and record its promises."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from .client import ENDED, Client, all_frames, location_of, new_id, refuse_away, run_body
from .frames import Frame, FrameReader, place_of, strict

STEPS: Final = 5
_AWAY: Final = (httpx.TransportError, httpx.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Promise:
    """A run whose creation was acknowledged."""

    name: str
    graph: str
    location: str
    thread_id: str | None
    """None for a stateless run."""


@dataclass(slots=True)
class Load:
    """Runs of all kinds, by clients that each repeat one operation until `stop`."""

    client: Client
    chance: random.Random
    pause: float = 0.04
    """Duration of each step of a run, in seconds."""
    promises: list[Promise] = field(default_factory=list)
    rejoined: int = 0
    """Number of reconnects by readers and waiters."""
    faults: list[str] = field(default_factory=list)
    _stopping: bool = False
    _made: int = 0

    async def run(self, clients: int) -> None:
        """Run until `stop`; then every client finishes its current operation."""
        kinds = (self._background, self._streamed, self._awaited, self._stateless, self._double_texts, self._agent)
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._one_client(kinds[number % len(kinds)]))

    def stop(self) -> None:
        self._stopping = True

    async def _one_client(self, kind: Callable[[str], Awaitable[None]]) -> None:
        while not self._stopping:
            self._made += 1
            try:
                await kind(f"run-{self._made}")
            except _AWAY:
                # No response, so no promise.
                await asyncio.sleep(0.05)

    async def _background(self, name: str) -> None:
        await self._accepted(name, new_id())
        await asyncio.sleep(self.chance.uniform(0, 0.2))

    async def _double_texts(self, name: str) -> None:
        thread_id = new_id()
        for number in range(3):
            await self._accepted(f"{name}-{number}", thread_id)
        await asyncio.sleep(self.chance.uniform(0, 0.3))

    async def _streamed(self, name: str) -> None:
        frames = await self._read(name, "steps", self._steps_of(name), stream_mode=["values", "updates"])
        last = [frame.json for frame in frames if frame.event == "values"][-1]
        self._expect(name, "the last values on its stream", last["log"], log_of(name))

    async def _agent(self, name: str) -> None:
        said = {"messages": [{"role": "human", "content": name}]}
        frames = await self._read(name, "agent", said, stream_mode=["values", "messages-tuple"])
        last = [frame.json for frame in frames if frame.event == "values"][-1]
        self._expect(name, "the last message on its stream", name in last["messages"][-1]["content"], True)

    async def _awaited(self, name: str) -> None:
        values = await self._wait(name, new_id(), "/join")
        self._expect(name, "the values its waiter got", values.get("log"), log_of(name))

    async def _stateless(self, name: str) -> None:
        values = await self._wait(name, None, "/join")
        # The thread was deleted with the run: a reader after a crash finds the run ended.
        if values:
            self._expect(name, "the values its waiter got", values.get("log"), log_of(name))

    async def _accepted(self, name: str, thread_id: str) -> None:
        record = await self.client.create(thread_id, "steps", self._steps_of(name), metadata={"name": name})
        self.promises.append(Promise(name, "steps", f"/threads/{thread_id}/runs/{record['run_id']}", thread_id))

    async def _wait(self, name: str, thread_id: str | None, suffix: str) -> Any:
        path = f"/threads/{thread_id}/runs/wait" if thread_id else "/runs/wait"
        body = run_body(thread_id, "steps", self._steps_of(name), metadata={"name": name})
        async with self._opened("POST", path, json=body) as response:
            location = location_of(response)
            self.promises.append(Promise(name, "steps", location, thread_id))
            try:
                return strict(await response.aread())
            except _AWAY:
                pass
        while True:
            await asyncio.sleep(0.05)
            try:
                self.rejoined += 1
                return await self.client.get(f"{location}{suffix}")
            except _AWAY:
                continue

    async def _read(self, name: str, graph: str, input: Any, **fields: Any) -> list[Frame]:
        """Return all frames of a new run, over as many connections as necessary, until the run has ended."""
        thread_id = new_id()
        body = run_body(thread_id, graph, input, metadata={"name": name}, stream_resumable=True, **fields)
        reader, seen = FrameReader(), list[Frame]()
        async with self._opened("POST", f"/threads/{thread_id}/runs/stream", json=body) as response:
            location = location_of(response)
            self.promises.append(Promise(name, graph, location, thread_id))
            await self._take(response, reader, seen)
        while not await self._has_ended(location):
            await asyncio.sleep(0.05)
            self.rejoined += 1
            headers = {"last-event-id": reader.last_id or "-1"}
            try:
                async with self._opened("GET", f"{location}/stream", headers=headers) as response:
                    await self._take(response, reader, seen)
            except _AWAY:
                continue
        # Between the last frame and a cut the run may have ended: another request gets the missed rest.
        seen += await self._rest(location, reader.last_id or "-1")
        self._check_ids(name, seen)
        return seen

    async def _take(self, response: httpx.Response, reader: FrameReader, seen: list[Frame]) -> None:
        try:
            async for data in response.aiter_raw():
                seen += reader.feed(data)
        except _AWAY:
            reader.cut()

    async def _rest(self, location: str, last_id: str) -> list[Frame]:
        while True:
            try:
                async with self._opened("GET", f"{location}/stream", headers={"last-event-id": last_id}) as response:
                    return await all_frames(response)
            except _AWAY:
                await asyncio.sleep(0.05)

    async def _has_ended(self, location: str) -> bool:
        try:
            return (await self.client.get(location))["status"] in ENDED
        except _AWAY:
            return False

    @asynccontextmanager
    async def _opened(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        async with self.client.http.stream(method, path, **options) as response:
            refuse_away(response)
            assert response.status_code == 200, await response.aread()
            yield response

    def _steps_of(self, name: str) -> dict[str, Any]:
        return {"name": name, "steps": STEPS, "pause": self.pause}

    def _check_ids(self, name: str, frames: list[Frame]) -> None:
        ids = [place_of(frame.id) for frame in frames if frame.id]
        self._expect(name, "the order of its event ids", ids, sorted(set(ids)))

    def _expect(self, name: str, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            self.faults.append(f"{name}: {what}: {found!r} instead of {wanted!r}")


def log_of(name: str) -> list[str]:
    """Return the log of an undisturbed run of this name."""
    return [f"{name}:{number}" for number in range(STEPS)]
