"""Server of one conversation: begins the runs of its messages in order, and answers them in order.

Messages are begun while an earlier one is still being answered: a follow-up gets its place in the thread's queue at
once, and ``/stop`` stops a run that works. One process at a time serves a conversation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

from runstead.resources.channels import ChannelLink, ChannelMessage, Conversation
from runstead.runtime.runs.types import RunRecord
from runstead.wire.errors import problem_of

from . import texts
from .access import AccessRevoked, is_linked, while_linked
from .answers import Answers
from .contract import Channel, Undeliverable
from .intake import Intake
from .ports import ChannelServices
from .reply import Pace, key_of
from .runs import ChannelRuns
from .texts import split

_log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 20
"""Failures in succession after which a message is given up, about three hours."""
_LONGEST_PAUSE: Final = 600.0
_POLL_SECONDS: Final = 1.0
"""Seconds between two reads of the messages, which other processes may receive too."""


class ConversationServer:
    """Serves one conversation until there is nothing to do."""

    def __init__(
        self, services: ChannelServices, channel: Channel, conversation: Conversation, heard: asyncio.Event
    ) -> None:
        """``heard`` is set when this process has received a message."""
        self._services, self._channel, self._conversation = services, channel, conversation
        self._heard = heard
        self._intake, self._answers = Intake(services, channel), Answers(services, channel)
        self._runs = ChannelRuns(services)
        self._pace: Pace | None = None

    async def serve(self) -> None:
        """Return when no message is open. Raises StorageFault; the messages are stored, so that serving can be
        repeated."""
        answering: asyncio.Task[None] | None = None
        try:
            while True:
                self._heard.clear()
                await self._begin_received()
                if answering is not None and answering.done():
                    await answering
                    answering = None
                if answering is None and (oldest := await self._oldest_running()) is not None:
                    answering = asyncio.create_task(self._answer(oldest), name="chat answer")
                    answering.add_done_callback(lambda _: self._heard.set())
                if answering is None and not await self._open():
                    return
                await self._services.clock.wait(self._heard, _POLL_SECONDS)
        finally:
            if answering is not None:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)

    async def _begin_received(self) -> None:
        for message in await self._open():
            if message.status == "received" and not (self._is_due(message) and await self._begin(message)):
                # Later messages wait, since they would be begun before this one.
                return

    async def _oldest_running(self) -> ChannelMessage | None:
        running = [message for message in await self._open() if message.status == "running"]
        return running[0] if running and self._is_due(running[0]) else None

    async def _open(self) -> Sequence[ChannelMessage]:
        return await self._services.stores.messages.list_open(self._conversation)

    def _is_due(self, message: ChannelMessage) -> bool:
        return message.due_at <= self._services.clock.now()

    async def _begin(self, message: ChannelMessage) -> bool:
        """Begin the run of a message, or answer it; return False if that has to be repeated later."""
        store = self._services.stores.messages
        try:
            found = await self._handled(message)
            if isinstance(found, str):
                await self._say(message, found)
                await store.end(message.seq)
            else:
                await store.set_run(message.seq, found.run_id, found.thread_id)
            return True
        except Exception as error:
            return await self._failed(message, error)

    async def _handled(self, message: ChannelMessage) -> str | RunRecord:
        try:
            return await self._intake.handle(message)
        except Exception as error:
            problem = problem_of(error)
            if problem.status >= 500:
                raise
            return problem.detail

    async def _answer(self, message: ChannelMessage) -> None:
        store = self._services.stores.messages
        try:
            link = await self._services.stores.links.find(self._conversation.chat_user)
            if link is not None:
                await self._answer_linked(message, link)
            # Without a link, the answer belongs to an account that the chat user has no access to any more.
            await store.end(message.seq)
        except Exception as error:
            await self._failed(message, error)

    async def _answer_linked(self, message: ChannelMessage, link: ChannelLink) -> None:
        try:
            await while_linked(self._services, link, message.thread_id, self._answer_run(message))
        except AccessRevoked:
            if await is_linked(self._services, link):
                await self._say(message, texts.ACCESS_REVOKED, "revoked")

    async def _answer_run(self, message: ChannelMessage) -> None:
        run_id = await self._runs.run_to_answer(message)
        if run_id is not None:
            await self._answers.answer(replace(message, run_id=run_id), self._pace_of(message))

    async def _failed(self, message: ChannelMessage, error: Exception) -> bool:
        """Record a failure; return True if the message is given up."""
        store, place = self._services.stores.messages, self._conversation
        where = f"{place.provider} chat {place.chat_id}"
        if isinstance(error, Undeliverable):
            _log.warning("%s: an answer cannot be delivered: %s", where, error)
            await store.end(message.seq)
            return True
        if message.attempts + 1 >= MAX_ATTEMPTS:
            _log.error("%s: message %d is given up after %d attempts", where, message.seq, MAX_ATTEMPTS)
            await store.end(message.seq)
            return True
        pause = min(2.0**message.attempts, _LONGEST_PAUSE)
        _log.warning("%s: message %d is repeated in %g s", where, message.seq, pause, exc_info=error)
        await store.postpone(message.seq, self._services.clock.now() + timedelta(seconds=pause))
        return False

    async def _say(self, message: ChannelMessage, text: str, name: str = "") -> None:
        place = self._conversation
        for number, part in enumerate(split(text, self._channel.capabilities.max_text)):
            key = f"{key_of(message)}-{name}{number}"
            await self._pace_of(message).call(partial(self._channel.send, place.chat_id, part, key=key))

    def _pace_of(self, message: ChannelMessage) -> Pace:
        if self._pace is None:
            able = self._channel.capabilities
            is_private = bool(message.payload.get("is_private"))
            self._pace = Pace(self._services.clock, able.edit_seconds if is_private else able.group_seconds)
        return self._pace
