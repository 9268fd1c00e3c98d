"""Slack: an app over slack-bolt, by socket mode or by HTTP.

Bolt runs listeners before it confirms a delivery (``process_before_response``), so that a confirmed message is stored.
In channels, the bot is addressed by mentioning it, and answers in a thread; each thread is a conversation.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar
from uuid import NAMESPACE_URL, uuid5

import httpx
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from runstead.resources.channels import InvalidSignature
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.wire.channels import ChannelRequest, ChannelResponse
from runstead.wire.errors import Unavailable

from .contract import Button, Capabilities, IncomingFile, IncomingMessage, Receive, RetryLater, Undeliverable

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MENTION: Final = re.compile(r"^\s*<@[A-Z0-9]+(\|[^>]*)?>\s*")
_OURS: Final = "runstead-"
_PASSING: Final = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "team_added_to_org")
)
"""Errors of Slack after which a call is repeated. After any other, it would fail again."""
_FIRST_IS_GONE: Final = "duplicate_"
"""Begins errors of a repeated message whose first one is not there any more."""
_LONGEST_LABEL: Final = 75


@dataclass(frozen=True, slots=True)
class SlackOptions:
    """Options of an app. With ``app_token`` it uses socket mode, with ``signing_secret`` Slack calls its address."""

    bot_token: str
    app_token: str | None = None
    signing_secret: str | None = None
    url: str = "https://slack.com/api/"


class SlackChannel:
    """Channel of one Slack app in one workspace."""

    provider = "slack"
    capabilities = Capabilities(
        edits=True, buttons=True, files=True, threads=True, max_text=3_000, edit_seconds=1.2, group_seconds=1.2
    )

    def __init__(self, options: SlackOptions) -> None:
        self._options = options
        self._client = AsyncWebClient(token=options.bot_token, base_url=options.url)
        self._app = AsyncApp(
            client=self._client,
            signing_secret=options.signing_secret,
            # Only HTTP requests are signed.
            request_verification_enabled=options.signing_secret is not None,
            process_before_response=True,
        )
        self._app.event("message")(self._on_message)
        self._app.event("app_mention")(self._on_mention)
        self._app.action(re.compile(f"^{_OURS}"))(self._on_press)
        self._receive: Receive | None = None

    async def serve(self, receive: Receive) -> None:
        self._receive = receive
        if self._options.app_token is None:
            return
        handler: Any = AsyncSocketModeHandler(self._app, self._options.app_token)
        try:
            await handler.connect_async()
            await asyncio.Event().wait()
        finally:
            await handler.close_async()

    async def webhook(self, request: ChannelRequest, receive: Receive) -> ChannelResponse:
        if self._options.signing_secret is None:
            raise InvalidSignature("This app uses socket mode; set slack_signing_secret to receive over HTTP")
        self._receive = receive
        given = AsyncBoltRequest(
            body=request.body.decode("utf-8", "replace"), headers={k: [v] for k, v in request.headers.items()}
        )
        answer = await self._app.async_dispatch(given)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise InvalidSignature("The request is not signed by Slack, or is too old")
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable("The message could not be stored; Slack delivers it again")
        return ChannelResponse((answer.body or "").encode(), answer.first_headers().get("content-type", "text/plain"))

    async def send(self, chat_id: str, text: str, buttons: Sequence[Button] = (), *, key: str = "") -> str:
        channel, thread = _place_of(chat_id)
        message: JsonObject = {
            "channel": channel,
            "thread_ts": thread,
            "text": _escaped(text),
            "blocks": _blocks(text, buttons) or None,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        # Slack posts a message with the same id once, and answers with the first one.
        once: JsonObject = {"client_msg_id": str(uuid5(NAMESPACE_URL, f"runstead:{key}"))} if key else {}
        try:
            sent = await _called(self._client.chat_postMessage(**message, **once))
        except Undeliverable as error:
            if not str(error).startswith(_FIRST_IS_GONE):
                raise
            sent = await _called(self._client.chat_postMessage(**message))
        return str(sent["ts"])

    async def edit(self, chat_id: str, message_id: str, text: str, buttons: Sequence[Button] = ()) -> None:
        channel, _ = _place_of(chat_id)
        # An empty list removes the blocks that the message had.
        await _called(
            self._client.chat_update(channel=channel, ts=message_id, text=_escaped(text), blocks=_blocks(text, buttons))
        )

    async def delete(self, chat_id: str, message_id: str) -> None:
        channel, _ = _place_of(chat_id)
        await _called(self._client.chat_delete(channel=channel, ts=message_id))

    async def send_file(self, chat_id: str, name: str, content: bytes) -> None:
        channel, thread = _place_of(chat_id)
        await _called(
            self._client.files_upload_v2(channel=channel, thread_ts=thread, filename=name, title=name, content=content)
        )

    async def download(self, file: IncomingFile) -> AsyncIterator[bytes]:
        found = await _called(self._client.files_info(file=file.file_id))
        url = found["file"]["url_private_download"]
        headers = {"authorization": f"Bearer {self._options.bot_token}"}
        # Redirects are not followed, since the token would be sent to another host.
        async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", url, headers=headers) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                yield chunk

    async def close(self) -> None:
        if (session := self._client.session) is not None:
            await session.close()

    async def _on_message(self, body: JsonObject, event: JsonObject) -> None:
        """Receive what is written in a private chat with the bot. Elsewhere, only mentions are for the bot."""
        if event.get("channel_type") == "im" and event.get("subtype") in (None, "file_share"):
            await self._take(body, event)

    async def _on_mention(self, body: JsonObject, event: JsonObject) -> None:
        await self._take(body, event)

    async def _take(self, body: JsonObject, event: JsonObject) -> None:
        if event.get("bot_id") or not event.get("user"):
            return
        is_private = event.get("channel_type") == "im"
        thread = event.get("thread_ts") or (None if is_private else event["ts"])
        await self._received(
            IncomingMessage(
                workspace=str(body.get("team_id") or event.get("team") or ""),
                chat_id=_chat_id(event["channel"], thread),
                user_id=event["user"],
                # The same for the two events of one message.
                message_id=f"{event['channel']}:{event['ts']}",
                text=html.unescape(_MENTION.sub("", event.get("text") or "")),
                files=tuple(
                    IncomingFile(file["id"], file.get("name") or file["id"], file.get("size"))
                    for file in event.get("files") or ()
                ),
                is_private=is_private,
            )
        )

    async def _on_press(self, ack: Any, body: JsonObject, action: JsonObject) -> None:
        container: JsonMapping = body.get("container") or {}
        channel = (body.get("channel") or {}).get("id") or container.get("channel_id")
        message: JsonMapping = body.get("message") or {}
        user: JsonMapping = body["user"]
        await self._received(
            IncomingMessage(
                workspace=str((body.get("team") or {}).get("id") or user.get("team_id") or ""),
                chat_id=_chat_id(str(channel), message.get("thread_ts")),
                user_id=user["id"],
                message_id=f"{channel}:{action.get('action_ts')}:{user['id']}",
                button=str(action.get("value") or ""),
                is_private=str(channel).startswith("D"),
            )
        )
        await ack()

    async def _received(self, incoming: IncomingMessage) -> None:
        if self._receive is None:
            raise RuntimeError("the channel does not receive yet")
        await self._receive(incoming)


def _chat_id(channel: str, thread: str | None) -> str:
    return channel if thread is None else f"{channel}:{thread}"


def _place_of(chat_id: str) -> tuple[str, str | None]:
    channel, _, thread = chat_id.partition(":")
    return channel, thread or None


def _escaped(text: str) -> str:
    """Return text without Slack's markup for mentions and links, such as ``<!channel>``."""
    return html.escape(text, quote=False)


def _blocks(text: str, buttons: Sequence[Button]) -> list[JsonObject]:
    """Return the text with buttons as blocks; none without buttons."""
    if not buttons:
        return []
    elements = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": button.label[:_LONGEST_LABEL]},
            "action_id": f"{_OURS}{number}",
            "value": button.data,
        }
        for number, button in enumerate(buttons)
    ]
    return [
        {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}},
        {"type": "actions", "elements": elements},
    ]


async def _called(call: Awaitable[T]) -> T:
    """Return the result of a call. Raises RetryLater, Undeliverable, and other errors of the SDK."""
    try:
        return await call
    except SlackApiError as error:
        answer: Any = error.response
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise RetryLater(float(answer.headers.get("Retry-After", 1))) from error
        reason = answer.data.get("error") if isinstance(answer.data, dict) else None
        if reason is None or reason in _PASSING:
            raise
        raise Undeliverable(str(reason)) from error
