"""A Redis and a database pool that routes, auth handlers and nodes share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import redis.asyncio

# Made at import, as most people make it; the database pool needs an event loop and is made in the lifespan.
redis_client: Any = redis.asyncio.from_url(os.environ["APP_REDIS_URL"], max_connections=50, decode_responses=True)
database: Any = None

_TABLES = """
CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.users (token text PRIMARY KEY, name text NOT NULL);
CREATE TABLE IF NOT EXISTS shop.visits (name text, page text, run_id text, PRIMARY KEY (page, run_id));
INSERT INTO shop.users VALUES ('ada', 'ada'), ('bob', 'bob') ON CONFLICT DO NOTHING;
"""


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Open the pool for the length of the application's life."""
    global database
    async with asyncpg.create_pool(os.environ["APP_DATABASE_URL"], min_size=1, max_size=6) as pool:
        # Processes that start side by side make the tables one after the other.
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(4242)")
            await connection.execute(_TABLES)
        database = pool
        yield
    await redis_client.aclose()


async def name_of(token: str) -> str | None:
    """Return the user whose token it is, from Redis or else from the database."""
    if (cached := await redis_client.get(f"token:{token}")) is not None:
        return f"{cached}"
    name = await database.fetchval("SELECT name FROM shop.users WHERE token = $1", token)
    if name is None:
        return None
    await redis_client.set(f"token:{token}", name, ex=1)
    return f"{name}"


async def visit(name: str, page: str, run_id: str) -> int:
    """Note that a run has visited a page; return how many visits of the user it has had. Idempotent for a run."""
    async with database.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO shop.visits VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", name, page, run_id
        )
        count = await connection.fetchval("SELECT count(*) FROM shop.visits WHERE name = $1 AND page = $2", name, page)
    await redis_client.set(f"visits:{name}:{page}", count)
    return int(count)
