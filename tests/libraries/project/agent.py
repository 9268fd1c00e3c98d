"""One object of each library at module level, another one in the lifespan, both used by a graph and by a route.

An object that needs a running event loop is created by its first user, like a module-level cache.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypedDict

import aiohttp
import asyncpg
import grpc
import httpx
import psycopg_pool
import redis.asyncio
from fastapi import FastAPI
from google.ai.generativelanguage_v1beta import Content, GenerateContentRequest, GenerativeServiceAsyncClient, Part
from google.ai.generativelanguage_v1beta.services.generative_service.transports import (
    GenerativeServiceGrpcAsyncIOTransport,
)
from langchain_anthropic import ChatAnthropic
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

DATABASE_URL = os.environ["APP_DATABASE_URL"]
REDIS_URL = os.environ["APP_REDIS_URL"]
# Fewer than concurrent runs, so that runs wait for each other.
CONNECTIONS = 5

Use = Callable[[Any, str], Awaitable[str]]
Opening = Callable[[], AbstractAsyncContextManager[Any]]


async def asks_model(model: Any, text: str) -> str:
    return "".join([chunk.text async for chunk in model.astream([("system", "Echo."), ("user", text)])])


async def asks_google_over_grpc(client: Any, text: str) -> str:
    contents = [Content(role="user", parts=[Part(text=text)])]
    stream = await client.stream_generate_content(GenerateContentRequest(model="models/x", contents=contents))
    return "".join([chunk.candidates[0].content.parts[0].text async for chunk in stream])


async def calls_mcp_tool(tools: Any, text: str) -> str:
    (tool,) = [each for each in tools if each.name == "lookup"]
    (block,) = await tool.ainvoke({"topic": text})
    return f"{block['text']}"


async def queries_asyncpg(pool: Any, text: str) -> str:
    async with pool.acquire() as connection, connection.transaction():
        return f"{await connection.fetchval('SELECT $1::text FROM pg_sleep(0.002)', text)}"


async def queries_psycopg(pool: Any, text: str) -> str:
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT %s::text FROM pg_sleep(0.002)", (text,))
        (found,) = await cursor.fetchone()
        return f"{found}"


async def queries_sqlalchemy(engine: AsyncEngine, text: str) -> str:
    async with engine.begin() as connection:
        return f"{await connection.scalar(sql('SELECT cast(:text AS text) FROM pg_sleep(0.002)'), {'text': text})}"


async def asks_redis(client: Any, text: str) -> str:
    async with client.pipeline(transaction=True) as pipeline:
        await pipeline.set(f"library:{text}", text).get(f"library:{text}").execute()
    return f"{(await client.get(f'library:{text}')).decode()}"


async def posts_with_aiohttp(session: Any, text: str) -> str:
    async with session.post("chat/completions", json=question(text)) as response:
        return f"{(await response.json())['choices'][0]['message']['content']}"


async def posts_with_httpx(client: Any, text: str) -> str:
    response = await client.post("chat/completions", json=question(text))
    return f"{response.json()['choices'][0]['message']['content']}"


async def waits_for_lock(lock: Any, text: str) -> str:
    async with lock:
        await asyncio.sleep(0.001)
    return text


class SingleFlight:
    """A value that the first caller loads for all concurrent callers."""

    def __init__(self) -> None:
        self._loading: asyncio.Future[str] | None = None

    async def value(self) -> str:
        if self._loading is None:
            self._loading = asyncio.ensure_future(self._load())
            self._loading.add_done_callback(lambda _: setattr(self, "_loading", None))
        return await asyncio.shield(self._loading)

    async def _load(self) -> str:
        await asyncio.sleep(0.01)
        return "loaded"


async def waits_for_flight(flight: Any, text: str) -> str:
    return f"{await flight.value()} {text}"


class Cached:
    """An object that needs a running event loop: created once, by the first user, and kept open."""

    def __init__(self, opening: Opening) -> None:
        self._opening, self._lock, self._kept = opening, asyncio.Lock(), AsyncExitStack()
        self._object: Any = None

    async def get(self) -> Any:
        async with self._lock:
            if self._object is None:
                self._object = await self._kept.enter_async_context(self._opening())
        return self._object

    async def close(self) -> None:
        await self._kept.aclose()


def question(text: str) -> dict[str, Any]:
    return {"model": "gpt-x", "messages": [{"role": "user", "content": text}]}


def http_options() -> dict[str, Any]:
    return {"base_url": f"{os.environ['OPENAI_BASE_URL']}/", "headers": {"authorization": "Bearer fake"}}


def mcp_servers() -> dict[str, Any]:
    script = {"command": sys.executable, "args": ["-S", "-E", os.environ["MCP_SCRIPT"]]}
    return {
        "http": {"transport": "streamable_http", "url": os.environ["MCP_URL"]},
        "stdio": {"transport": "stdio", **script},
    }


def mcp_client(transport: str) -> MultiServerMCPClient:
    return MultiServerMCPClient({transport: mcp_servers()[transport]})


def mcp_client_tools(transport: str) -> Opening:
    """Tools that open a session for each call."""

    @asynccontextmanager
    async def load_tools() -> AsyncIterator[Any]:
        yield await mcp_client(transport).get_tools()

    return load_tools


def mcp_session(transport: str) -> Opening:
    """Tools that share one session."""

    @asynccontextmanager
    async def open_session() -> AsyncIterator[Any]:
        async with mcp_client(transport).session(transport) as session:
            yield await load_mcp_tools(session)

    return open_session


@asynccontextmanager
async def google_channel() -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(os.environ["GOOGLE_GRPC_ADDRESS"]) as channel:
        yield GenerativeServiceAsyncClient(transport=GenerativeServiceGrpcAsyncIOTransport(channel=channel))


def psycopg_connections() -> Any:
    return psycopg_pool.AsyncConnectionPool(DATABASE_URL, min_size=1, max_size=CONNECTIONS, open=False)


def asyncpg_connections() -> Any:
    return asyncpg.create_pool(DATABASE_URL, min_size=1, max_size=CONNECTIONS)


def redis_client() -> Any:
    pool = redis.asyncio.BlockingConnectionPool.from_url(REDIS_URL, max_connections=CONNECTIONS, timeout=20)
    return redis.asyncio.Redis.from_pool(pool)


def sqlalchemy_engine() -> AsyncEngine:
    return create_async_engine(f"postgresql+psycopg{DATABASE_URL.removeprefix('postgresql')}", pool_size=CONNECTIONS)


def httpx_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(**http_options(), limits=httpx.Limits(max_connections=CONNECTIONS), timeout=30)


def aiohttp_session() -> Any:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    return aiohttp.ClientSession(**http_options(), connector=connector)


@asynccontextmanager
async def unmanaged(make: Callable[[], Any], close: str | None = None) -> AsyncIterator[Any]:
    """Adapter for an object without a context manager."""
    made = make()
    yield made
    if close:
        await getattr(made, close)()


def openai_model() -> ChatOpenAI:
    return ChatOpenAI(model="gpt-x")


def anthropic_model() -> ChatAnthropic:
    return ChatAnthropic(model_name="claude-x", timeout=30, stop=None)


def google_model() -> ChatGoogleGenerativeAI:
    return ChatGoogleGenerativeAI(model="gemini-x", vertexai=False)


@dataclass(frozen=True)
class Library:
    """A use of an object, and its opening in the lifespan; ``at_import`` is the module-level object."""

    use: Use
    opening: Opening
    at_import: Any = None
    use_at_import: Use | None = None
    cached: Cached = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cached", Cached(self.opening))

    async def with_module_object(self, text: str) -> str:
        shared = self.at_import if self.at_import is not None else await self.cached.get()
        return await (self.use_at_import or self.use)(shared, text)


psycopg_at_import, psycopg_lock = psycopg_connections(), asyncio.Lock()


async def opens_and_queries(pool: Any, text: str) -> str:
    """Like a module that created its pool at import, where it cannot be opened."""
    async with psycopg_lock:
        if pool.closed:
            await pool.open()
    return await queries_psycopg(pool, text)


LIBRARIES = {
    "openai": Library(asks_model, lambda: unmanaged(openai_model), openai_model()),
    "anthropic": Library(asks_model, lambda: unmanaged(anthropic_model), anthropic_model()),
    "google": Library(asks_model, lambda: unmanaged(google_model), google_model()),
    "google-grpc": Library(asks_google_over_grpc, google_channel),
    "mcp-http": Library(calls_mcp_tool, mcp_client_tools("http")),
    "mcp-http-session": Library(calls_mcp_tool, mcp_session("http")),
    "mcp-stdio": Library(calls_mcp_tool, mcp_client_tools("stdio")),
    "mcp-stdio-session": Library(calls_mcp_tool, mcp_session("stdio")),
    "asyncpg": Library(queries_asyncpg, asyncpg_connections),
    "psycopg": Library(queries_psycopg, psycopg_connections, psycopg_at_import, opens_and_queries),
    "sqlalchemy": Library(queries_sqlalchemy, lambda: unmanaged(sqlalchemy_engine, "dispose"), sqlalchemy_engine()),
    "redis": Library(asks_redis, redis_client, redis_client()),
    "aiohttp": Library(posts_with_aiohttp, aiohttp_session),
    "httpx": Library(posts_with_httpx, httpx_client, httpx_client()),
    "lock": Library(waits_for_lock, lambda: unmanaged(asyncio.Lock), asyncio.Lock()),
    "semaphore": Library(waits_for_lock, lambda: unmanaged(lambda: asyncio.Semaphore(3)), asyncio.Semaphore(3)),
    "single-flight": Library(waits_for_flight, lambda: unmanaged(SingleFlight), SingleFlight()),
}
in_lifespan: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for name, library in LIBRARIES.items():
            in_lifespan[name] = await stack.enter_async_context(library.opening())
            stack.push_async_callback(library.cached.close)
        yield
        await psycopg_at_import.close()


app = FastAPI(lifespan=lifespan)


async def use_both(name: str, text: str) -> list[str]:
    library = LIBRARIES[name]
    async with asyncio.timeout(60):
        one = await library.with_module_object(f"{text} module")
        return [one, await library.use(in_lifespan[name], f"{text} lifespan")]


@app.get("/use/{name}")
async def use(name: str, text: str) -> list[str]:
    return await use_both(name, text)


class State(TypedDict, total=False):
    library: str
    text: str
    said: list[str]


async def node(state: State) -> State:
    return {"said": await use_both(state["library"], state["text"])}


graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
