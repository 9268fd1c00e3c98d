"""Minimal HTTP client: its own CPU time would otherwise count against the servers.

One request at a time per kept connection; only the parts of HTTP/1.1 that the measured servers use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import orjson


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._writer is not None
        self._writer.close()

    async def post(self, path: str, body: Any) -> bytes:
        """Send a request and return the whole response body. Raises RuntimeError unless its status is 200."""
        return b"".join([piece async for piece in self.stream(path, body)])

    async def stream(self, path: str, body: Any) -> AsyncIterator[bytes]:
        """Send a request and yield the parts of the response body as they arrive."""
        assert self._reader is not None
        assert self._writer is not None
        content = orjson.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}"
        self._writer.write(head.encode() + b"\r\n\r\n" + content)
        headers = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not headers.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{path}: {headers[:200]!r}")
        if b"transfer-encoding: chunked" not in headers:
            length = int(headers.partition(b"content-length:")[2].partition(b"\r\n")[0])
            yield await self._reader.readexactly(length)
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
