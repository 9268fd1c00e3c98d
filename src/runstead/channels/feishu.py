"""Feishu and Lark: a bot over lark-oapi, by the service's long connection. An answer is one card, patched in place.

The SDK blocks: its long connection runs on a thread with a loop of its own, and its calls run in threads. The
connection confirms an event when its handler returns, which is after the message is stored.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import lark_oapi as lark
from lark_oapi.api.im.v1 import (
    CreateFileRequest,
    CreateFileRequestBody,
    CreateMessageRequest,
    CreateMessageRequestBody,
    DeleteMessageRequest,
    GetMessageResourceRequest,
    PatchMessageRequest,
    PatchMessageRequestBody,
)
from lark_oapi.ws import client as long_connection

from runstead.resources.channels import InvalidSignature
from runstead.runtime.json_types import JsonObject
from runstead.wire.channels import ChannelRequest, ChannelResponse

from .contract import Button, Capabilities, IncomingFile, IncomingMessage, Receive, RetryLater, Undeliverable

_log = logging.getLogger(__name__)

_TOO_FAST: Final = frozenset((99991400, 230020))
"""Codes of the service for too many calls of an app, and for too many messages in a chat."""
_PASSING: Final = frozenset((99991663, 99991661, 2200, 1500))
"""Codes after which a call is repeated: an expired token, and internal errors."""
_STORE_SECONDS: Final = 20.0
_FILES: Final = {"file": "file", "image": "image", "audio": "file", "media": "file"}
"""Types of messages with a file, and the type by which it is downloaded."""


@dataclass(frozen=True, slots=True)
class FeishuOptions:
    """Options of an app. ``url`` is ``https://open.larksuite.com`` for Lark."""

    app_id: str
    app_secret: str
    url: str = "https://open.feishu.cn"


class FeishuChannel:
    """Channel of one app of Feishu or Lark."""

    provider = "feishu"
    capabilities = Capabilities(edits=True, buttons=True, files=True, max_text=4_000, edit_seconds=0.5)

    def __init__(self, options: FeishuOptions) -> None:
        self._options = options
        self._client = (
            lark.Client.builder()
            .app_id(options.app_id)
            .app_secret(options.app_secret)
            .domain(options.url)
            .timeout(30)
            .log_level(lark.LogLevel.WARNING)
            .build()
        )

    async def serve(self, receive: Receive) -> None:
        loop = asyncio.get_running_loop()

        def deliver(incoming: IncomingMessage | None) -> None:
            # On the connection's thread: it confirms the event when this returns.
            if incoming is not None:
                storing: Coroutine[Any, Any, None] = _store(receive, incoming)
                asyncio.run_coroutine_threadsafe(storing, loop).result(_STORE_SECONDS)

        connection = _LongConnection(self._options, deliver)
        ended = loop.create_future()
        connection.start(lambda error: loop.call_soon_threadsafe(_end, ended, error))
        try:
            await ended
        finally:
            await asyncio.to_thread(connection.stop)

    async def webhook(self, request: ChannelRequest, receive: Receive) -> ChannelResponse:
        raise InvalidSignature("This app uses the long connection; choose it in the developer console")

    async def send(self, chat_id: str, text: str, buttons: Sequence[Button] = (), *, key: str = "") -> str:
        answer = await self._create(chat_id, "interactive", _card(text, buttons), key)
        return str(answer.data.message_id)

    async def edit(self, chat_id: str, message_id: str, text: str, buttons: Sequence[Button] = ()) -> None:
        body = PatchMessageRequestBody.builder().content(json.dumps(_card(text, buttons))).build()
        request = PatchMessageRequest.builder().message_id(message_id).request_body(body).build()
        await _called(self._messages.patch, request)

    async def delete(self, chat_id: str, message_id: str) -> None:
        await _called(self._messages.delete, DeleteMessageRequest.builder().message_id(message_id).build())

    async def send_file(self, chat_id: str, name: str, content: bytes) -> None:
        body = CreateFileRequestBody.builder().file_type("stream").file_name(name).file((name, content)).build()
        request = CreateFileRequest.builder().request_body(body).build()
        uploaded = await _called(self._im.file.create, request)
        await self._create(chat_id, "file", {"file_key": uploaded.data.file_key}, "")

    async def download(self, file: IncomingFile) -> AsyncIterator[bytes]:
        message_id, key, kind = file.file_id.split("/")
        request = GetMessageResourceRequest.builder().message_id(message_id).file_key(key).type(kind).build()
        answer = await _called(self._im.message_resource.get, request)
        yield answer.file.read()

    async def close(self) -> None:
        return

    @property
    def _im(self) -> Any:
        return self._client.im.v1

    @property
    def _messages(self) -> Any:
        return self._im.message

    async def _create(self, chat_id: str, kind: str, content: JsonObject, key: str) -> Any:
        body = CreateMessageRequestBody.builder().receive_id(chat_id).msg_type(kind).content(json.dumps(content))
        if key:
            # The service sends a message with the same key once within an hour.
            body = body.uuid(key[:50])
        request = CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body.build()).build()
        return await _called(self._messages.create, request)


