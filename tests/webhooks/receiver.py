"""A receiver of webhooks on loopback: real sockets, scripted responses, and all received requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


Answer: TypeAlias = Callable[[Received], bytes | None]
"""The response bytes; None never responds."""


@dataclass
class Receiver:
    port: int = 0
    answer: Answer = lambda _: OK
    received: list[Received] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def count(self, wanted: int, within: float = 30) -> list[Received]:
        """Return all received requests, once there are ``wanted`` of them."""
        async with asyncio.timeout(within):
            while len(self.received) < wanted:
                self.came.clear()
                await self.came.wait()
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(_pair(line) for line in head[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            got = Received(head[0].split(" ")[1], headers, body)
            self.received.append(got)
            self.came.set()
            if (answer := self.answer(got)) is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


@asynccontextmanager
async def receiving(answer: Answer | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    if answer:
        receiver.answer = answer
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
