"""The bytes of a request's JSON body, read once however often they are asked for."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from runstead.wire.body import check_content_type
from runstead.wire.errors import BodyTooLarge

_DISCARDED_AT_MOST: Final = 8
"""Limits' worth of a too large body that is read and dropped: the client is to hear an answer, not a broken pipe."""
_OF_BROWSERS: Final = ("origin", "sec-fetch-site")
"""Headers that browsers send with everything that a page can make them send with a body."""
_KEY: Final = "runstead.body"


async def body_of(request: Request, limit: int) -> bytes:
    """The body. Raises BodyTooLarge without ever holding more than ``limit``, and NotJson."""
    if _KEY not in request.scope:
        body = await _read(request, limit)
        if body:
            is_browser = any(name in request.headers for name in _OF_BROWSERS)
            check_content_type(request.headers.get("content-type"), is_browser=is_browser)
        request.scope[_KEY] = body
    read: bytes = request.scope[_KEY]
    return read


async def _read(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            chunks.clear()
            if size > limit * _DISCARDED_AT_MOST:
                break
        else:
            chunks.append(chunk)
    if size > limit:
        raise BodyTooLarge(limit)
    return b"".join(chunks)
