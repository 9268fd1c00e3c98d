"""Telegram's Bot API on loopback, as far as a bot uses it, with its rules: offsets confirm updates, a second poll ends
the first, texts are bounded, an unchanged edit is an error, and too many calls are refused with a pause.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from .watched import Watched

TOKEN: Final = "4242:secret-of-the-bot"
_LONGEST: Final = 4096


@dataclass
class BotApi(Watched):
    """One bot and its chats."""

    url: str = ""
    updates: list[dict[str, Any]] = field(default_factory=list)
    """Updates that the bot has not confirmed."""
    messages: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Messages of the bot by id, as users see them."""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    refusals: int = 0
    """Number of the next sending calls that are refused with a pause."""
    webhook: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.changed = asyncio.Condition()
        self._next_update, self._next_message, self._poll = 100, 1000, 0

    async def write(self, user: int, chat: int | None = None, **message: Any) -> int:
        """A user writes; return the id of the update."""
        place = {"id": chat, "type": "supergroup", "title": "group"} if chat else {"id": user, "type": "private"}
        number = self._number()
        content = {"message_id": number, "date": 1, "chat": place, "from": _user(user), **message}
        return await self._add({"message": content})

    async def press(self, user: int, message_id: int, label: str) -> int:
        """A user presses a button below a message of the bot."""
        message = self.messages[message_id]
        rows = message["reply_markup"]["inline_keyboard"]
        (data,) = [button["callback_data"] for row in rows for button in row if button["text"] == label]
        query = {"id": str(self._number()), "from": _user(user), "chat_instance": "1", "data": data}
        return await self._add({"callback_query": {**query, "message": message}})

    def happened(self) -> str:
        return f"messages: {self.texts()}, calls: {self.calls[-20:]}"

    async def shows(self, text: str) -> int:
        """Return the id of the message with this text, when it is shown."""
        await self.until(lambda: text in self.texts())
        return next(key for key, message in self.messages.items() if message.get("text") == text)

    def texts(self) -> list[str]:
        return [str(message.get("text")) for message in self.messages.values()]

    async def handle(self, request: web.Request) -> web.Response:
        given = await _parameters(request)
        method = request.match_info["method"]
        if request.match_info["token"] != TOKEN:
            return _error(401, "Unauthorized")
        if method != "getUpdates":
            self.calls.append((method, given))
        answer = await getattr(self, f"_{method}")(given)
        async with self.changed:
            self.changed.notify_all()
        return answer if isinstance(answer, web.Response) else web.json_response({"ok": True, "result": answer})

    async def download(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["path"]])

    async def _add(self, update: dict[str, Any]) -> int:
        self._next_update += 1
        update = {"update_id": self._next_update, **update}
        async with self.changed:
            self.updates.append(update)
            self.changed.notify_all()
        return self._next_update

    def _number(self) -> int:
        self._next_message += 1
        return self._next_message

    async def _getUpdates(self, given: dict[str, Any]) -> object:  # noqa: N802
        self._poll += 1
        mine, offset = self._poll, int(given.get("offset", 0))
        async with self.changed:
            self.updates = [update for update in self.updates if update["update_id"] >= offset]
            self.changed.notify_all()
            try:
                async with asyncio.timeout(float(given.get("timeout", 0))):
                    await self.changed.wait_for(lambda: self.updates or self._poll != mine)
            except TimeoutError:
                return []
        if self._poll != mine:
            return _error(409, "Conflict: terminated by other getUpdates request")
        return self.updates[:100]

    async def _deleteWebhook(self, _: dict[str, Any]) -> object:  # noqa: N802
        self.webhook = None
        return True

    async def _setWebhook(self, given: dict[str, Any]) -> object:  # noqa: N802
        self.webhook = given
        return True

    async def _answerCallbackQuery(self, _: dict[str, Any]) -> object:  # noqa: N802
        return True

    async def _sendMessage(self, given: dict[str, Any]) -> object:  # noqa: N802
        if self.refusals:
            self.refusals -= 1
            return web.json_response(
                {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}},
                status=429,
            )
        if not 0 < len(given["text"].encode("utf-16-le")) // 2 <= _LONGEST:
            return _error(400, "Bad Request: message is too long")
        return self._sent(given, text=given["text"])

    async def _sendDocument(self, given: dict[str, Any]) -> object:  # noqa: N802
        document = {"file_id": "out", "file_unique_id": "out", "file_name": given["document"][0]}
        return self._sent(given, document=document, content=given["document"][1])

    async def _editMessageText(self, given: dict[str, Any]) -> object:  # noqa: N802
        message = self.messages.get(int(given["message_id"]))
        if message is None:
            return _error(400, "Bad Request: message to edit not found")
        markup = _markup(given)
        if message["text"] == given["text"] and message.get("reply_markup") == markup:
            return _error(400, "Bad Request: message is not modified: specified new message content is the same")
        message["text"], message["reply_markup"] = given["text"], markup
        return _without_content(message)

    async def _deleteMessage(self, given: dict[str, Any]) -> object:  # noqa: N802
        self.messages.pop(int(given["message_id"]))
        return True

    async def _getFile(self, given: dict[str, Any]) -> object:  # noqa: N802
        path = f"documents/{given['file_id']}"
        return {"file_id": given["file_id"], "file_unique_id": given["file_id"], "file_path": path}

    def _sent(self, given: dict[str, Any], **content: Any) -> object:
        number, chat = self._number(), int(given["chat_id"])
        message = {
            "message_id": number,
            "date": 1,
            "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup"},
            "reply_markup": _markup(given),
            **content,
        }
        if topic := given.get("message_thread_id"):
            message |= {"message_thread_id": int(topic), "is_topic_message": True}
        self.messages[number] = message
        return _without_content(message)


@asynccontextmanager
async def bot_api() -> AsyncIterator[BotApi]:
    """Serve the Bot API for the duration of a block."""
    api, app = BotApi(), web.Application()
    app.router.add_post("/bot{token}/{method}", api.handle)
    app.router.add_get("/file/bot{token}/{path:.*}", api.download)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    api.url = f"http://127.0.0.1:{port}"
    api.files["documents/f1"] = b"content of f1"
    try:
        yield api
    finally:
        await runner.cleanup()


def _user(number: int) -> dict[str, Any]:
    return {"id": number, "is_bot": False, "first_name": f"user {number}"}


def _markup(given: dict[str, Any]) -> Any:
    return json.loads(given["reply_markup"]) if given.get("reply_markup") else None


def _without_content(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "content" and value is not None}


def _error(status: int, description: str) -> web.Response:
    return web.json_response({"ok": False, "error_code": status, "description": description}, status=status)


async def _parameters(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(await request.json())
    found: dict[str, Any] = {}
    for name, value in (await request.post()).items():
        found[name] = (value.filename, value.file.read()) if isinstance(value, web.FileField) else value
    return found
