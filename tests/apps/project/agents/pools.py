"""A Redis and a database pool that routes, auth handlers and nodes share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import redis.asyncio

# Created at import, as is usual; the database pool needs an event loop and is created in the lifespan.
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
    """Open the pool for the lifetime of the application."""
    global database
    async with asyncpg.create_pool(os.environ["APP_DATABASE_URL"], min_size=1, max_size=6) as pool:
        # Processes that start at the same time create the tables one after the other.
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(4242)")
            await connection.execute(_TABLES)
        database = pool
        yield
    await redis_client.aclose()


async def name_of(token: str) -> str | None:
    """Return the user of a token, from Redis or else from the database."""
    if (cached := await redis_client.get(f"token:{token}")) is not None:
        return f"{cached}"
    name = await database.fetchval("SELECT name FROM shop.users WHERE token = $1", token)
    if name is None:
        return None
    await redis_client.set(f"token:{token}", name, ex=1)
    return f"{name}"


async def visit(name: str, page: str, run_id: str) -> int:
    """Record a visit of a page by a run, and return the user's number of visits. Idempotent for a run."""
    async with database.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO shop.visits VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", name, page, run_id
        )
        count = await connection.fetchval("SELECT count(*) FROM shop.visits WHERE name = $1 AND page = $2", name, page)
    await redis_client.set(f"visits:{name}:{page}", count)
    return int(count)
