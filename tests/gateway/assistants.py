"""Assistants on data that are served several times: with and without users, and with other graphs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from runstead.bootstrap.application import Application
from runstead.gateway.api import create_api
from runstead.graphs.configuration import read_configuration
from runstead.runtime.actor_context import ActorContext
from runstead.settings import load_settings
from runstead.wire.credentials import Credentials
from tests.servers.sqlite import current_data

GRAPHS = Path(__file__).parent.parent / "graphs" / "recorded.json"
Served: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class ByName:
    """Authenticate as the user and scopes in the header."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        name, *scopes = credentials.headers["x-user"].split()
        return ActorContext(user_id=name, scopes=frozenset(scopes), auth_source="header")


ALICE, BOB, OPERATOR = {"x-user": "alice"}, {"x-user": "bob"}, {"x-user": "olga assistants"}


def served_from(place: Path) -> Served:
    """Serve the data in ``place``, as often as requested."""

    @asynccontextmanager
    async def serve(*, users: bool = False, graphs: Path = GRAPHS, **flags: Any) -> AsyncIterator[httpx.AsyncClient]:
        flags = {"data_dir": current_data(place / "data"), "shutdown_grace_seconds": 0.1, **flags}
        application = Application(load_settings(flags, project=place), read_configuration(graphs))
        asgi = create_api(application, authenticator=ByName()) if users else application.asgi
        transport = httpx.ASGITransport(asgi)
        async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client

    return serve


async def a_new(client: httpx.AsyncClient, who: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    made = await client.post("/assistants", json={"graph_id": "ctx", **fields}, headers=who)
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


async def a_thread(client: httpx.AsyncClient) -> str:
    return str((await client.post("/threads", json={})).json()["thread_id"])
