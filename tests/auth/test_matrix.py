"""Every route with an id, requested by each kind of user with each kind of body; covers new routes automatically."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runstead.gateway import thread_commands, thread_socket
from runstead.gateway.auth.policy import OPEN_PATHS
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from tests.servers.profiles import PROFILES, served

NOW: Final = datetime.now(UTC)
CANARY: Final = "canary-of-alice"
OWNER: Final = ApiKeyRecord("key_owner", "k", "", "alice", "acme", (), NOW)
USERS: Final = {
    "owner": OWNER,
    "same name in another tenant": replace(OWNER, key_id="key_2", tenant_id="umbrella"),
    "another user": replace(OWNER, key_id="key_3", user_id="bob"),
    "admin of another tenant": replace(OWNER, key_id="key_4", user_id="eve", tenant_id="umbrella", scopes=("admin",)),
    "expired": replace(OWNER, key_id="key_5", expires_at=NOW - timedelta(hours=1)),
    "revoked": replace(OWNER, key_id="key_6", revoked_at=NOW),
    "admin": replace(OWNER, key_id="key_7", user_id="carol", scopes=("admin",)),
    "operator": replace(OWNER, key_id="key_8", user_id="olga", tenant_id="ops", scopes=("operator",)),
}
STRANGERS: Final = ("same name in another tenant", "another user", "admin of another tenant")
BODIES: Final[dict[str, bytes | None]] = {"none": None, "{}": b"{}", "[]": b"[]", "[{}]": b"[{}]", '"x"': b'"x"'}
TO_COME: Final = {f"/threads/{{thread_id}}{end}" for end in ("/commands", "/stream", "/stream/events")}
"""Clients open these before a thread exists: for strangers they are of a thread that does not exist."""
BY_ROLE: Final = frozenset(("/keys/{key_id}",))
"""Routes that users without a role may not use, whatever the id."""


@dataclass(frozen=True)
class Matrix:
    """A server with objects of alice's, and a client."""

    http: httpx.AsyncClient
    keys: dict[str, str]
    ids: dict[str, str]
    routes: list[tuple[str, str]]

    async def ask(self, user: str, method: str, path: str, body: bytes | None) -> httpx.Response:
        headers = {"content-type": "application/json"}
        if user in self.keys:
            headers["x-api-key"] = self.keys[user]
        if user == "operator":
            headers["x-runstead-tenant"] = "acme"
        filled = re.sub(r"\{(\w+)\}", lambda found: self.ids[found[1]], path)
        return await self.http.request(method, filled, content=body, headers=headers)

    def open_socket(self, user: str) -> connect:
        """Return a connection of this user to the event protocol of alice's thread."""
        url = f"{str(self.http.base_url).replace('http', 'ws', 1)}/threads/{self.ids['thread_id']}/stream/events"
        headers = {"x-api-key": self.keys[user]} if user in self.keys else {}
        return connect(url.replace("//threads", "/threads"), additional_headers=headers)


@pytest.fixture(params=PROFILES)
async def matrix(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Matrix]:
    keys = {name: new_key() for name in USERS}
    server = served(
        Path(__file__).parent / "roles.json",
        tmp_path,
        request,
        api_keys=[replace(record, digest=digest_of(keys[name])) for name, record in USERS.items()],
        auth="keys",
        admin_scope="admin",
        operator_scope="operator",
        webhook_allow_loopback=True,
    )
    async with server as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        headers = {"x-api-key": keys["owner"]}
        marked = {"metadata": {"mark": CANARY}}
        thread = (await http.post("/threads", json=marked, headers=headers)).json()["thread_id"]
        hook = {"webhook": "http://127.0.0.1:9/x"}
        run = {"assistant_id": "asker", "input": {}, **marked, **hook}
        await http.post(f"/threads/{thread}/runs/wait", json=run, headers=headers)
        (made,) = (await http.get(f"/threads/{thread}/runs", headers=headers)).json()
        state = (await http.get(f"/threads/{thread}/state", headers=headers)).json()
        cron = {"assistant_id": "asker", "schedule": "0 0 29 2 *", **marked}
        assistant = {"graph_id": "asker", **marked}
        (delivery,) = (await http.get("/webhooks/deliveries", headers=headers)).json()
        (approval,) = (await http.get("/approvals", headers=headers)).json()
        # The message stays when the run that it waits for is deleted: the thread waits for an answer.
        later = {"assistant_id": "asker", "input": {}, "after_seconds": 3600}
        delayed = (await http.post(f"/threads/{thread}/runs", json=later, headers=headers)).json()["run_id"]
        said = {"input": {"messages": [CANARY]}, "multitask_strategy": "steer", "assistant_id": "asker"}
        sent = (await http.post(f"/threads/{thread}/runs", json=said, headers=headers)).json()["message_id"]
        await http.delete(f"/threads/{thread}/runs/{delayed}", headers=headers)
        ids = {
            "thread_id": thread,
            "message_id": sent,
            "run_id": made["run_id"],
            "checkpoint_id": state["checkpoint_id"],
            "cron_id": (await http.post("/runs/crons", json=cron, headers=headers)).json()["cron_id"],
            "assistant_id": (await http.post("/assistants", json=assistant, headers=headers)).json()["assistant_id"],
            "delivery_id": delivery["delivery_id"],
            "approval_id": approval["approval_id"],
            "key_id": OWNER.key_id,
            "namespace": "none",
        }
        paths = (await http.get("/openapi.json")).json()["paths"]
        routes = [(method.upper(), path) for path in paths for method in paths[path] if path not in OPEN_PATHS]
        yield Matrix(http, keys, ids, sorted(routes))


