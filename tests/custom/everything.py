"""All kinds of user code in one module: a graph, an app, auth handlers, an embedding function; all share one lock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from fastapi import BackgroundTasks, FastAPI
from langgraph.config import get_store
from langgraph.graph import StateGraph
from langgraph_sdk import Auth
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPS: dict[str, asyncio.AbstractEventLoop] = {}
"""The thread and loop on which each kind of code ran last."""
_lock = asyncio.Lock()


async def note(kind: str) -> None:
    """Use the lock like code that shares a client: twice at once, so that one has to wait."""

    async def use() -> None:
        async with _lock:
            await asyncio.sleep(0)

    await asyncio.gather(use(), use())
    LOOPS[kind] = asyncio.get_running_loop()


class State(TypedDict, total=False):
    """The state of the graph."""

    seen: str


async def node(state: State) -> State:
    await note("node")
    await get_store().aput(("notes",), "k", {"text": "hello"})
    return {"seen": "node"}


async def graph(config: dict[str, Any]) -> Any:
    await note("factory")
    return StateGraph(State).add_node(node).add_edge("__start__", "node").compile()


RELEASE = threading.Event()
"""Releases the loop that `stuck` blocks."""
ATTEMPTS: list[str] = []
"""Calls of the nodes below, by the name of their input."""


class Named(TypedDict, total=False):
    """Input of the graphs below."""

    name: str
    done: str


async def block(state: Named) -> Named:
    ATTEMPTS.append(state["name"])
    if ATTEMPTS.count(state["name"]) == 1:
        RELEASE.wait(60)
    return {"done": state["name"]}


async def pause(state: Named) -> Named:
    ATTEMPTS.append(state["name"])
    await asyncio.sleep(1)
    return {"done": state["name"]}


stuck = StateGraph(Named).add_node(block).add_edge("__start__", "block").compile()
slow = StateGraph(Named).add_node(pause).add_edge("__start__", "pause").compile()


async def embed(texts: Sequence[str]) -> list[list[float]]:
    await note("embedding function")
    return [[1.0, 0.0] for _ in texts]


auth = Auth()


@auth.authenticate
async def authenticate() -> str:
    await note("authenticate")
    return "alice"


@auth.on
async def decide(ctx: Auth.types.AuthContext, value: Any) -> bool:
    await note("on")
    return True


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    global _lock
    _lock = asyncio.Lock()
    await note("lifespan")
    yield
    await note("end of the lifespan")


class Around:
    """Middleware around all routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await note("middleware")
        await self._app(scope, receive, send)


app = FastAPI(lifespan=lifespan, middleware=[Middleware(Around)])
routes = FastAPI()


@app.get("/route")
async def route(background: BackgroundTasks) -> str:
    await note("route")
    background.add_task(note, "background task")
    return "done"


@routes.get("/blocks")
async def blocks() -> str:
    time.sleep(1.5)  # noqa: ASYNC251
    return "done"
