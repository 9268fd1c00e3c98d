"""Routes of the event protocol: a thread's events, and commands for it."""

# No `from __future__ import annotations`: FastAPI reads these signatures when the routes are created.

import logging
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, WebSocket
from pydantic import TypeAdapter
from starlette.responses import Response

from runstead.runtime.json_types import JsonObject
from runstead.wire.body import WireModel, parse_json
from runstead.wire.errors import Unprocessable
from runstead.wire.identifiers import as_uuid
from runstead.wire.protocol.commands import NOT_JSON, BadEnvelope, command_of, failure, failure_of, success
from runstead.wire.protocol.events import subscription_of
from runstead.wire.remarks import unknown

from ..auth import policy
from ..dependencies import JsonBody, ServicesDep, ThreadId, answer
from ..openapi import responses
from ..remark_headers import add_remarks
from ..request_body import body_of
from ..route_declaration import declare
from ..services import ServiceSource
from ..sse import ProtocolEventStream
from ..thread_commands import ThreadCommands
from ..thread_socket import ThreadSocket

router = APIRouter(tags=["protocol"])

_log = logging.getLogger(__name__)


class EventStreamRequest(WireModel):
    """Selection of events. Validated by `subscription_of`, with error texts that clients of the protocol know."""

    channels: object = None
    namespaces: object = None
    depth: object = None
    since: object = None


_COMMAND: JsonObject = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "method": {"type": "string"}, "params": {"type": "object"}},
    "required": ["id", "method"],
}
_ANSWERS: JsonObject = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {
                "type": {"enum": ["success", "error"]},
                "id": {},
                "result": {"type": "object"},
                "error": {"type": "string"},
                "message": {"type": "string"},
                "meta": {"type": "object"},
            },
            "required": ["type", "id"],
        }
    }
}

EventsBody = Annotated[EventStreamRequest, Depends(JsonBody(TypeAdapter(EventStreamRequest)))]


@router.post("/threads/{thread_id}/stream/events")
@declare(policy.THREAD_READ, responses.EVENT_STREAM)
async def stream_thread_events(thread_id: ThreadId, body: EventsBody, services: ServicesDep) -> Response:
    """Streams events of the thread, from run to run, until the client disconnects. The thread need not exist yet."""
    wanted = subscription_of(body.model_dump())
    return ProtocolEventStream(services.thread_events.open(thread_id, wanted))


@router.post("/threads/{thread_id}/stream")
@declare(policy.THREAD_READ, responses.EVENT_STREAM)
async def stream_thread(thread_id: ThreadId, body: EventsBody, services: ServicesDep) -> Response:
    """Same as stream/events, under the path of the protocol's specification."""
    return await stream_thread_events(thread_id, body, services)


@router.post(
    "/threads/{thread_id}/commands",
    responses={400: {"description": "Not a command.", "content": _ANSWERS}},
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _COMMAND}}}},
)
# Actions of a command beyond reading are authorized when it executes.
@declare(policy.THREAD_READ)
async def command_thread(thread_id: ThreadId, request: Request, services: ServicesDep) -> Response:
    """Executes one command. Responds with 200 even if the command fails; 400 only if the body is not a command."""
    raw = await body_of(request, services.options.max_body_bytes)
    try:
        envelope = parse_json(raw)
        command = command_of(envelope)
        add_remarks(request, unknown(name for name in envelope if name not in ("id", "method", "params")))
    except BadEnvelope as error:
        return answer(failure(error.command_id, "invalid_argument", str(error)), 400)
    except Unprocessable as error:
        is_broken = isinstance(error.__cause__, orjson.JSONDecodeError)
        return answer(failure(None, "invalid_argument", NOT_JSON if is_broken else str(error)), 400)
    if command.method.startswith("subscription."):
        message = "Subscriptions need a connection that lasts: use a WebSocket, or POST to stream/events."
        return answer(failure(command.id, "unsupported", message))
    try:
        result = await ThreadCommands(services, thread_id, request).execute(command)
    except Exception as error:
        body, status = failure_of(command, error)
        if status >= 500:
            _log.exception("%s on thread %s failed", command.method, thread_id)
        return answer(body)
    return answer(success(command, result))


@router.websocket("/threads/{thread_id}/stream/events")
@declare(policy.THREAD_READ)
async def connect_thread_events(socket: WebSocket, thread_id: str) -> None:
    await _connected(socket, thread_id)


@router.websocket("/threads/{thread_id}/stream")
@declare(policy.THREAD_READ)
async def connect_thread(socket: WebSocket, thread_id: str) -> None:
    await _connected(socket, thread_id)


async def _connected(socket: WebSocket, thread_id: str) -> None:
    source: ServiceSource = socket.app.state.source
    if (found := as_uuid(thread_id)) is None:
        raise Unprocessable("Invalid thread ID: must be a UUID")
    await ThreadSocket(socket, source.services, ThreadId(found)).serve()
