"""A graph, an app and auth handlers that share cached values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from langgraph.graph import START, StateGraph
from langgraph_sdk import Auth
from langgraph_sdk.cache import SWRResult, cache_get, cache_set, swr
from typing_extensions import TypedDict


class Cached(TypedDict, total=False):
    key: str
    value: Any
    seen: Any
    loaded: Any


async def use(state: Cached) -> Cached:
    """Read a key, and set it to the value of the input."""
    seen = await cache_get(state["key"])
    await cache_set(state["key"], state.get("value"), ttl=timedelta(minutes=1))
    result = await swr("directory", load_directory, fresh_for=timedelta(minutes=1))
    assert isinstance(result, SWRResult)
    return {"seen": seen, "loaded": result.value}


def use_in_thread(state: Cached) -> Cached:
    """The same in a synchronous node, on its own event loop."""
    return asyncio.run(use(state))


async def load_directory() -> dict[str, Any]:
    return {"teams": ["blue"]}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await cache_set("lifespan", "was here")
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/cached/{key}")
async def cached(key: str) -> Any:
    return await cache_get(key)


auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    name = headers.get(b"x-user", b"").decode()
    await cache_set("authenticated", name)
    return {"identity": name or "unknown"}


caching = StateGraph(Cached).add_node("use", use).add_edge(START, "use").compile()
caching_in_thread = StateGraph(Cached).add_node("use", use_in_thread).add_edge(START, "use").compile()
