"""A server in process with a graph that works, fails, or asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runstead import Application
from runstead.infra.engines.postgres import PostgresDatabase
from tests.servers.postgres import PostgresSchema
from tests.servers.sqlite import current_data


class State(TypedDict, total=False):
    kind: str


def _act(state: State) -> Any:
    if state["kind"] == "fails":
        raise ValueError("nothing works")
    return {"kind": interrupt("really?")} if state["kind"] == "asks" else {}


def application_of(data_dir: Path, **options: Any) -> Application:
    """Return a server of the graph ``agent`` on ``data_dir``."""
    graph = StateGraph(State).add_node("act", _act).add_edge(START, "act").compile()
    return Application({"agent": graph}, port=0, data_dir=current_data(data_dir), shutdown_grace_seconds=0.1, **options)


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return application_of(tmp_path / "data")


@pytest.fixture
async def http(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def execute(http: httpx.AsyncClient, kind: str, **request: Any) -> str:
    """Execute a run on a new thread to its end, and return the thread's id."""
    thread: str = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "agent", "input": {"kind": kind}}
    assert (await http.post(f"/threads/{thread}/runs/wait", json=body, **request)).status_code == 200
    return thread


@pytest.fixture
async def postgres_database(postgres_schema: PostgresSchema) -> PostgresDatabase:
    """An empty PostgreSQL database with all tables."""
    return await postgres_schema.emptied()
