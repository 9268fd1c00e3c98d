"""Targets below HTTP: messages of WebSockets, and raw bytes sent to the server's port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from .commands import commands
from .description import Description, path_of
from .target import Target
from .values import documents, mutated, mutated_bytes
from .world import CANARY, HANG, Fault, World

_LAST: Final = 999_999_999
"""The id of the last command that a client sends: its response comes after those of all others."""
_CLOSINGS: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4404, 4422, 4429)


def socket_targets(world: World) -> list[Target]:
    """Messages of WebSockets, and raw bytes."""
    mine, of_alice = world.ids["thread_id"], world.ids_of_alice["thread_id"]
    threads = st.sampled_from((mine, mine, of_alice, world.ids["cron_id"], "x"))
    texts = documents(mutated(commands(world.ids["checkpoint_id"]), list(world.ids_of_alice.values())))
    messages = st.lists(st.one_of(texts, texts, texts, st.tuples(st.binary(max_size=20))), max_size=6)

    def talk(example: tuple[str, list[Any]]) -> None:
        _check_talk(world.run(_talked(world, *example)))
        world.log.check()

    def send(data: bytes) -> None:
        _check_bytes(data, _answer_to(world, data))
        world.log.check()

    return [
        Target("websocket messages", st.tuples(threads, messages), talk),
        Target("bytes", _bytes(world), send),
    ]


# --- WebSockets, in process -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Talk:
    """The server's messages on a connection; ``closed`` is its close code, unless it left closing to the client."""

    said: list[Any]
    closed: int | None


async def _talked(world: World, thread_id: str, messages: list[Any]) -> Talk:
    """Send all messages and then one more command; read until its response, or until the server has closed."""
    told = [(b"host", b"localhost"), (b"x-api-key", world.keys["mallory"].encode())]
    path = f"/threads/{thread_id}/stream/events"
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": told,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "subprotocols": [],
    }
    inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    over, said = asyncio.Event(), list[Any]()
    closed: int | None = None

    async def send(message: Any) -> None:
        nonlocal closed
        if message["type"] == "websocket.close":
            closed = message.get("code", 1000)
            over.set()
        elif message["type"] == "websocket.send":
            said.append(json.loads(message["text"]))
            if said[-1].get("id") == _LAST:
                over.set()

    inbox.put_nowait({"type": "websocket.connect"})
    for message in messages:
        if isinstance(message, tuple):
            inbox.put_nowait({"type": "websocket.receive", "bytes": message[0]})
        else:
            inbox.put_nowait({"type": "websocket.receive", "text": message.decode("utf-8", "replace")})
    last = {"id": _LAST, "method": "agent.getTree"}
    inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(last)})
    task = asyncio.ensure_future(world.application.asgi(scope, inbox.get, send))
    task.add_done_callback(lambda _: over.set())
    try:
        await over.wait()
    finally:
        inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await task
    return Talk(said, closed)


def _check_talk(talk: Talk) -> None:
    if CANARY in json.dumps(talk.said):
        raise Fault("data of another user", repr(talk))
    if talk.closed is not None and talk.closed not in _CLOSINGS:
        raise Fault(f"closed with {talk.closed}", repr(talk))
    for said in talk.said:
        refused = said.get("type") == "error"
        if refused and not (isinstance(said.get("message"), str) and said["message"] and said.get("error")):
            raise Fault("error without a sentence", repr(said))
        # Status codes appear at the start of some.
        if refused and said["message"][:4] in ("500:", "502:"):
            raise Fault("error of the server", repr(said))


# --- bytes, over a socket -------------------------------------------------------------------------------------------
@st.composite
def _bytes(draw: st.DrawFn, world: World) -> bytes:
    """One to three requests with some wrong bytes; then the client sends nothing more."""
    one = st.one_of(_request(world), _request(world), _upgrade(world))
    data = b"".join(draw(one) for _ in range(draw(st.integers(1, 3))))
    return draw(st.one_of(st.just(data), mutated_bytes(st.just(data))))


