"""The ``Idempotency-Key`` header: the same request, sent again, gives the run that it made the first time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson
from starlette.requests import Request

from runstead.runtime.runs.types import Idempotency, RunSpec
from runstead.wire.body import parse_json
from runstead.wire.errors import Unprocessable

from .bodies import body_of

HEADER: Final = "idempotency-key"
_LONGEST: Final = 255


async def once(request: Request, specs: Sequence[RunSpec], limit: int) -> list[RunSpec]:
    """``specs``, to be created once for this request's key; as they are when it has none. Raises Unprocessable.

    A key counts for one route, and one thread of it. The fingerprint is of the body as a value: blanks and the order
    of keys do not make it another request.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return list(specs)
    if not 1 <= len(key) <= _LONGEST or not key.isprintable():
        raise Unprocessable(f"Idempotency-Key: give it 1 to {_LONGEST} characters that can be printed")
    route = f"{request.method} {_place(request)}"
    body = parse_json(await body_of(request, limit))
    fingerprint = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return [
        replace(spec, idempotency=Idempotency(f"{route} #{number} {key}", fingerprint))
        for number, spec in enumerate(specs)
    ]


def _place(request: Request) -> str:
    """The route with its ids, one way to write it, wherever the app is mounted."""
    template: str = request.scope["route"].path
    return template.format(**{name: str(value).replace("-", "").lower() for name, value in request.path_params.items()})
