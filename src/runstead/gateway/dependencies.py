"""What routes ask for: the services, the body as a typed value, ids that are ids."""

# No `from __future__ import annotations`: FastAPI reads these signatures when the routes are made.

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import TypeAdapter
from starlette.requests import HTTPConnection
from starlette.responses import Response

from runstead.runtime.serialization import encode
from runstead.wire.body import parse_json, typed, unknown_fields
from runstead.wire.errors import Unprocessable
from runstead.wire.identifiers import CheckpointIdField, RunIdField, ThreadIdField
from runstead.wire.pages import MAX_LIMIT, MAX_OFFSET
from runstead.wire.remarks import unknown

from .authorization import Grant, authorize
from .bodies import body_of
from .remark_headers import add_remarks
from .services import Services, ServiceSource

T = TypeVar("T")

Granted: TypeAlias = Annotated[Grant, Depends(authorize)]


async def _services(connection: HTTPConnection, granted: Granted) -> Services:
    source: ServiceSource = connection.app.state.source
    return granted.within(source.services)


async def without_nul(connection: HTTPConnection) -> None:
    """Of every route. Raises Unprocessable for what no database can look for; bodies see to it themselves."""
    if b"%00" in connection.scope["query_string"] or "\x00" in connection.scope["path"]:
        raise Unprocessable("The address holds a NUL character (%00), which nothing here is called by; remove it")


class JsonBody(Generic[T]):
    """Reads the body, within the server's limit, into the type of ``adapter``; as far as it was granted."""

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        self.adapter = adapter

    async def __call__(self, request: Request, granted: Granted) -> T:
        source: ServiceSource = request.app.state.source
        raw = await body_of(request, source.services.options.max_body_bytes)
        value = parse_json(raw)
        parsed = typed(granted.changed(value), self.adapter)
        add_remarks(request, unknown(unknown_fields(value, parsed)))
        return parsed


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; strict JSON, whatever a graph has put into its state."""
    return Response(encode(value), status, headers, "application/json")


def nothing(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return Response(None, status, headers)


Use: TypeAlias = Annotated[Services, Depends(_services)]
ThreadId: TypeAlias = Annotated[ThreadIdField, Path()]
RunId: TypeAlias = Annotated[RunIdField, Path()]
CheckpointId: TypeAlias = Annotated[CheckpointIdField, Path()]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset: TypeAlias = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Namespaces: TypeAlias = Annotated[
    list[str] | None, Query(description="Only the events of these graphs inside the run; the root's is the empty one.")
]
Action: TypeAlias = Annotated[
    str, Query(description="`rollback`, or `interrupt`; anything else interrupts, and a header says so.")
]
Select: TypeAlias = Annotated[list[str] | None, Query()]


def names_of(texts: list[str] | None) -> list[str] | None:
    """Names given as repeated parameters, separated by commas, or as a JSON list (so the JavaScript SDK 2.0.0)."""
    names = [name.strip(' "[]') for text in texts or () for name in text.split(",")]
    return [name for name in names if name] or None
