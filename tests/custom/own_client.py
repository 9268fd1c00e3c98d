"""User code of every kind that calls its own server, with one module-level client."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import BackgroundTasks, FastAPI
from langgraph.graph import START, StateGraph
from langgraph_sdk import Auth, get_client
from langgraph_sdk.cache import cache_get, cache_set
from typing_extensions import TypedDict

client = get_client()


class Made(TypedDict, total=False):
    thread_id: str


async def make_thread(**metadata: Any) -> str:
    thread = await client.threads.create(metadata=metadata)
    return str(thread["thread_id"])


async def node(state: Made) -> Made:
    return {"thread_id": await make_thread()}


graph = StateGraph(Made).add_node("node", node).add_edge(START, "node").compile()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.made = [await make_thread(by="start")]
    yield
    ENDED.append(await make_thread(by="end"))


ENDED: list[str] = []
app = FastAPI(lifespan=lifespan)


@app.get("/made")
async def made() -> list[str]:
    return list(app.state.made)


@app.post("/make")
async def make(background: BackgroundTasks) -> str:
    async def later() -> None:
        app.state.made.append(await make_thread(by="background"))

    background.add_task(later)
    return await make_thread(by="route")


@app.get("/threads-of-all")
async def threads_of_all() -> list[str]:
    found = await client.threads.search(limit=100)
    return [str(thread["thread_id"]) for thread in found]


@app.post("/run")
async def run() -> Any:
    return await client.runs.wait(None, "graph", input={})


@app.post("/stop-being/{thread_id}")
async def delete(thread_id: str) -> None:
    await client.threads.delete(thread_id)


@app.get("/without-context")
async def without_context() -> str:
    task = asyncio.get_running_loop().create_task(make_thread(), context=contextvars.Context())
    try:
        return await task
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@app.post("/hook")
async def hook(body: dict[str, Any]) -> None:
    await client.runs.get(body["thread_id"], body["run_id"])


@app.put("/cached/{value}")
async def put_cached(value: str) -> None:
    await cache_set("server", value)


@app.get("/cached")
async def cached() -> Any:
    return await cache_get("server")


auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> str:
    name = headers.get(b"x-user", b"").decode()
    if not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Say who you are")
    await client.assistants.search()
    return name


@auth.on
async def deny(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Allow ada only."""
    return ctx.user.identity == "ada"
