"""A server with a chat service in memory, and chat users that are linked to accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.gateway.services import Services
from runstead.resources.channels import digest_of, new_code
from runstead.runtime.actor_context import ActorContext, acting
from tests.channels.graphs import Gate, agent
from tests.channels.memory import MemoryChannel
from tests.servers.sqlite import current_data


@dataclass
class ChatServer:
    """Running server with its channel."""

    application: Application
    channel: MemoryChannel
    gate: Gate

    @property
    def services(self) -> Services:
        return self.application.services

    async def code(self, actor: ActorContext) -> str:
        code = new_code()
        with acting(actor):
            await self.services.channel_links.create_code(digest_of(code))
        return code

    async def link(self, user: str, actor: ActorContext | None = None) -> ActorContext:
        """Link a chat user to the account with the same name, by a code in their private chat."""
        actor = actor or ActorContext(user, "acme", auth_source="custom")
        await self.channel.say(user, f"/link {await self.code(actor)}")
        chat = f"chat of {user}"
        await self.channel.until(lambda: any("is linked" in text for text in self.channel.texts(chat)))
        self.channel.shown.clear()
        return actor

    def http(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.application.asgi)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def application(data_dir: Path, channel: MemoryChannel, gate: Gate) -> Application:
    return Application(
        {"agent": agent(gate)},
        data_dir=current_data(data_dir),
        port=0,
        shutdown_grace_seconds=0.1,
        audit=True,
        channels=[channel],
    )


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def chats(tmp_path: Path, gate: Gate) -> AsyncIterator[ChatServer]:
    channel = MemoryChannel()
    server = application(tmp_path / "data", channel, gate)
    async with server.running():
        yield ChatServer(server, channel, gate)
