"""Operations on every agent: run, resume, stream, cancel, fork, and read the result."""

from __future__ import annotations

from typing import Any, Final, Self

from tests.processes.client import Client, new_id, run_body
from tests.processes.frames import Frame, FrameReader

from .catalog import App

MODES: Final = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "tasks",
    "checkpoints",
    "debug",
    "custom",
    "events",
)


class User(Client):
    """A client of one user, identified by a token."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, timeout=120)
        self.name = name
        self.http.headers["authorization"] = f"Bearer {name}"

    async def __aenter__(self) -> Self:
        return self

    async def status_of(self, method: str, path: str, body: Any = None) -> int:
        """Return the status code of a response, without raising."""
        return (await self.http.request(method, path, json=body)).status_code

    def body(self, app: App, text: str, **fields: Any) -> dict[str, Any]:
        """Return the request for a run of an agent."""
        return run_body(new_id(), app.graph, app.input(text), **app.fields, **fields)

    def resumed(self, app: App, interrupts: Any, **fields: Any) -> dict[str, Any]:
        """Return the request that answers the interrupts of an agent."""
        assert app.answers is not None
        assert len(interrupts) == app.interrupts, interrupts
        command = {"resume": app.answers(interrupts)}
        return {"assistant_id": app.graph, "command": command, **app.fields, **fields}

    async def run_to_end(self, app: App, text: str, thread_id: str | None = None) -> Any:
        """Return the last values of a run and of the runs that answer its interrupts."""
        thread_id = thread_id or new_id()
        values = await self.post(f"/threads/{thread_id}/runs/wait", self.body(app, text))
        return await self.answer(app, thread_id, values)

    async def answer(self, app: App, thread_id: str, values: Any) -> Any:
        """Answer interrupts until there are none, and return the last values."""
        while asked := (values or {}).get("__interrupt__"):
            values = await self.post(f"/threads/{thread_id}/runs/wait", self.resumed(app, asked))
        return values

    async def continued(self, app: App, text: str, thread_id: str) -> Any:
        """Continue from the current state of a thread to the end of the agent."""
        state = await self.get(f"/threads/{thread_id}/state")
        asked = [each for task in state["tasks"] for each in task["interrupts"]]
        if asked:
            values = {"__interrupt__": asked}
        elif state["next"]:
            body = {"assistant_id": app.graph, "input": None, **app.fields}
            values = await self.post(f"/threads/{thread_id}/runs/wait", body)
        elif not state["values"]:
            values = await self.post(f"/threads/{thread_id}/runs/wait", self.body(app, text))
        else:
            values = state["values"]
        return await self.answer(app, thread_id, values)

    async def stream_to_end(self, app: App, text: str, thread_id: str, **fields: Any) -> list[Frame]:
        """Return the frames of a run and of the runs that answer its interrupts."""
        path = f"/threads/{thread_id}/runs/stream"
        frames = await self.streamed(path, self.body(app, text, **fields))
        while asked := await self.questions(thread_id):
            frames += await self.streamed(path, self.resumed(app, asked, **fields))
        return frames

    async def questions(self, thread_id: str) -> list[Any]:
        """Return the pending interrupts of a thread."""
        thread = await self.get(f"/threads/{thread_id}")
        return [each for asked in thread["interrupts"].values() for each in asked]

    async def streamed(self, path: str, body: Any) -> list[Frame]:
        """Return all frames of a response."""
        reader = FrameReader()
        async with self.http.stream("POST", path, json=body) as response:
            assert response.status_code == 200, await response.aread()
            return [frame async for chunk in response.aiter_raw() for frame in reader.feed(chunk)]

    async def cut(self, path: str, body: Any, after: int) -> tuple[str, list[Frame]]:
        """Return the location of a run and its first frames, then disconnect."""
        reader, frames = FrameReader(), list[Frame]()
        async with self.http.stream("POST", path, json=body) as response:
            assert response.status_code == 200, await response.aread()
            location = str(response.headers["content-location"])
            async for chunk in response.aiter_raw():
                frames += reader.feed(chunk)
                if len(frames) > after:
                    break
        return location, frames[: after + 1]

    async def created(self, app: App, text: str, thread_id: str) -> str:
        """Create a run in the background, and return its location."""
        record = await self.post(f"/threads/{thread_id}/runs", self.body(app, text, stream_resumable=True))
        return f"/threads/{thread_id}/runs/{record['run_id']}"