class _LongConnection:
    """The SDK's long connection on a thread. The SDK keeps its loop in a variable of its module."""

    def __init__(self, options: FeishuOptions, deliver: Callable[[IncomingMessage | None], None]) -> None:
        self._options, self._deliver = options, deliver
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    def start(self, ended: Callable[[BaseException], object]) -> None:
        self._thread = threading.Thread(target=self._run, args=(ended,), name="feishu", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the connection, and return when its thread has ended."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(_STORE_SECONDS)

    def _run(self, ended: Callable[[BaseException], object]) -> None:
        asyncio.set_event_loop(self._loop)
        long_connection.loop = self._loop
        handler = (
            lark.EventDispatcherHandler.builder("", "")
            .register_p2_im_message_receive_v1(lambda event: self._deliver(_message_of(event)))
            .register_p2_card_action_trigger(self._pressed)
            .build()
        )
        client = long_connection.Client(
            self._options.app_id,
            self._options.app_secret,
            log_level=lark.LogLevel.WARNING,
            event_handler=handler,
            domain=self._options.url,
        )
        try:
            client.start()
        except BaseException as error:
            ended(error)
        finally:
            self._close(client)

    def _pressed(self, event: Any) -> Any:
        from lark_oapi.event.callback.model.p2_card_action_trigger import P2CardActionTriggerResponse

        self._deliver(_press_of(event))
        return P2CardActionTriggerResponse({})

    def _close(self, client: Any) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        try:
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(client._disconnect())
        except Exception:
            _log.debug("closing the long connection failed", exc_info=True)
        finally:
            self._loop.close()


async def _store(receive: Receive, incoming: IncomingMessage) -> None:
    await receive(incoming)


def _end(ended: asyncio.Future[None], error: BaseException) -> None:
    if not ended.done():
        ended.set_exception(RuntimeError(f"the long connection ended: {error}"))


def _message_of(event: Any) -> IncomingMessage | None:
    """Return a received message; None for one that is not a user's."""
    message, sender = event.event.message, event.event.sender
    if sender.sender_type != "user":
        return None
    content = json.loads(message.content or "{}")
    text = str(content.get("text") or "") if message.message_type == "text" else ""
    for mention in message.mentions or ():
        text = re.sub(re.escape(mention.key) + r"\s*", "", text)
    files: tuple[IncomingFile, ...] = ()
    if (kind := _FILES.get(message.message_type)) is not None:
        key = content.get("file_key") or content.get("image_key")
        name = content.get("file_name") or f"{message.message_type}-{message.message_id}"
        files = (IncomingFile(f"{message.message_id}/{key}/{kind}", name),)
    return IncomingMessage(
        workspace=str(event.header.tenant_key or ""),
        chat_id=message.chat_id,
        user_id=sender.sender_id.open_id,
        message_id=message.message_id,
        text=text.strip(),
        files=files,
        is_private=message.chat_type == "p2p",
    )


def _press_of(event: Any) -> IncomingMessage:
    pressed = event.event
    return IncomingMessage(
        workspace=str(event.header.tenant_key or ""),
        chat_id=pressed.context.open_chat_id,
        user_id=pressed.operator.open_id,
        message_id=str(event.header.event_id),
        button=str((pressed.action.value or {}).get("data") or ""),
    )


def _card(text: str, buttons: Sequence[Button]) -> JsonObject:
    """Return a card. Plain text, since the markdown of cards can mention all members of a chat."""
    elements: list[JsonObject] = [{"tag": "div", "text": {"tag": "plain_text", "content": text}}]
    if buttons:
        actions = [
            {
                "tag": "button",
                "text": {"tag": "plain_text", "content": button.label},
                "type": "default",
                "value": {"data": button.data},
            }
            for button in buttons
        ]
        elements.append({"tag": "action", "actions": actions})
    # Without `update_multi`, a card could not be patched for all its readers.
    return {"config": {"update_multi": True, "wide_screen_mode": True}, "elements": elements}


async def _called(call: Callable[[Any], Any], request: object) -> Any:
    """Return the answer of a call. Raises RetryLater, Undeliverable, and other errors."""
    answer = await asyncio.to_thread(call, request)
    if answer.success():
        return answer
    status = answer.raw.status_code if answer.raw is not None else 0
    if answer.code in _TOO_FAST or status == 429:
        raise RetryLater(float(answer.raw.headers.get("x-ogw-ratelimit-reset") or 1) if answer.raw else 1)
    if answer.code in _PASSING or status >= 500:
        raise ConnectionError(f"{answer.code}: {answer.msg}")
    raise Undeliverable(f"{answer.code}: {answer.msg}")
