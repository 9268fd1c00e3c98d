"""Routes for thread states: read at any checkpoint, list the history, update."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from runstead.resources.states import Update
from runstead.runtime.actor_context import thread_access
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import CheckpointRef
from runstead.wire.field_selection import check_select, selected
from runstead.wire.remarks import remark_on_states
from runstead.wire.states import (
    HISTORY_QUERY,
    STATE_AT,
    STATE_FIELDS,
    STATE_OBJECTS,
    STATE_PATCH,
    STATE_UPDATE,
    HistoryQuery,
    StateAt,
    StatePatch,
    StateUpdate,
    before_of,
    from_thread_state,
    from_update,
    place_of,
)

from ..auth import policy
from ..dependencies import CheckpointId, JsonBody, Select, ServicesDep, ThreadId, answer, empty_response, names_of
from ..openapi import responses
from ..pages import bounded
from ..route_declaration import declare
from ..services import Services
from .threads import not_found

router = APIRouter(tags=["threads"])


@router.get("/threads/{thread_id}/state")
@declare(policy.THREAD_READ, responses.STATE)
async def get_state(
    thread_id: ThreadId, services: ServicesDep, subgraphs: bool = False, select: Select = None
) -> Response:
    return await _read(services, thread_id, None, subgraphs, names_of(select))


@router.post("/threads/{thread_id}/state")
@declare(policy.THREAD_UPDATE, responses.STATE_UPDATED)
async def update_state(
    thread_id: ThreadId, body: Annotated[StateUpdate, Depends(JsonBody(STATE_UPDATE))], services: ServicesDep
) -> Response:
    try:
        checkpoint = await services.states.update(thread_id, Update(body.values, body.as_node), at=body.place())
    except ThreadNotFound as error:
        raise not_found(thread_id) from error
    with thread_access(thread_id):
        thread = await services.threads.get(thread_id)
        if thread is not None and thread.status != "interrupted":
            await services.runs.question_answered(thread_id)
    return answer(from_update(checkpoint))


@router.patch("/threads/{thread_id}/state", status_code=204)
@declare(policy.STATE_PATCH)
async def patch_state(
    thread_id: ThreadId, body: Annotated[StatePatch, Depends(JsonBody(STATE_PATCH))], services: ServicesDep
) -> Response:
    if await services.threads.update(thread_id, metadata=body.metadata) is None:
        raise not_found(thread_id)
    return empty_response()


@router.post("/threads/{thread_id}/state/checkpoint")
@declare(policy.THREAD_READ, responses.STATE)
async def get_state_at(
    thread_id: ThreadId, body: Annotated[StateAt, Depends(JsonBody(STATE_AT))], services: ServicesDep
) -> Response:
    return await _read(services, thread_id, place_of(body.checkpoint, None), bool(body.subgraphs), body.select)


@router.get("/threads/{thread_id}/state/{checkpoint_id}")
@declare(policy.THREAD_READ, responses.STATE)
async def get_state_of_checkpoint(
    thread_id: ThreadId,
    checkpoint_id: CheckpointId,
    services: ServicesDep,
    subgraphs: bool = False,
    select: Select = None,
) -> Response:
    return await _read(services, thread_id, CheckpointRef(checkpoint_id), subgraphs, names_of(select))


@router.get("/threads/{thread_id}/history")
@declare(policy.THREAD_READ, responses.STATES)
async def list_history(
    thread_id: ThreadId,
    request: Request,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 10,
    before: str | None = None,
    select: Select = None,
) -> Response:
    return await _history(
        request, services, thread_id, HistoryQuery(limit=limit, before=before, select=names_of(select))
    )


@router.post("/threads/{thread_id}/history")
@declare(policy.THREAD_READ, responses.STATES)
async def search_history(
    thread_id: ThreadId,
    body: Annotated[HistoryQuery, Depends(JsonBody(HISTORY_QUERY))],
    services: ServicesDep,
    request: Request,
) -> Response:
    return await _history(request, services, thread_id, body)


async def _read(
    services: Services, thread_id: ThreadId, at: CheckpointRef | None, subgraphs: bool, select: list[str] | None
) -> Response:
    check_select(select, STATE_FIELDS, below=STATE_OBJECTS)
    try:
        state = await services.states.read(thread_id, at=at, subgraphs=subgraphs)
    except ThreadNotFound as error:
        raise not_found(thread_id) from error
    return answer(selected(from_thread_state(state), select), headers=remark_on_states([state]))


async def _history(request: Request, services: Services, thread_id: ThreadId, query: HistoryQuery) -> Response:
    check_select(query.select, STATE_FIELDS, below=STATE_OBJECTS)
    before, place = before_of(query.before), place_of(query.checkpoint, None)
    try:
        found, _ = await bounded(
            request,
            services,
            lambda: services.states.history(
                thread_id, limit=query.limit or 10, before=before, metadata=query.metadata, at=place
            ),
        )
    except ThreadNotFound as error:
        raise not_found(thread_id) from error
    shown = [selected(from_thread_state(state), query.select) for state in found]
    return answer(shown, headers=remark_on_states(found))
