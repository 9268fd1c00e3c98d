"""The bytes of a request's body, read once, whoever asks for them."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from runstead.wire.errors import BodyTooLarge

_DISCARDED_AT_MOST: Final = 8
"""Limits' worth of a too large body that is read and dropped: the client is to hear an answer, not a broken pipe."""
_KEY: Final = "runstead.body"


async def body_of(request: Request, limit: int) -> bytes:
    """The body. Raises BodyTooLarge without ever holding more than ``limit``."""
    if _KEY not in request.scope:
        request.scope[_KEY] = await _read(request, limit)
    body: bytes = request.scope[_KEY]
    return body


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
