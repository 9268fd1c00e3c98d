"""The link of a chat user ends when its account loses access: nothing more is answered, and what runs is stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runstead.bootstrap.application import Application
from runstead.channels import texts
from runstead.channels.access import AccessRevoked, is_linked, while_linked
from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord
from runstead.resources.channels import ChannelLink, ChatUser
from runstead.resources.threads import ThreadFilter
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.types import RunFilter, RunRecord, StopReason, ThreadId
from runstead.testing.clock import ManualClock
from tests.auth.oidc_issuer import AUDIENCE, FakeIssuer, running_issuer
from tests.auth.revocable_handlers import forbidden
from tests.processes.client import eventually
from tests.servers.sqlite import current_data

from .conftest import ChatServer
from .graphs import Gate, agent
from .memory import MemoryChannel

ALICE = ActorContext("alice", "acme", "key-alice", auth_source="api_key")
CHAT = "chat of alice"
HANDLERS = Path(__file__).parent.parent / "auth" / "revocable_handlers.py"


@asynccontextmanager
async def chatting(folder: Path, **settings: Any) -> AsyncIterator[ChatServer]:
    channel, gate = MemoryChannel(), Gate()
    data = current_data(folder / "data")
    common: dict[str, Any] = {"data_dir": data, "port": 0, "shutdown_grace_seconds": 0.1, "channels": [channel]}
    common |= {"access_check_seconds": 0.1, **settings}
    graphs = common.pop("config", None)
    server = Application.from_file(graphs, **common) if graphs else Application({"agent": agent(gate)}, **common)
    async with server.running():
        yield ChatServer(server, channel, gate)


async def latest_run(chats: ChatServer, actor: ActorContext) -> RunRecord:
    with acting(actor):
        (thread,) = await chats.services.threads.search(ThreadFilter(), limit=1)
        (run,) = await chats.services.runs.list_runs(RunFilter(thread.thread_id), limit=1)
    return run


async def check_stopped(chats: ChatServer, actor: ActorContext) -> None:
    async def is_stopped() -> bool:
        return (await latest_run(chats, actor)).stop_requested is StopReason.REVOKED

    assert await eventually(is_stopped, 60)


async def test_run_of_a_chat_user_is_stopped_when_the_link_is_deleted(tmp_path: Path) -> None:
    async with chatting(tmp_path) as chats:
        alice = await chats.link("alice")
        await chats.channel.say("alice", "wait")
        await chats.channel.answer(CHAT, texts.WORKING)
        with acting(alice):
            assert await chats.services.channel_links.delete("memory", "alice")
        await check_stopped(chats, alice)
        await chats.channel.say("alice", "hello")
        await chats.channel.answer(CHAT, texts.NOT_LINKED)
        assert chats.channel.texts(CHAT) == [texts.WORKING, texts.NOT_LINKED]


async def test_run_by_a_link_of_a_revoked_key_is_stopped(tmp_path: Path) -> None:
    async with (
        chatting(tmp_path) as chats,
        open_storage(tmp_path / "data" / RUNS_FILE) as database,
    ):
        keys = SqlApiKeyStore(database)
        await keys.add(ApiKeyRecord("key-alice", "k", "digest", "alice", "acme", (), datetime.now(UTC)))
        await chats.link("alice", ALICE)
        await chats.channel.say("alice", "wait")
        await chats.channel.answer(CHAT, texts.WORKING)
        await keys.revoke("key-alice", datetime.now(UTC))
        await check_stopped(chats, ALICE)
        await chats.channel.answer(CHAT, texts.ACCESS_REVOKED)


async def test_link_ends_at_its_age(tmp_path: Path) -> None:
    async with chatting(tmp_path, channel_link_days=1e-6) as chats:
        await chats.link("alice")
        await asyncio.sleep(0.1)
        await chats.channel.say("alice", "hello")
        await chats.channel.answer(CHAT, texts.ACCESS_REVOKED)


async def test_answer_ends_when_handlers_withdraw_the_right_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"carol-{tmp_path.name}"
    monkeypatch.setenv("RUNSTEAD_TEST_GATE", str(tmp_path / "never"))
    config = tmp_path / "langgraph.json"
    graphs = {"agent": f"{Path(__file__).parent}/project.py:graph"}
    config.write_text(json.dumps({"graphs": graphs, "auth": {"path": f"{HANDLERS}:auth"}}))
    claims = {"identity": name, "display_name": name, "is_authenticated": True, "permissions": []}
    carol = ActorContext(name, auth_source="langgraph_auth", claims=claims)
    try:
        async with chatting(tmp_path, config=config) as chats:
            await chats.link("carol", carol)
            await chats.channel.say("carol", "wait")
            await chats.channel.answer("chat of carol", texts.WORKING)
            forbidden(name).touch()
            await chats.channel.answer("chat of carol", texts.ACCESS_REVOKED)
    finally:
        forbidden(name).unlink(missing_ok=True)


def logout_token(issuer: FakeIssuer, **claims: Any) -> str:
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    return issuer.token(datetime.now(UTC), events=events, jti="1", **claims)


async def test_logout_at_the_issuer_ends_the_links_of_its_user(tmp_path: Path) -> None:
    with running_issuer() as issuer:
        oidc = {"oidc_issuer": issuer.issuer, "oidc_audience": (AUDIENCE,), "oidc_tenant_claim": "org", "audit": True}
        async with chatting(tmp_path, **oidc) as chats, chats.http() as http:
            for user in ("alice", "bob"):
                headers = {"authorization": f"Bearer {issuer.token(datetime.now(UTC), sub=user)}"}
                command = (await http.post("/channels/codes", headers=headers)).json()["command"]
                await chats.channel.say(user, command)
                await chats.channel.until(lambda user=user: chats.channel.texts(f"chat of {user}"))  # type: ignore[misc]
            await chats.channel.say("alice", "wait")
            await chats.channel.answer(CHAT, texts.WORKING)
            assert (await http.post("/oidc/logout", data={"logout_token": "x"})).status_code == 400
            assert (await http.post("/oidc/logout", content=b"{}")).status_code == 400
            assert (await http.post("/oidc/logout", content=b"x" * 100_000)).status_code == 413
            token = logout_token(issuer, sub="alice")
            assert (await http.post("/oidc/logout", data={"logout_token": token})).status_code == 200
            await check_stopped(chats, ActorContext("alice", "acme"))
            for user, answer in (("alice", texts.NOT_LINKED), ("bob", "you said hello")):
                await chats.channel.say(user, "hello")
                await chats.channel.answer(f"chat of {user}", answer)


@dataclass
class Access:
    """Links and rules that a test changes; ``find`` fails while ``is_away``."""

    link: ChannelLink | None
    is_old: bool = False
    may: bool = True
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    async def find(self, chat_user: ChatUser) -> ChannelLink | None:
        self.asked.append(chat_user.user_id)
        if self.is_away:
            raise ConnectionError("away")
        return self.link

    async def is_revoked(self, link: ChannelLink) -> bool:
        return self.is_old

    async def may_read(self, thread_id: ThreadId) -> bool:
        return self.may


@pytest.mark.parametrize(
    ("change", "left"),
    [({"link": None}, False), ({"is_old": True}, True), ({"may": False}, True), ({"is_away": True}, None), ({}, None)],
)
async def test_work_ends_with_the_access(change: dict[str, Any], left: bool | None) -> None:
    """``left``: the link is still there when its access has ended; None: the access has not ended."""
    clock, link = ManualClock(), ChannelLink(ChatUser("memory", "w", "alice"), ALICE, datetime.now(UTC))
    access, done = Access(link), asyncio.Event()

    class Stores:
        links = access

    class Services:
        stores, rules, access_check_seconds = Stores, access, 5.0

    services: Any = Services()
    services.clock = clock

    async def work() -> None:
        await done.wait()

    working = asyncio.ensure_future(while_linked(services, link, ThreadId("t"), work()))
    for name, value in change.items():
        setattr(access, name, value)
    await clock.advance(5)
    while not access.asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    if left is None:
        done.set()
        await working
    else:
        with pytest.raises(AccessRevoked):
            await working
        assert await is_linked(services, link) is left
