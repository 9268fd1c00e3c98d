"""One reply in a chat: sent once, then changed in place, no faster than the service allows; long texts in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from runstead.resources.channels import ChannelMessage
from runstead.runtime.clock import Clock

from .contract import Button, Channel, RetryLater, Undeliverable
from .texts import split

T = TypeVar("T")


def key_of(message: ChannelMessage) -> str:
    """Return the key of the answer to a message, for services that recognise repeated calls by it.

    It does not depend on the row of the message: another database would have the same numbers.
    """
    place = message.conversation
    return hashlib.sha256("\n".join((place.provider, place.workspace, message.message_id)).encode()).hexdigest()[:24]


class Pace:
    """Shortest time between two calls for one chat."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._free_at = clock.monotonic()

    @property
    def wait(self) -> float:
        """Seconds until the next call is allowed."""
        return max(self._free_at - self._clock.monotonic(), 0.0)

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do a call when it is allowed; repeat it when the service asks to wait."""
        while True:
            while self.wait > 0:
                await self._clock.sleep(self.wait)
            self._free_at = self._clock.monotonic() + self._seconds
            try:
                return await work()
            except RetryLater as later:
                self._free_at = self._clock.monotonic() + max(later.seconds, self._seconds)


class Reply:
    """Messages that answer one message. ``message_ids`` are those that were sent before, such as before a crash.

    ``save`` stores the ids after each new message, so that a repeated reply changes the messages instead of sending
    them again. ``key`` identifies the reply to services that recognise repeated calls.
    """

    def __init__(
        self,
        channel: Channel,
        chat_id: str,
        key: str,
        pace: Pace,
        message_ids: Sequence[str],
        save: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._channel, self._chat_id, self._key, self._pace, self._save = channel, chat_id, key, pace, save
        self._ids = list(message_ids)
        self._shown: list[tuple[str, tuple[Button, ...]] | None] = [None for _ in self._ids]

    async def grow(self, text: str) -> None:
        """Show the text so far, on services with edits. Later calls and `finish` replace it."""
        if self._channel.capabilities.edits and text.strip():
            await self._show(text, ())

    async def finish(self, text: str, buttons: Sequence[Button] = ()) -> str:
        """Show the final text, with buttons below its last part; return the id of that message."""
        await self._show(text, tuple(buttons))
        count = len(split(text, self._channel.capabilities.max_text))
        for message_id in self._ids[count:]:
            await self._pace.call(partial(self._channel.delete, self._chat_id, message_id))
        if len(self._ids) > count:
            self._ids, self._shown = self._ids[:count], self._shown[:count]
            await self._save(self._ids)
        return self._ids[-1]

    async def _show(self, text: str, buttons: tuple[Button, ...]) -> None:
        parts = split(text, self._channel.capabilities.max_text)
        for number, part in enumerate(parts):
            below = buttons if number == len(parts) - 1 else ()
            if number >= len(self._ids):
                await self._send(number, part, below)
            elif self._shown[number] != (part, below) and self._channel.capabilities.edits:
                await self._edit(number, part, below)

    async def _send(self, number: int, part: str, buttons: tuple[Button, ...]) -> None:
        sent = await self._pace.call(
            lambda: self._channel.send(self._chat_id, part, buttons, key=f"{self._key}-{number}")
        )
        self._ids.append(sent)
        self._shown.append((part, buttons))
        await self._save(self._ids)

    async def _edit(self, number: int, part: str, buttons: tuple[Button, ...]) -> None:
        try:
            await self._pace.call(lambda: self._channel.edit(self._chat_id, self._ids[number], part, buttons))
        except Undeliverable:
            # The user has deleted the message. In a chat that is gone, sending fails too.
            key = f"{self._key}-{number}-again"
            self._ids[number] = await self._pace.call(lambda: self._channel.send(self._chat_id, part, buttons, key=key))
            await self._save(self._ids)
        self._shown[number] = (part, buttons)
