"""A chat service in memory: what its adapter would deliver, and what it shows to its users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from runstead.channels import (
    Button,
    Capabilities,
    ChannelRequest,
    ChannelResponse,
    IncomingFile,
    IncomingMessage,
    InvalidSignature,
    Receive,
)


@dataclass
class Shown:
    """Message of the bot, as the users see it now. ``texts`` are all that it had."""

    chat_id: str
    message_id: str
    texts: list[str]
    buttons: tuple[Button, ...] = ()

    @property
    def text(self) -> str:
        return self.texts[-1]


@dataclass
class MemoryChannel:
    """Chat service with chats in memory."""

    provider: str = "memory"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(edits=True, buttons=True, files=True, max_text=200, edit_seconds=0.0)
    )
    shown: list[Shown] = field(default_factory=list)
    files: list[tuple[str, str, bytes]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next calls that send, one each."""

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._incoming: asyncio.Queue[IncomingMessage] = asyncio.Queue()
        self._delivered = 0
        self._taken = 0

    async def serve(self, receive: Receive) -> None:
        while True:
            await receive(await self._incoming.get())
            self._taken += 1
            await self._notify()

    async def webhook(self, request: ChannelRequest, receive: Receive) -> ChannelResponse:
        if request.headers.get("x-secret") != "s3cret":
            raise InvalidSignature("wrong secret")
        await receive(IncomingMessage("w", "chat", "alice", "over-http", request.body.decode()))
        return ChannelResponse()

    async def send(self, chat_id: str, text: str, buttons: Sequence[Button] = (), *, key: str = "") -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.shown.append(Shown(chat_id, str(len(self.shown) + 1), [text], tuple(buttons)))
        await self._notify()
        return self.shown[-1].message_id

    async def edit(self, chat_id: str, message_id: str, text: str, buttons: Sequence[Button] = ()) -> None:
        found = next(one for one in self.shown if one.message_id == message_id)
        assert found.chat_id == chat_id
        found.texts.append(text)
        found.buttons = tuple(buttons)
        await self._notify()

    async def delete(self, chat_id: str, message_id: str) -> None:
        self.shown = [one for one in self.shown if one.message_id != message_id]

    async def send_file(self, chat_id: str, name: str, content: bytes) -> None:
        self.files.append((chat_id, name, content))
        await self._notify()

    async def download(self, file: IncomingFile) -> AsyncIterator[bytes]:
        yield self.uploads[file.file_id]

    async def close(self) -> None:
        return

    async def say(self, user: str, text: str, chat: str = "", message_id: str = "", **more: object) -> None:
        """Deliver a message, and return when it is stored."""
        self._delivered += 1
        incoming = IncomingMessage("w", chat or f"chat of {user}", user, message_id or f"m-{self._delivered}", text)
        await self._incoming.put(replace(incoming, **more))  # type: ignore[arg-type]
        wanted = self._delivered
        await self.until(lambda: self._taken >= wanted)

    async def press(self, user: str, message: Shown, label: str) -> None:
        """Press a button below a message."""
        (data,) = [button.data for button in message.buttons if button.label == label]
        await self.say(user, "", message.chat_id, button=data)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, which is checked after each call of the service."""
        try:
            async with asyncio.timeout(60), self._changed:
                await self._changed.wait_for(lambda: bool(condition()))
        except TimeoutError:
            raise AssertionError(f"shown: {self.shown}, files: {self.files}") from None

    async def answer(self, chat: str, text: str) -> Shown:
        """Return the message with this final text in a chat, when it is shown."""
        await self.until(lambda: any(one.text == text and one.chat_id == chat for one in self.shown))
        return next(one for one in self.shown if one.text == text and one.chat_id == chat)

    def texts(self, chat: str) -> list[str]:
        return [one.text for one in self.shown if one.chat_id == chat]

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
