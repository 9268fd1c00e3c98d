"""Reference: the smallest server that streams a graph directly, without the cost of further features.

No durability, no threads that survive it, no resuming, no cancelling, no isolation: the graph runs inside the request,
on the server's own loop, with its checkpoints in memory. Started by `servers`, with a port.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import uvicorn
from langgraph.checkpoint.memory import InMemorySaver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from . import graphs


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=lambda other: other.model_dump(), option=orjson.OPT_NON_STR_KEYS)


def application() -> Starlette:
    saver = InMemorySaver()
    agents: dict[str, Any] = {
        name: getattr(graphs, name).copy(update={"checkpointer": saver}) for name in ("noop", "tokens")
    }

    def config() -> dict[str, Any]:
        return {"configurable": {"thread_id": str(uuid.uuid4())}}

    async def wait(request: Request) -> Response:
        body = orjson.loads(await request.body())
        values = await agents[body["assistant_id"]].ainvoke(body["input"], config())
        return Response(_json(values), media_type="application/json")

    async def frames(body: Any) -> AsyncIterator[bytes]:
        modes = {"values": "values", "messages-tuple": "messages"}[body["stream_mode"]]
        async for chunk in agents[body["assistant_id"]].astream(body["input"], config(), stream_mode=modes):
            yield b"event: " + modes.encode() + b"\r\ndata: " + _json(chunk) + b"\r\n\r\n"

    async def stream(request: Request) -> Response:
        body = orjson.loads(await request.body())
        return StreamingResponse(frames(body), media_type="text/event-stream")

    async def ok(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/ok", ok),
            Route("/runs/wait", wait, methods=["POST"]),
            Route("/runs/stream", stream, methods=["POST"]),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(application(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
