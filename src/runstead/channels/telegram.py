"""Telegram: a bot over python-telegram-bot, by long polling or by a webhook.

Updates are confirmed only after they are stored. The SDK's own updater confirms them when they are in its memory, so
this adapter uses the SDK's calls and types without it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import httpx
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, Message, Update
from telegram.error import BadRequest, Conflict, Forbidden, RetryAfter, TelegramError
from telegram.request import HTTPXRequest

from runstead.resources.channels import InvalidSignature
from runstead.wire.channels import ChannelRequest, ChannelResponse

from .contract import Button, Capabilities, IncomingFile, IncomingMessage, Receive, RetryLater, Undeliverable

T = TypeVar("T")

_log = logging.getLogger(__name__)

_KINDS: Final = ("message", "callback_query")
_POLL: Final = timedelta(seconds=25)
_READ_SECONDS: Final = 20.0
_SECRET: Final = "x-telegram-bot-api-secret-token"
_UNCHANGED: Final = "message is not modified"


@dataclass(frozen=True, slots=True)
class TelegramOptions:
    """Options of a bot. With ``webhook_url`` Telegram sends updates there, with ``webhook_secret`` in a header."""

    token: str
    url: str = "https://api.telegram.org"
    webhook_url: str | None = None
    webhook_secret: str | None = None


class _WithoutToken(logging.Filter):
    """Drops log lines that name the address of a call, which contains the token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def filter(self, record: logging.LogRecord) -> bool:
        return self._token not in record.getMessage()


class TelegramChannel:
    """Channel of one Telegram bot. A chat with topics has a conversation for each topic."""

    provider = "telegram"
    capabilities = Capabilities(
        edits=True,
        buttons=True,
        files=True,
        threads=True,
        max_text=4_096,
        edit_seconds=1.0,
        # Twenty messages a minute in a group.
        group_seconds=3.0,
    )

    def __init__(self, options: TelegramOptions) -> None:
        self._options = options
        for name in ("httpx", "telegram.Bot"):
            logging.getLogger(name).addFilter(_WithoutToken(options.token))
        polling = HTTPXRequest(read_timeout=_POLL.total_seconds() + _READ_SECONDS)
        self._bot = Bot(
            options.token,
            base_url=f"{options.url}/bot",
            base_file_url=f"{options.url}/file/bot",
            request=HTTPXRequest(read_timeout=_READ_SECONDS, connect_timeout=10, pool_timeout=10),
            get_updates_request=polling,
        )
        self._workspace = options.token.partition(":")[0]

    async def serve(self, receive: Receive) -> None:
        if self._options.webhook_url is not None:
            await self._bot.set_webhook(
                f"{self._options.webhook_url.rstrip('/')}/channels/telegram/events",
                secret_token=self._options.webhook_secret,
                allowed_updates=_KINDS,
            )
            return
        await self._bot.delete_webhook()
        offset = None
        while True:
            try:
                updates = await self._bot.get_updates(offset=offset, timeout=_POLL, allowed_updates=_KINDS)
            except Conflict:
                # The process that polled before has not noticed yet that it lost the lease.
                await asyncio.sleep(1)
                continue
            for update in updates:
                await self._receive(update, receive)
                # Asking for later updates confirms this one.
                offset = update.update_id + 1

    async def webhook(self, request: ChannelRequest, receive: Receive) -> ChannelResponse:
        given = request.headers.get(_SECRET, "")
        if self._options.webhook_secret is None or not hmac.compare_digest(
            given.encode(), self._options.webhook_secret.encode()
        ):
            raise InvalidSignature("The request does not have the secret of this bot's webhook")
        try:
            update = Update.de_json(json.loads(request.body), self._bot)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidSignature("The request is no update of Telegram") from error
        await self._receive(update, receive)
        return ChannelResponse()

    async def send(self, chat_id: str, text: str, buttons: Sequence[Button] = (), *, key: str = "") -> str:
        chat, topic = _chat_of(chat_id)
        sent = await _called(
            self._bot.send_message(chat, text, message_thread_id=topic, reply_markup=_keyboard(buttons))
        )
        return str(sent.message_id)

    async def edit(self, chat_id: str, message_id: str, text: str, buttons: Sequence[Button] = ()) -> None:
        chat, _ = _chat_of(chat_id)
        editing = self._bot.edit_message_text(
            text, chat_id=chat, message_id=int(message_id), reply_markup=_keyboard(buttons)
        )
        try:
            await _called(editing)
        except Undeliverable as error:
            if _UNCHANGED not in str(error).lower():
                raise

    async def delete(self, chat_id: str, message_id: str) -> None:
        chat, _ = _chat_of(chat_id)
        await _called(self._bot.delete_message(chat, int(message_id)))

    async def send_file(self, chat_id: str, name: str, content: bytes) -> None:
        chat, topic = _chat_of(chat_id)
        await _called(self._bot.send_document(chat, content, filename=name, message_thread_id=topic))

    async def download(self, file: IncomingFile) -> AsyncIterator[bytes]:
        found = await _called(self._bot.get_file(file.file_id))
        # Not with the SDK, which reads the whole file into memory.
        async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", str(found.file_path)) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                yield chunk

    async def close(self) -> None:
        await self._bot.shutdown()

    async def _receive(self, update: Update, receive: Receive) -> None:
        if (incoming := self._incoming(update)) is not None:
            await receive(incoming)
        if update.callback_query is not None:
            try:
                # Ends the waiting sign on the button.
                await self._bot.answer_callback_query(update.callback_query.id)
            except TelegramError as error:
                _log.info("a pressed button could not be confirmed: %s", error)

    def _incoming(self, update: Update) -> IncomingMessage | None:
        query = update.callback_query
        message = query.message if query is not None else update.message
        sender = query.from_user if query is not None else (update.message.from_user if update.message else None)
        if not isinstance(message, Message) or sender is None or sender.is_bot:
            return None
        return IncomingMessage(
            workspace=self._workspace,
            chat_id=_chat_id_of(message),
            user_id=str(sender.id),
            message_id=str(update.update_id),
            text="" if query is not None else message.text or message.caption or "",
            files=() if query is not None else _files_of(message),
            button=None if query is None else str(query.data or ""),
            is_private=message.chat.type == "private",
        )


