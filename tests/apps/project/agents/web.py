"""The application's own routes, over the pools that the graphs use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from agents import pools


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with pools.opened():
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/shop/{name}/{page}")
async def visits(name: str, page: str) -> dict[str, int]:
    stored = await pools.database.fetchval("SELECT count(*) FROM shop.visits WHERE name = $1 AND page = $2", name, page)
    return {"stored": int(stored), "cached": int(await pools.redis_client.get(f"visits:{name}:{page}") or 0)}
