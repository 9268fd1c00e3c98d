"""``Idempotency-Key`` header: a repeated request returns the run that the first one created."""

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

from .request_body import body_of

HEADER: Final = "idempotency-key"
_LONGEST: Final = 255


async def with_idempotency(request: Request, specs: Sequence[RunSpec], limit: int) -> list[RunSpec]:
    """Return ``specs`` with this request's idempotency key; unchanged if it has none. Raises Unprocessable.

    A key is scoped to one route and its thread. The fingerprint covers the body as a value: whitespace and the order of
    keys do not matter.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return list(specs)
    if not 1 <= len(key) <= _LONGEST or not key.isprintable():
        raise Unprocessable(f"Idempotency-Key: give it 1 to {_LONGEST} printable characters")
    route = f"{request.method} {_place(request)}"
    body = parse_json(await body_of(request, limit))
    fingerprint = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return [
        replace(spec, idempotency=Idempotency(f"{route} #{number} {key}", fingerprint))
        for number, spec in enumerate(specs)
    ]


def _place(request: Request) -> str:
    """Return the route with its ids in canonical form, independent of the mount point."""
    template: str = request.scope["route"].path
    return template.format(**{name: str(value).replace("-", "").lower() for name, value in request.path_params.items()})