def _chat_id_of(message: Message) -> str:
    topic = message.message_thread_id if message.is_topic_message else None
    return f"{message.chat.id}" if topic is None else f"{message.chat.id}:{topic}"


def _chat_of(chat_id: str) -> tuple[int, int | None]:
    chat, _, topic = chat_id.partition(":")
    return int(chat), int(topic) if topic else None


def _files_of(message: Message) -> tuple[IncomingFile, ...]:
    found = []
    for kind in ("document", "audio", "video", "voice"):
        if (file := getattr(message, kind)) is not None:
            name = getattr(file, "file_name", None) or f"{kind}-{message.message_id}"
            found.append(IncomingFile(file.file_id, name, file.file_size))
    if message.photo:
        # The last size is the largest.
        photo = message.photo[-1]
        found.append(IncomingFile(photo.file_id, f"photo-{message.message_id}.jpg", photo.file_size))
    return tuple(found)


def _keyboard(buttons: Sequence[Button]) -> InlineKeyboardMarkup | None:
    rows = [[InlineKeyboardButton(button.label, callback_data=button.data)] for button in buttons]
    return InlineKeyboardMarkup(rows) if rows else None


async def _called(call: Awaitable[T]) -> T:
    """Return the result of a call. Raises RetryLater, Undeliverable, and other errors of the SDK."""
    try:
        return await call
    except RetryAfter as error:
        pause: Any = error.retry_after
        raise RetryLater(pause.total_seconds() if isinstance(pause, timedelta) else float(pause)) from error
    except (Forbidden, BadRequest) as error:
        raise Undeliverable(str(error)) from error
