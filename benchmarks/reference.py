"""Floors: the smallest servers that stream a graph directly, without the cost of further features.

No threads that survive the process, no resuming, no cancelling, no isolation: the graph runs inside the request, on the
server's own loop, with its checkpoints in memory. ``floor`` writes nothing to disk; ``floor-durable`` makes one synced
commit to SQLite when a run is accepted, and one when it ends. Started by `servers`, with a port and, for
``floor-durable``, a file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from langgraph.checkpoint.memory import InMemorySaver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from . import graphs


class Rows:
    """Rows of runs in a SQLite file; without a file, nothing is written."""

    def __init__(self, file: Path | None) -> None:
        self._connection = None if file is None else sqlite3.connect(file, isolation_level=None)
        if self._connection is not None:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS runs (run_id TEXT PRIMARY KEY, input, output)")

    def accept(self, run_id: str, body: bytes) -> None:
        if self._connection is not None:
            self._connection.execute("INSERT INTO runs VALUES (?, ?, NULL)", (run_id, body))

    def end(self, run_id: str, output: bytes) -> None:
        if self._connection is not None:
            self._connection.execute("UPDATE runs SET output = ? WHERE run_id = ?", (output, run_id))


def application(rows: Rows) -> Starlette:
    saver = InMemorySaver()
    agents: dict[str, Any] = {
        name: getattr(graphs, name).copy(update={"checkpointer": saver}) for name in ("noop", "tokens")
    }
    tasks: set[asyncio.Task[bytes]] = set()

    async def run(request: Request, run_id: str, content: bytes) -> bytes:
        body = orjson.loads(content)
        output = _json(await agents[body["assistant_id"]].ainvoke(body["input"], _config(request)))
        rows.end(run_id, output)
        return output

    async def wait(request: Request) -> Response:
        run_id, content = str(uuid.uuid4()), await request.body()
        rows.accept(run_id, content)
        return Response(await run(request, run_id, content), media_type="application/json")

    async def create(request: Request) -> Response:
        run_id, content = str(uuid.uuid4()), await request.body()
        rows.accept(run_id, content)
        task = asyncio.create_task(run(request, run_id, content))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return Response(_json({"run_id": run_id, "status": "pending"}), media_type="application/json")

    async def frames(request: Request, run_id: str, body: Any) -> AsyncIterator[bytes]:
        modes = {"values": "values", "messages-tuple": "messages"}[body["stream_mode"]]
        last = b""
        async for chunk in agents[body["assistant_id"]].astream(body["input"], _config(request), stream_mode=modes):
            last = _json(chunk)
            yield b"event: " + modes.encode() + b"\r\ndata: " + last + b"\r\n\r\n"
        rows.end(run_id, last)

    async def stream(request: Request) -> Response:
        run_id, content = str(uuid.uuid4()), await request.body()
        rows.accept(run_id, content)
        return StreamingResponse(frames(request, run_id, orjson.loads(content)), media_type="text/event-stream")

    async def thread(_: Request) -> Response:
        return Response(_json({"thread_id": str(uuid.uuid4())}), media_type="application/json")

    async def ok(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/ok", ok),
            Route("/threads", thread, methods=["POST"]),
            Route("/runs", create, methods=["POST"]),
            Route("/runs/wait", wait, methods=["POST"]),
            Route("/threads/{thread_id}/runs/wait", wait, methods=["POST"]),
            Route("/runs/stream", stream, methods=["POST"]),
        ]
    )


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=lambda other: other.model_dump(), option=orjson.OPT_NON_STR_KEYS)


def _config(request: Request) -> dict[str, Any]:
    return {"configurable": {"thread_id": request.path_params.get("thread_id") or str(uuid.uuid4())}}


if __name__ == "__main__":
    app = application(Rows(Path(sys.argv[2]) if len(sys.argv) > 2 else None))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
