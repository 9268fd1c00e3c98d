"""Route of the thread stream for older clients."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.wire.thread_stream import thread_modes_of

from ..auth import policy
from ..dependencies import ServicesDep, ThreadId
from ..openapi import responses
from ..route_declaration import declare
from ..sse import EventStream
from .threads import not_found

router = APIRouter(tags=["threads"])

Modes = Annotated[list[str] | None, Query()]


@router.get("/threads/{thread_id}/stream")
@declare(policy.THREAD_READ, responses.EVENT_STREAM)
async def join_thread(
    thread_id: ThreadId,
    services: ServicesDep,
    stream_mode: Modes = None,
    stream_modes: Modes = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Streams the frames of the thread's runs, from run to run, and updates of its state, until the client disconnects.

    Clients send ``stream_mode``, the reference server reads ``stream_modes``; both are accepted.
    """
    modes = thread_modes_of(stream_mode, stream_modes)
    try:
        joined = await services.thread_streams.open(thread_id, modes, last_event_id)
    except ThreadNotFound as error:
        raise not_found(thread_id) from error
    return EventStream(joined, {}, with_ids=True)