async def test_no_kind_of_user_without_access_reaches_an_object(matrix: Matrix) -> None:
    with_ids = [route for route in matrix.routes if "{" in route[1]]
    # An id of a new kind has to be added to the fixture.
    assert {name for _, path in with_ids for name in re.findall(r"\{(\w+)\}", path)} <= set(matrix.ids)
    wrong: list[Any] = []
    for method, path in with_ids:
        for kind, body in BODIES.items():
            for user in ("expired", "revoked", "unauthenticated"):
                told = await matrix.ask(user, method, path, body)
                if told.status_code != 401:
                    wrong.append((user, method, path, kind, told.status_code))
            if path in TO_COME:
                continue
            for user in STRANGERS:
                told = await matrix.ask(user, method, path, body)
                refused = (404, 422, 400, 403) if path in BY_ROLE else (404, 422, 400)
                if told.status_code not in refused or CANARY in told.text:
                    wrong.append((user, method, path, kind, told.status_code, told.text[:100]))
    assert wrong == []
    for name, path in (
        ("thread_id", "/threads/"),
        ("run_id", "/runs/"),
        ("cron_id", "/runs/crons/"),
        ("assistant_id", "/assistants/"),
        ("delivery_id", "/webhooks/deliveries/"),
    ):
        for user in ("owner", "admin", "operator"):
            told = await matrix.ask(user, "GET", path + matrix.ids[name], None)
            assert (told.status_code, CANARY in told.text or name == "delivery_id") == (200, True), (user, path)


async def test_lists_show_no_object_of_another_user(matrix: Matrix) -> None:
    shown = []
    for method, path in matrix.routes:
        if "{" in path or (method == "POST" and not path.endswith(("/search", "/count", "/namespaces"))):
            continue
        for user in STRANGERS:
            told = await matrix.ask(user, method, path, b"{}" if method == "POST" else None)
            if CANARY in told.text:
                shown.append((user, method, path))
    assert shown == []


COMMANDS: Final[dict[str, dict[str, str]]] = {
    "run.start": {"assistant_id": "assistant_id"},
    "input.respond": {"interrupt_id": "run_id"},
    "input.inject": {},
    "state.get": {},
    "state.listCheckpoints": {"before": "checkpoint_id"},
    "state.fork": {"checkpoint_id": "checkpoint_id"},
    "agent.getTree": {},
    "subscription.subscribe": {},
    "subscription.unsubscribe": {"subscription_id": "run_id"},
    "subscription.reconnect": {},
}
"""Commands of the event protocol, with the ids of alice's that their params can name."""


async def test_no_kind_of_user_without_access_reaches_an_object_by_a_command(matrix: Matrix) -> None:
    source = inspect.getsource(thread_commands) + inspect.getsource(thread_socket)
    # A new command has to be added here.
    assert set(re.findall(r'"((?:[a-z]+)\.[a-zA-Z]+)":? ?', source)) == COMMANDS.keys()
    for user in ("expired", "revoked", "unauthenticated"):
        async with matrix.open_socket(user) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401, user
    for user in STRANGERS:
        async with matrix.open_socket(user) as socket:
            for number, (method, ids) in enumerate(COMMANDS.items()):
                named = {name: matrix.ids[kind] for name, kind in ids.items()}
                values = {"input": {}, "response": "yes", "message": {"role": "user", "content": "x"}, "since": 0}
                every = {**values, **named, "channels": ["values"]}
                choices: tuple[Any, ...] = (None, {}, [], "x", named, every)
                for params in choices:
                    await socket.send(json.dumps({"id": number, "method": method, "params": params}))
                    told = json.loads(await socket.recv())
                    while told.get("type") == "event":
                        assert CANARY not in json.dumps(told), (user, method, params)
                        told = json.loads(await socket.recv())
                    assert CANARY not in json.dumps(told), (user, method, params)
                    has_begun_nothing = method.startswith(("subscription.", "agent.")) or told["type"] == "error"
                    assert has_begun_nothing, (user, method, params, told)
    async with matrix.open_socket("owner") as socket:
        await socket.send(json.dumps({"id": 1, "method": "state.get", "params": {}}))
        assert json.loads(await socket.recv())["type"] == "success"
    (run,) = (await matrix.ask("owner", "GET", "/threads/{thread_id}/runs", None)).json()
    assert run["run_id"] == matrix.ids["run_id"]
