"""An agent as users write it: one model and one Redis pool for the whole process, created at module level."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from fastapi import FastAPI
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import StateGraph
from langgraph_sdk import Auth
from typing_extensions import TypedDict

model = ChatOpenAI(model="gpt-4o-mini", max_retries=0)
pool = redis.asyncio.BlockingConnectionPool.from_url(os.environ["APP_REDIS_URL"], max_connections=4, timeout=30)
app_redis: list[redis.asyncio.Redis] = []
"""The client that the lifespan created, while it is open."""


def from_pool() -> redis.asyncio.Redis:
    return redis.asyncio.Redis(connection_pool=pool)


@tool
async def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


agent = create_agent(model, [multiply])


class Count(TypedDict, total=False):
    """Number of calls of the node, by client."""

    counts: list[int]


async def count(state: Count) -> Count:
    return {"counts": [await from_pool().incr("nodes"), await app_redis[0].incr("nodes by the lifespan's")]}


counter = StateGraph(Count).add_node(count).add_edge("__start__", "count").compile()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with redis.asyncio.from_url(os.environ["APP_REDIS_URL"], max_connections=20) as client:
        await client.ping()
        await from_pool().ping()
        app_redis.append(client)
        yield
        app_redis.clear()


app = FastAPI(lifespan=lifespan)


@app.get("/counted")
async def counted() -> int:
    await app_redis[0].incr("routes by the lifespan's")
    return int(await from_pool().incr("routes"))


auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> str:
    user = headers.get(b"x-user", b"").decode()
    await from_pool().incr(f"asked by {user}")
    await app_redis[0].incr("asked by the lifespan's")
    return user


@auth.on
async def allow(ctx: Auth.types.AuthContext, value: Any) -> bool:
    return bool(await from_pool().ping())
