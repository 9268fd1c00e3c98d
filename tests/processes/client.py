"""HTTP client of these tests: real connections, and a check of every response."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import httpx

from .frames import Frame, FrameReader, strict

ENDED: Final = ("success", "error", "interrupted", "timeout")


class Client:
    """A client of one server, which may be unavailable for a while."""

    def __init__(self, url: str, *, timeout: float = 60) -> None:
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=100)
        self.http = httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    async def get(self, path: str, **options: Any) -> Any:
        return _checked(await self.http.get(path, **options))

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return _checked(await self.http.post(path, json={} if body is None else body, **options))

    async def create(self, thread_id: str | None, graph: str, input: Any, **fields: Any) -> Any:
        """Create a run in the background; return its record."""
        return await self.post(f"{_runs(thread_id)}", run_body(thread_id, graph, input, **fields))

    async def wait(self, thread_id: str | None, graph: str, input: Any, **fields: Any) -> Any:
        """Return a run's last values."""
        return await self.post(f"{_runs(thread_id)}/wait", run_body(thread_id, graph, input, **fields))

    @asynccontextmanager
    async def stream(
        self, thread_id: str | None, graph: str, input: Any, **fields: Any
    ) -> AsyncIterator[httpx.Response]:
        """Open the stream of a new run, at its first byte."""
        path, body = f"{_runs(thread_id)}/stream", run_body(thread_id, graph, input, **fields)
        async with self.http.stream("POST", path, json=body) as response:
            assert response.status_code == 200, await response.aread()
            yield response

    async def frames(self, thread_id: str | None, graph: str, input: Any, **fields: Any) -> list[Frame]:
        """Return all frames of a new run."""
        async with self.stream(thread_id, graph, input, **fields) as response:
            return await all_frames(response)

    async def replay(self, location: str, last_event_id: str = "-1") -> list[Frame]:
        """Return the frames of a run after an event id, to its end."""
        headers = {"last-event-id": last_event_id}
        async with self.http.stream("GET", f"{location}/stream", headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            return await all_frames(response)

    async def ended(self, location: str, within: float = 60) -> Any:
        """Return the record of a run once it has ended."""

        async def look() -> Any:
            record = await self.get(location)
            return record if record["status"] in ENDED else None

        return await eventually(look, within)

    async def runs_of(self, thread_id: str) -> list[Any]:
        """Return the runs of a thread in the order of acceptance."""
        found: list[Any] = await self.get(f"/threads/{thread_id}/runs", params={"limit": 1_000})
        return found[::-1]

    async def values(self, thread_id: str) -> Any:
        return (await self.get(f"/threads/{thread_id}/state"))["values"]


def run_body(thread_id: str | None, graph: str, input: Any, **fields: Any) -> dict[str, Any]:
    create = {"if_not_exists": "create"} if thread_id else {}
    return {"assistant_id": graph, "input": input, **create, **fields}


def new_id() -> str:
    return str(uuid.uuid4())


def location_of(response: httpx.Response) -> str:
    """Return the location of the run in a response."""
    return str(response.headers["content-location"])


async def all_frames(response: httpx.Response) -> list[Frame]:
    reader = FrameReader()
    return [frame async for chunk in response.aiter_raw() for frame in reader.feed(chunk)]


async def eventually(look: Callable[[], Awaitable[Any]], within: float = 60, every: float = 0.02) -> Any:
    """Poll ``look`` until it returns a result, and return that."""
    patience = time.monotonic() + within
    while not (found := await look()):
        assert time.monotonic() < patience, f"it did not come to pass within {within} s"
        await asyncio.sleep(every)
    return found


def _runs(thread_id: str | None) -> str:
    return f"/threads/{thread_id}/runs" if thread_id else "/runs"


class StorageAway(httpx.TransportError):
    """The server reports that it cannot answer now: to be treated like no response, and requested again."""


def _checked(response: httpx.Response) -> Any:
    refuse_away(response)
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text[:500]}"
    return strict(response.content) if response.content.strip() else None


def refuse_away(response: httpx.Response) -> None:
    """Raise StorageAway for a 503."""
    if response.status_code == 503:
        raise StorageAway(f"{response.request.method} {response.request.url}: {response.headers}")