@st.composite
def _request(draw: st.DrawFn, world: World) -> bytes:
    operation = draw(st.sampled_from([one for one in _DESCRIPTION.operations if not one.waits]))
    body = b'{"assistant_id": "echo", "input": {"said": 1}}' if operation.body is not None else b""
    length = draw(st.sampled_from((len(body), len(body), len(body), 0, -1, 10**30, "x", f"{len(body)}, 3")))
    lines = [
        f"{operation.method} {path_of(operation, world.ids)} HTTP/1.1",
        "host: localhost",
        f"x-api-key: {world.keys['mallory']}",
        "content-type: application/json",
    ]
    if draw(st.integers(0, 3)) == 0:
        sizes = draw(st.sampled_from(("{:x}", "{:X};ext=1", "0x{:x}", "-{:x}", "{:x}" + "0" * 40, " {:x}")))
        lines.append("transfer-encoding: chunked")
        body = sizes.format(len(body)).encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
    else:
        lines.append(f"content-length: {length}")
    if draw(st.integers(0, 3)) == 0:
        lines.insert(draw(st.integers(1, len(lines))), draw(st.sampled_from(_LINES)))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@st.composite
def _upgrade(draw: st.DrawFn, world: World) -> bytes:
    """A WebSocket handshake, and frames that clients must not send."""
    key = draw(st.sampled_from(("dGhlIHNhbXBsZSBub25jZQ==", "", "x", "=" * 24)))
    lines = [
        f"GET /threads/{world.ids['thread_id']}/stream/events HTTP/1.1",
        "host: localhost",
        f"x-api-key: {world.keys['mallory']}",
        "connection: upgrade",
        "upgrade: websocket",
        f"sec-websocket-version: {draw(st.sampled_from((13, 13, 13, 8, 'x')))}",
        f"sec-websocket-key: {key}",
    ]
    frames = b"".join(draw(st.lists(_frame(), max_size=4)))
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + frames


@st.composite
def _frame(draw: st.DrawFn) -> bytes:
    payload = draw(st.one_of(st.just(b'{"id": 1, "method": "agent.getTree"}'), st.binary(max_size=140)))
    first = draw(st.one_of(st.sampled_from((0x81, 0x82, 0x88, 0x89, 0x01, 0x80)), st.integers(0, 255)))
    mask = b"" if draw(st.integers(0, 4)) == 0 else draw(st.binary(min_size=4, max_size=4))
    flag = 0x80 if mask else 0
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if mask else payload
    size = len(payload)
    length = bytes([flag | size]) if size < 126 else bytes([flag | 126]) + size.to_bytes(2, "big")
    length = draw(st.sampled_from((length, length, length, bytes([flag | 127]) + b"\x7f" + b"\xff" * 7)))
    return bytes([first]) + length + mask + masked


_DESCRIPTION: Final = Description()
_LINES: Final = (
    *("host: evil.example", "host:", ": x", "x", "x : y", "x: \x00", " folded", "\xff: \xff", "x: " + "y" * 70_000),
    *("transfer-encoding: gzip", "transfer-encoding: chunked, chunked", "content-length: 1", "expect: 100-continue"),
    *("connection: close", "connection: upgrade", "upgrade: h2c", "upgrade: websocket", "origin: http://evil.example"),
)


def _answer_to(world: World, data: bytes) -> bytes:
    """Read until the server closes the connection. Raises Fault if it does not."""
    host, port = world.url.removeprefix("http://").split(":")
    said = b""
    with socket.create_connection((host, int(port)), timeout=HANG) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                said += piece
        except TimeoutError:
            raise Fault("connection that is not closed", f"{data!r}: {said!r}") from None
        except OSError:
            # The server has closed it before reading everything.
            return said
    return said


def _check_bytes(data: bytes, said: bytes) -> None:
    if CANARY.encode() in said:
        raise Fault("data of another user", f"{data!r}: {said!r}")
    for answer in said.split(b"HTTP/1.1 ")[1:]:
        if answer[:1] == b"5" and answer[:3] not in (b"503", b"507"):
            raise Fault(f"status {answer[:3].decode()}", f"{data!r}: {said!r}")
