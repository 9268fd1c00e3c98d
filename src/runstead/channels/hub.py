"""All channels of a server: they receive into the database, and conversations with waiting messages are served.

Every process of a cluster may run a hub. A lease decides which one receives for a bot, and which one answers in a
conversation; after a crash, another one continues when the lease has ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from runstead.resources.channels import (
    ChannelNotFound,
    Conversation,
    NewChannelMessage,
)
from runstead.runtime.periodic import beside
from runstead.wire.channels import ChannelRequest, ChannelResponse

from .commands import command_in
from .contract import Channel, IncomingMessage
from .conversation import ConversationServer
from .ports import ChannelServices

_log = logging.getLogger(__name__)

TERM: Final = timedelta(seconds=15)
"""Duration of a lease; it is renewed three times as often."""
_RENEWAL: Final = TERM.total_seconds() / 3
_POLL_SECONDS: Final = 1.0
_MOST_CONVERSATIONS: Final = 1_000
"""Conversations that one process serves at a time; others wait."""
_MAX_TEXT: Final = 100_000


class ChannelHub:
    """Channels of this process, by their provider."""

    def __init__(self, channels: Sequence[Channel], services: ChannelServices) -> None:
        self._channels: Mapping[str, Channel] = {channel.provider: channel for channel in channels}
        self._services = services
        self._holder = secrets.token_hex(8)
        self._heard: dict[Conversation, asyncio.Event] = {}
        self._waiting = asyncio.Event()
        self._serving: dict[Conversation, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive and answer for the duration of a block."""
        try:
            async with AsyncExitStack() as started:
                await started.enter_async_context(beside(self._serve_conversations(), "channels"))
                for name, channel in self._channels.items():
                    await started.enter_async_context(beside(self._keep_receiving(channel), f"channel {name}"))
                yield
        finally:
            await self._stop()

    async def receive(self, provider: str, incoming: IncomingMessage) -> None:
        """Store a message, once however often it is delivered. Raises StorageFault."""
        place = Conversation(provider, incoming.workspace, incoming.chat_id, incoming.user_id)
        link = await self._services.stores.links.find(place.chat_user)
        command = command_in(incoming.text)
        # What unknown people write is not stored.
        is_kept = link is not None or (command is not None and command.name == "link")
        payload = {
            "text": incoming.text[:_MAX_TEXT] if is_kept else "",
            "files": [[file.file_id, file.name, file.size] for file in incoming.files] if is_kept else [],
            "button": incoming.button,
            "is_private": incoming.is_private,
        }
        if await self._services.stores.messages.add(NewChannelMessage(place, incoming.message_id, payload)):
            self._waiting.set()
            if (heard := self._heard.get(place)) is not None:
                heard.set()

    async def webhook(self, provider: str, request: ChannelRequest) -> ChannelResponse:
        """Receive over HTTP. Raises ChannelNotFound, InvalidSignature."""
        if (channel := self._channels.get(provider)) is None:
            raise ChannelNotFound(provider)
        return await channel.webhook(request, partial(self.receive, provider))

    async def _keep_receiving(self, channel: Channel) -> None:
        """Receive while this process holds the lease of the bot; after a failure, again after a pause."""
        name = f"receiver\n{channel.provider}"
        while True:
            try:
                if await self._services.stores.leases.claim(name, self._holder, TERM):
                    await self._receive_under_lease(channel, name)
            except Exception:
                _log.exception("channel %s cannot receive; retrying in %g s", channel.provider, _RENEWAL)
            finally:
                await self._release(name)
            await self._services.clock.sleep(_RENEWAL)

    async def _receive_under_lease(self, channel: Channel, name: str) -> None:
        receiving = asyncio.create_task(channel.serve(partial(self.receive, channel.provider)))
        try:
            while await self._services.stores.leases.claim(name, self._holder, TERM):
                if receiving.done():
                    # Raises its error. Without one, the channel receives over HTTP: keep its registration.
                    await receiving
                await self._services.clock.sleep(_RENEWAL)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _serve_conversations(self) -> None:
        renewing = asyncio.create_task(self._renew())
        try:
            while True:
                self._waiting.clear()
                try:
                    await self._claim_waiting()
                except Exception:
                    _log.exception("reading waiting messages failed; retrying in %g s", _POLL_SECONDS)
                await self._services.clock.wait(self._waiting, _POLL_SECONDS)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _claim_waiting(self) -> None:
        messages = self._services.stores.messages
        for conversation in await messages.list_waiting(tuple(self._channels), _MOST_CONVERSATIONS):
            if conversation in self._serving or len(self._serving) >= _MOST_CONVERSATIONS:
                continue
            channel = self._channels[conversation.provider]
            if await self._services.stores.leases.claim(conversation.lease_name, self._holder, TERM):
                heard = self._heard[conversation] = asyncio.Event()
                task = asyncio.create_task(self._serve(channel, conversation, heard), name="conversation")
                self._serving[conversation] = task

    async def _serve(self, channel: Channel, conversation: Conversation, heard: asyncio.Event) -> None:
        try:
            await ConversationServer(self._services, channel, conversation, heard).serve()
        except Exception:
            _log.exception("serving a conversation of %s failed; it is repeated", conversation.provider)
        finally:
            self._serving.pop(conversation, None)
            self._heard.pop(conversation, None)
            await self._release(conversation.lease_name)
            # A message may have come after the last look.
            self._waiting.set()

    async def _renew(self) -> None:
        while True:
            await self._services.clock.sleep(_RENEWAL)
            for conversation, task in list(self._serving.items()):
                try:
                    is_held = await self._services.stores.leases.claim(conversation.lease_name, self._holder, TERM)
                except Exception:
                    _log.warning("could not renew the lease of a conversation", exc_info=True)
                    continue
                if not is_held:
                    task.cancel()

    async def _release(self, name: str) -> None:
        try:
            await asyncio.shield(self._services.stores.leases.release(name, self._holder))
        except Exception:
            _log.info("a lease could not be released, and ends by itself", exc_info=True)

    async def _stop(self) -> None:
        serving = list(self._serving.values())
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for channel in self._channels.values():
            try:
                await channel.close()
            except Exception:
                _log.warning("closing channel %s failed", channel.provider, exc_info=True)
