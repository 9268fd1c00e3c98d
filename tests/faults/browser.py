"""An in-process client whose requests can be aborted in the middle, as browsers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from starlette.types import ASGIApp, Message

from tests.gateway.asgi import Connection
from tests.processes.frames import Frame, FrameReader

ENDED = ("success", "error", "interrupted", "timeout")


class Request(Connection):
    """One request in progress."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body: bytes | None = body
        self._reader = FrameReader()
        self._read = 0
        self.frames: list[Frame] = []

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await super().receive()

    async def saw(self, event: str, times: int = 1) -> list[Frame]:
        """Return the frames so far, once this number of frames with this name have arrived."""
        while sum(frame.event == event for frame in self.frames) < times:
            assert not self.is_complete, f"the stream ended without {times} x {event}: {self.frames}"
            await self.heard(self._read + 1)
            for body in self.bodies[self._read :]:
                self.frames += self._reader.feed(body)
                self._read += 1
        return self.frames


class Browser:
    """HTTP client of an ASGI app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    async def get(self, path: str, **options: Any) -> Any:
        return self._checked(await self.http.get(path, **options))

    async def post(self, path: str, body: Any = None) -> Any:
        return self._checked(await self.http.post(path, json={} if body is None else body))

    async def new_thread(self) -> str:
        """Create a thread, and return its path."""
        return f"/threads/{(await self.post('/threads'))['thread_id']}"

    async def create(self, thread: str, graph: str, input: Any, **fields: Any) -> str:
        """Create a run in the background, and return its path."""
        run = await self.post(f"{thread}/runs", {"assistant_id": graph, "input": input, **fields})
        return f"{thread}/runs/{run['run_id']}"

    async def wait(self, thread: str, graph: str, input: Any, **fields: Any) -> Any:
        """Return a run's last values."""
        return await self.post(f"{thread}/runs/wait", {"assistant_id": graph, "input": input, **fields})

    async def stream(self, thread: str, graph: str, input: Any, **fields: Any) -> list[Frame]:
        """Return all frames of a new run."""
        body = {"assistant_id": graph, "input": input, "stream_resumable": True, **fields}
        answer = await self.http.post(f"{thread}/runs/stream", json=body)
        assert answer.status_code == 200, answer.text
        return FrameReader().feed(answer.content)

    async def replay(self, run: str, last_event_id: str) -> list[Frame]:
        """Return the frames of a run after an event id, to its end."""
        answer = await self.http.get(f"{run}/stream", headers={"last-event-id": last_event_id})
        assert answer.status_code == 200, answer.text
        return FrameReader().feed(answer.content)

    async def ended(self, run: str) -> Any:
        """Return the record of a run, once it has ended."""
        await self.http.get(f"{run}/join")
        record = await self.get(run)
        assert record["status"] in ENDED
        return record

    @asynccontextmanager
    async def watching(self, method: str, path: str, body: Any = None) -> AsyncIterator[Request]:
        """Send a request whose response is read incrementally; leaving the block disconnects."""
        request = Request(json.dumps(body).encode() if body is not None else b"")
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        answering = asyncio.create_task(self._call(scope, request))
        try:
            yield request
        finally:
            request.hang_up()
            request.flow()
            await answering

    async def _call(self, scope: dict[str, Any], request: Request) -> None:
        await self._app(scope, request.receive, request.send)

    @staticmethod
    def _checked(answer: httpx.Response) -> Any:
        assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text[:500]}"
        return answer.json() if answer.content.strip() else None
