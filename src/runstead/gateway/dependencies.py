"""Dependencies of routes: the services, the body as a typed value, validated ids."""

# No `from __future__ import annotations`: FastAPI reads these signatures when the routes are created.

from collections.abc import Mapping
from typing import Annotated, Generic, TypeAlias, TypeVar

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

from .auth.authorization import Authorization, authorize
from .remark_headers import add_remarks
from .request_body import body_of
from .request_log import record_of
from .services import Services, ServiceSource

T = TypeVar("T")

Granted: TypeAlias = Annotated[Authorization, Depends(authorize)]


async def _services(connection: HTTPConnection, granted: Granted) -> Services:
    source: ServiceSource = connection.app.state.source
    return granted.scope(source.services)


async def checked_route(connection: HTTPConnection) -> None:
    """Dependency of all routes: name the route for metrics, and raise Unprocessable for text that no database can
    search for. Bodies are checked elsewhere."""
    if (record := record_of(connection.scope)) is not None:
        record.route = connection.scope["route"].path
    if b"%00" in connection.scope["query_string"] or "\x00" in connection.scope["path"]:
        raise Unprocessable("The URL contains a NUL character (%00), which no name or id here can contain; remove it")


class JsonBody(Generic[T]):
    """Dependency that reads the body, within the server's limit, as the type of ``adapter``, with the changes of auth
    handlers."""

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        self.adapter = adapter

    async def __call__(self, request: Request, granted: Granted) -> T:
        source: ServiceSource = request.app.state.source
        raw = await body_of(request, source.services.options.max_body_bytes)
        value = parse_json(raw)
        parsed = typed(granted.changed(value), self.adapter)
        add_remarks(request, unknown(unknown_fields(value, parsed)))
        return parsed


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; strict JSON for any state of a graph."""
    return Response(encode(value), status, headers, "application/json")


def empty_response(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response without a body."""
    return Response(None, status, headers)


ServicesDep: TypeAlias = Annotated[Services, Depends(_services)]
ThreadId: TypeAlias = Annotated[ThreadIdField, Path()]
RunId: TypeAlias = Annotated[RunIdField, Path()]
CheckpointId: TypeAlias = Annotated[CheckpointIdField, Path()]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset: TypeAlias = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Namespaces: TypeAlias = Annotated[
    list[str] | None, Query(description="Only events of these graphs inside the run; the root's namespace is empty.")
]
Action: TypeAlias = Annotated[
    str, Query(description="`rollback`, or `interrupt`; anything else interrupts, and a header says so.")
]
Select: TypeAlias = Annotated[list[str] | None, Query()]


def names_of(texts: list[str] | None) -> list[str] | None:
    """Return names from repeated parameters, separated by commas, or from a JSON list (as the JavaScript SDK 2.0.0
    sends)."""
    names = [name.strip(' "[]') for text in texts or () for name in text.split(",")]
    return [name for name in names if name] or None
