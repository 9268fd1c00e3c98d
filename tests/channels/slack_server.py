"""Slack on loopback, as far as an app uses it: the Web API, socket mode, and signed requests to the app's address.

Deliveries over a socket that are not confirmed stay unconfirmed; calls beyond the rate get 429 with ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from .watched import Watched

BOT_TOKEN, APP_TOKEN, SECRET = "xoxb-bot", "xapp-app", "signing-secret"
TEAM: Final = "T1"


@dataclass
class Slack(Watched):
    """One workspace with one app."""

    url: str = ""
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Messages of the bot by ``ts``, as users see them."""
    files: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusals: int = 0
    confirmed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.changed = asyncio.Condition()
        self._socket: web.WebSocketResponse | None = None
        self._count = 0
        self._uploads: dict[str, dict[str, Any]] = {}
        self._posted: dict[str, str] = {}

    def message(self, user: str, text: str, channel: str = "D1", **more: Any) -> dict[str, Any]:
        """Return the event of a message; in channels, of a mention of the bot."""
        is_private = channel.startswith("D")
        event = {"user": user, "text": text, "channel": channel, "ts": f"17000.{self._number():06}", **more}
        if is_private:
            return self._event({"type": "message", "channel_type": "im", **event})
        return self._event({"type": "app_mention", **event, "text": f"<@UBOT> {text}"})

    def press(self, user: str, ts: str, label: str) -> dict[str, Any]:
        """Return the interaction of a pressed button."""
        message = self.messages[ts]
        (action,) = [
            element
            for block in message["blocks"]
            for element in block.get("elements", ())
            if element["text"]["text"] == label
        ]
        shown = {"ts": ts, "thread_ts": message.get("thread_ts")} if message.get("thread_ts") else {"ts": ts}
        return {
            "type": "block_actions",
            "team": {"id": TEAM},
            "user": {"id": user, "team_id": TEAM},
            "channel": {"id": message["channel"]},
            "container": {"type": "message", "message_ts": ts, "channel_id": message["channel"]},
            "message": shown,
            "actions": [{**action, "action_ts": f"18000.{self._number():06}"}],
        }

    async def deliver(self, payload: dict[str, Any]) -> None:
        """Deliver over the socket, and return when the app has confirmed."""
        await self.until(lambda: self._socket)
        assert self._socket is not None
        kind = "interactive" if payload["type"] == "block_actions" else "events_api"
        envelope = f"e-{self._number()}"
        await self._socket.send_json(
            {"envelope_id": envelope, "type": kind, "payload": payload, "accepts_response_payload": False}
        )
        await self.until(lambda: envelope in self.confirmed)

    def happened(self) -> str:
        return f"messages: {self.texts()}, calls: {self.calls[-20:]}"

    async def shows(self, text: str) -> str:
        """Return the ``ts`` of the message with this text, when it is shown."""
        await self.until(lambda: text in self.texts())
        return next(ts for ts, message in self.messages.items() if message["text"] == text)

    def texts(self) -> list[str]:
        return [message["text"] for message in self.messages.values()]

    async def handle(self, request: web.Request) -> web.Response:
        method, given = request.match_info["method"], await _parameters(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN):
            return web.json_response({"ok": False, "error": "invalid_auth"})
        self.calls.append((method, given))
        if method.startswith("chat.") and self.refusals:
            self.refusals -= 1
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "1"})
        answer = getattr(self, "_" + method.replace(".", "_"))(given)
        await self._notify()
        return web.json_response({"ok": "error" not in answer, **answer})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        self._socket = socket
        await self._notify()
        async for message in socket:
            if message.data and message.data != "ping":
                self.confirmed.add(json.loads(message.data)["envelope_id"])
                await self._notify()
        self._socket = None
        return socket

    async def upload(self, request: web.Request) -> web.Response:
        self._uploads[request.match_info["file"]]["content"] = await request.read()
        return web.Response(text="OK")

    async def download(self, request: web.Request) -> web.Response:
        assert request.headers["authorization"] == f"Bearer {BOT_TOKEN}"
        return web.Response(body=b"content of " + request.match_info["file"].encode())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _event(self, event: dict[str, Any]) -> dict[str, Any]:
        place = {"team_id": TEAM, "api_app_id": "A1", "event_id": f"Ev{self._number()}", "event_time": 1}
        return {"type": "event_callback", **place, "event": event, "authorizations": []}

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"team_id": TEAM, "user_id": "UBOT", "bot_id": "B1", "team": "team", "user": "bot", "url": "x"}

    def _apps_connections_open(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"url": self.url.replace("http", "ws") + "link"}

    def _chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if len(given["text"]) > 40_000:
            return {"error": "msg_too_long"}
        key = given.get("client_msg_id")
        if key is not None and key in self._posted:
            ts = self._posted[key]
            if ts not in self.messages:
                return {"error": "duplicate_message_not_found"}
            return {"ts": ts, "channel": given["channel"], "message": self.messages[ts]}
        ts = f"19000.{self._number():06}"
        if key is not None:
            self._posted[key] = ts
        self.messages[ts] = {
            "channel": given["channel"],
            "text": given["text"],
            "blocks": _json(given.get("blocks")) or [],
            "thread_ts": given.get("thread_ts"),
        }
        return {"ts": ts, "channel": given["channel"], "message": self.messages[ts]}

    def _chat_update(self, given: dict[str, Any]) -> dict[str, Any]:
        if (message := self.messages.get(given["ts"])) is None:
            return {"error": "message_not_found"}
        message["text"] = given["text"]
        if "blocks" in given:
            message["blocks"] = _json(given["blocks"])
        return {"ts": given["ts"]}

    def _chat_delete(self, given: dict[str, Any]) -> dict[str, Any]:
        self.messages.pop(given["ts"])
        return {}

    def _files_info(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"file": {"id": given["file"], "url_private_download": f"{self.url}download/{given['file']}"}}

    def _files_getUploadURLExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        file_id = f"F{self._number()}"
        self._uploads[file_id] = {"name": given["filename"], "size": int(given["length"])}
        return {"upload_url": f"{self.url}upload/{file_id}", "file_id": file_id}

    def _files_completeUploadExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        done = [self._uploads[file["id"]] for file in _json(given["files"])]
        self.files += [{**file, "channel": given["channel_id"], "thread_ts": given.get("thread_ts")} for file in done]
        return {"files": [{"id": "F", "title": file["name"]} for file in done]}


@asynccontextmanager
async def slack() -> AsyncIterator[Slack]:
    """Serve Slack for the duration of a block."""
    service, app = Slack(), web.Application()
    app.router.add_get("/api/link", service.socket)
    app.router.add_route("*", "/api/{method}", service.handle)
    app.router.add_post("/api/upload/{file}", service.upload)
    app.router.add_get("/api/download/{file}", service.download)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    try:
        yield service
    finally:
        await runner.cleanup()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers with which Slack signs a request."""
    at = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": at, "x-slack-signature": f"v0={digest}"}


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def _parameters(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(await request.json())
    return {**request.query, **await request.post()}
