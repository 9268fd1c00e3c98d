"""Bytes of a request's JSON body, read once and kept for all callers."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from runstead.wire.body import check_content_type
from runstead.wire.errors import BodyTooLarge

from .memory_guard import MEMORY, RequestMemory

_DISCARDED_AT_MOST: Final = 8
"""Multiple of the limit up to which a too large body is read and dropped, so that the client gets a response instead of
a broken connection."""
_OF_BROWSERS: Final = ("origin", "sec-fetch-site")
"""Headers that browsers send with every request with a body that a page can trigger."""


async def body_of(request: Request, limit: int, *, is_json: bool = True) -> bytes:
    """Return the body. Raises BodyTooLarge without ever holding more than ``limit``, and NotJson where JSON is
    wanted."""
    memory: RequestMemory = request.scope[MEMORY]
    if memory.body is None:
        body = await _read(request, limit, memory)
        if body and is_json:
            is_browser = any(name in request.headers for name in _OF_BROWSERS)
            check_content_type(request.headers.get("content-type"), is_browser=is_browser)
        memory.body = body
    return memory.body


async def _read(request: Request, limit: int, memory: RequestMemory) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            chunks.clear()
            memory.give_back()
            if size > limit * _DISCARDED_AT_MOST:
                break
        else:
            chunks.append(chunk)
    if size > limit:
        raise BodyTooLarge(limit)
    return b"".join(chunks)
