"""Feishu's open platform on loopback, as far as a bot uses it: tokens, messages, files, and the long connection, whose
events are delivered again until the bot confirms them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSMsgType, web

from .watched import Watched

APP_ID, APP_SECRET, TENANT = "cli_app", "app-secret", "tenant-1"
_DATA: Final = 1


def new_frame() -> Any:
    """Return an empty frame of the long connection."""
    # Importing the SDK takes seconds, in every process that collects the tests.
    from lark_oapi.ws.pb.pbbp2_pb2 import Frame

    return Frame()


@dataclass
class Feishu(Watched):
    """One tenant with one bot."""

    url: str = ""
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Messages of the bot by id, as users see them."""
    patches: int = 0
    refusals: int = 0
    confirmations: dict[str, int] = field(default_factory=dict)
    """Codes with which the bot has confirmed events."""

    def __post_init__(self) -> None:
        self.changed = asyncio.Condition()
        self._socket: web.WebSocketResponse | None = None
        self._count = 0
        self._keys: dict[str, str] = {}
        self._files: dict[str, tuple[str, bytes]] = {}

    def message(self, user: str, text: str = "", chat: str = "", **more: Any) -> dict[str, Any]:
        """Return the event of a message."""
        number = self._number()
        message = {
            "message_id": f"om_{number}",
            "chat_id": chat or f"oc_{user}",
            "chat_type": "group" if chat else "p2p",
            "message_type": "text",
            "content": json.dumps({"text": text}),
            "create_time": "1",
            **more,
        }
        sender = {"sender_id": {"open_id": user}, "sender_type": "user", "tenant_key": TENANT}
        return self._event("im.message.receive_v1", {"sender": sender, "message": message})

    def press(self, user: str, message_id: str, label: str) -> dict[str, Any]:
        """Return the event of a pressed button."""
        message = self.messages[message_id]
        (action,) = [button for button in _buttons(message["card"]) if button["text"]["content"] == label]
        place = {"open_message_id": message_id, "open_chat_id": message["chat"]}
        pressed = {"value": action["value"], "tag": "button"}
        operator = {"open_id": user, "tenant_key": TENANT}
        return self._event("card.action.trigger", {"operator": operator, "action": pressed, "context": place})

    async def deliver(self, event: dict[str, Any]) -> None:
        """Deliver over the long connection, and return when the bot has confirmed."""
        await self.until(lambda: self._socket)
        assert self._socket is not None
        delivery, frame = f"d-{self._number()}", new_frame()
        headers = {"type": "event", "message_id": delivery, "trace_id": delivery, "sum": "1", "seq": "0"}
        for key, value in headers.items():
            header = frame.headers.add()
            header.key, header.value = key, value
        frame.method, frame.service, frame.SeqID, frame.LogID = _DATA, 1, 1, 1
        frame.payload = json.dumps(event).encode()
        await self._socket.send_bytes(frame.SerializeToString())
        await self.until(lambda: delivery in self.confirmations)
        assert self.confirmations[delivery] == 200

    def happened(self) -> str:
        return f"messages: {self.messages}, confirmations: {self.confirmations}"

    async def shows(self, text: str) -> str:
        """Return the id of the message with this text, when it is shown."""
        await self.until(lambda: text in self.texts())
        return next(key for key, message in self.messages.items() if _text(message) == text)

    def texts(self) -> list[str]:
        return [_text(message) for message in self.messages.values()]

    def asked(self) -> list[str]:
        """Return the ids of messages with buttons."""
        return [key for key, message in self.messages.items() if _buttons(message.get("card", {}))]

    async def endpoint(self, request: web.Request) -> web.Response:
        given = await request.json()
        if (given["AppID"], given["AppSecret"]) != (APP_ID, APP_SECRET):
            return web.json_response({"code": 514, "msg": "auth failed"})
        url = f"{self.url.replace('http', 'ws')}/ws?device_id=1&service_id=1"
        # Times are in seconds; the first pause before connecting again is random.
        config = {"ReconnectCount": -1, "ReconnectInterval": 1, "ReconnectNonce": 0, "PingInterval": 120}
        return web.json_response({"code": 0, "data": {"URL": url, "ClientConfig": config}})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._socket = socket
        await self._notify()
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                frame = new_frame()
                frame.ParseFromString(message.data)
                if frame.method == _DATA:
                    headers = {header.key: header.value for header in frame.headers}
                    self.confirmations[headers["message_id"]] = json.loads(frame.payload)["code"]
                    await self._notify()
        self._socket = None
        return socket

    async def token(self, request: web.Request) -> web.Response:
        return web.json_response({"code": 0, "msg": "ok", "tenant_access_token": "t-1", "expire": 7200})

    async def create(self, request: web.Request) -> web.Response:
        given = await request.json()
        assert request.headers["authorization"] == "Bearer t-1"
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"code": 99991400, "msg": "request trigger frequency limit"}, status=400)
        key = given.get("uuid")
        if key is None or key not in self._keys:
            message_id, content = f"om_bot_{self._number()}", json.loads(given["content"])
            message: dict[str, Any] = {"chat": given["receive_id"]}
            if given["msg_type"] == "file":
                message["name"], message["content"] = self._files[content["file_key"]]
            else:
                message["card"] = content
            self.messages[message_id] = message
            self._keys[key or message_id] = message_id
        await self._notify()
        return web.json_response({"code": 0, "data": {"message_id": self._keys[key or message_id]}})

    async def patch(self, request: web.Request) -> web.Response:
        message = self.messages.get(request.match_info["message_id"])
        if message is None or not message["card"]["config"]["update_multi"]:
            return web.json_response({"code": 230099, "msg": "the card cannot be updated"}, status=400)
        message["card"] = json.loads((await request.json())["content"])
        self.patches += 1
        await self._notify()
        return web.json_response({"code": 0, "data": {}})

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        key = f"file_{self._number()}"
        self._files[key] = (str(form["file_name"]), file.file.read())
        return web.json_response({"code": 0, "data": {"file_key": key}})

    async def download(self, request: web.Request) -> web.Response:
        content = f"content of {request.match_info['key']}".encode()
        return web.Response(body=content, headers={"content-type": "application/octet-stream"})

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _event(self, kind: str, event: dict[str, Any]) -> dict[str, Any]:
        header = {
            "event_id": f"ev_{self._number()}",
            "event_type": kind,
            "create_time": "1",
            "token": "",
            "app_id": APP_ID,
            "tenant_key": TENANT,
        }
        return {"schema": "2.0", "header": header, "event": event}

    def _number(self) -> int:
        self._count += 1
        return self._count


@asynccontextmanager
async def feishu() -> AsyncIterator[Feishu]:
    """Serve the platform for the duration of a block."""
    service, app = Feishu(), web.Application()
    messages = "/open-apis/im/v1/messages"
    app.router.add_post("/callback/ws/endpoint", service.endpoint)
    app.router.add_get("/ws", service.socket)
    app.router.add_post("/open-apis/auth/v3/tenant_access_token/internal", service.token)
    app.router.add_post(messages, service.create)
    app.router.add_patch(messages + "/{message_id}", service.patch)
    app.router.add_get(messages + "/{message_id}/resources/{key}", service.download)
    app.router.add_post("/open-apis/im/v1/files", service.upload)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


def _text(message: dict[str, Any]) -> str:
    return str(message["card"]["elements"][0]["text"]["content"]) if "card" in message else ""


def _buttons(card: dict[str, Any]) -> list[dict[str, Any]]:
    return [button for element in card.get("elements", ()) for button in element.get("actions", ())]
