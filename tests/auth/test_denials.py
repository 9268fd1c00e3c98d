"""A refusal by a handler is enforced on every route, for any body; new routes are covered automatically."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute, APIWebSocketRoute
from langgraph_sdk import get_client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.gateway import routes
from runstead.gateway.auth.policy import OPEN_PATHS, is_open
from runstead.gateway.route_declaration import permissions_of
from tests.servers.sqlite import current_data

from .tutorial_handlers import READER_TOKEN

FOLDER = Path(__file__).parent
FOR_ROLES: Final = ("/audit", "/keys", "/keys/{key_id}", "/metrics", "/workers")
BODIES: Final[dict[str, bytes | None]] = {
    "no body": None,
    "object": b"{}",
    "array": b"[]",
    "array of an object": b"[{}]",
    "string": b'"x"',
    "number": b"1",
}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with serving(application_of("tutorial_denying.json", tmp_path)) as url:
        yield url


def application_of(config: str, folder: Path) -> Application:
    data = current_data(folder / "data")
    return Application.from_file(FOLDER / config, data_dir=data, port=0, shutdown_grace_seconds=0.1)


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda _: str(uuid.uuid4()), path)


def guarded() -> set[tuple[str, str]]:
    """Methods and paths of all routes that are not open, also of those missing in the OpenAPI document.

    Not those for roles alone, which are closed to the users of handlers.
    """
    found: set[tuple[str, str]] = set()
    for router in routers():
        for route in router.routes:
            if isinstance(route, APIWebSocketRoute):
                found.add(("WEBSOCKET", route.path))
            elif isinstance(route, APIRoute) and not is_open(route.path) and route.path not in FOR_ROLES:
                found |= {(method, route.path) for method in route.methods or ()}
    return found


def routers() -> list[APIRouter]:
    names = [f"{routes.__name__}.{found.name}" for found in pkgutil.iter_modules(routes.__path__)]
    return [importlib.import_module(name).router for name in names]


async def test_handler_is_called_for_any_request_body(url: str) -> None:
    headers = {"authorization": "Bearer user1-token", "content-type": "application/json"}
    wrong = {}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        described = (await client.get("/openapi.json")).json()["paths"]
        listed = {(method.upper(), path) for path, methods in described.items() for method in methods}
        asked = sorted({route for route in guarded() | listed if route[1] not in (*OPEN_PATHS, *FOR_ROLES)} - sockets())
        assert len(asked) > 50
        for method, path in asked:
            for kind, body in BODIES.items():
                told = await client.request(method, filled(path), content=body, headers=headers)
                if (told.status_code, told.json()) != (403, {"detail": "Forbidden"}):
                    wrong[method, path, kind] = (told.status_code, told.text[:100])
    assert wrong == {}


async def test_web_socket_is_closed_when_the_handler_refuses(url: str) -> None:
    assert len(sockets()) == 2
    for _, path in sockets():
        place = url.replace("http", "ws") + filled(path)
        async with connect(place, additional_headers={"authorization": "Bearer user1-token"}) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403


def test_handler_is_called_for_every_route() -> None:
    assert guarded() == {route for route, permission in permissions_of(routers()) if permission is not None}


def sockets() -> set[tuple[str, str]]:
    return {route for route in guarded() if route[0] == "WEBSOCKET"}


@pytest.mark.parametrize("transport", ["http", "socket"])
async def test_command_that_starts_a_run_is_authorized_as_run_creation_too(transport: str, tmp_path: Path) -> None:
    async with serving(application_of("tutorial_reading.json", tmp_path)) as url:
        owner = get_client(url=url, api_key=None, headers={"authorization": "Bearer user1-token"})
        thread = (await owner.threads.create())["thread_id"]
        asked: Any = await owner.runs.wait(thread, "asker", input={})
        state = await owner.threads.get_state(thread)
        writing: dict[str, dict[str, Any]] = {
            "run.start": {"assistant_id": "asker", "input": {}},
            "input.respond": {"interrupt_id": asked["__interrupt__"][0]["id"], "response": "yes"},
            "state.fork": {"checkpoint_id": state["checkpoint"]["checkpoint_id"]},
        }
        for method, params in writing.items():
            told = await _command(url, thread, {"id": 1, "method": method, "params": params}, transport)
            assert (told["type"], told.get("error")) == ("error", "permission_denied"), (method, told)
        await owner.runs.wait(thread, "asker", command={"resume": "yes"})
        message = {"role": "user", "content": "x"}
        injected = {"id": 1, "method": "input.inject", "params": {"message": message}}
        assert (await _command(url, thread, injected, transport))["error"] == "permission_denied"
        read = await _command(url, thread, {"id": 1, "method": "state.get"}, transport)
        assert read["result"]["values"] == {"said": ["user1: yes"]}
        assert len(await owner.runs.list(thread)) == 2


async def _command(url: str, thread: str, command: dict[str, Any], transport: str) -> dict[str, Any]:
    path, headers = f"/threads/{thread}", {"authorization": f"Bearer {READER_TOKEN}"}
    if transport == "http":
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            answered: dict[str, Any] = (await client.post(f"{path}/commands", json=command, headers=headers)).json()
            return answered
    place = f"{url.replace('http', 'ws')}{path}/stream/events"
    async with connect(place, additional_headers=headers) as socket:
        await socket.send(json.dumps(command))
        heard: dict[str, Any] = json.loads(await socket.recv())
        return heard
