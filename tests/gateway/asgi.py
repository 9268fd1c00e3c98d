"""A fake ASGI server controlled by a test: sent messages are inspected, and the client disconnects on demand."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message


class Connection:
    """Both ends of one request. ``stall`` makes the client accept nothing more, like a full socket; ``stalls_after``
    does so itself after this number of body chunks."""

    def __init__(self, *, stalls_after: int | None = None) -> None:
        self._stalls_after = stalls_after
        self.sent: list[Message] = []
        self._gone = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._news = asyncio.Event()

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self._flowing.wait()
        self.sent.append(message)
        self._news.set()
        if len(self.bodies) == self._stalls_after:
            self._stalls_after = None
            self.stall()

    async def heard(self, count: int) -> None:
        """Return when this number of body chunks have arrived."""
        while len(self.bodies) < count:
            self._news.clear()
            await self._news.wait()

    def hang_up(self) -> None:
        self._gone.set()

    def stall(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]

    @property
    def is_complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


HTTP: dict[str, Any] = {"type": "http", "method": "GET", "path": "/"}


async def until(condition: Any) -> None:
    """Yield to other tasks until ``condition`` holds. Some hundred turns of the loop are enough here."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")
