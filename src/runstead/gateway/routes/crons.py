"""Routes for crons. Their runs are created by the scheduler, not here."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from runstead.resources.assistant_lookup import AssistantNotFound
from runstead.resources.crons import CronNotFound, CronRecord
from runstead.resources.schedules import Schedule
from runstead.runtime.actor_context import OWN_ONLY, acting, require_actor_context
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import AssistantId, CronId
from runstead.wire.crons import (
    CRON_COUNT,
    CRON_CREATE,
    CRON_FIELDS,
    CRON_PATCH,
    CRON_SEARCH,
    CronCount,
    CronCreate,
    CronPatch,
    CronSearch,
    changed,
    from_cron_record,
    run_of,
    to_cron,
    to_cron_spec,
)
from runstead.wire.errors import NotFound, Unprocessable
from runstead.wire.field_selection import check_select, selected
from runstead.wire.identifiers import CronIdField, as_uuid

from ..auth import policy
from ..auth.audit import note
from ..dependencies import JsonBody, ServicesDep, ThreadId, answer, empty_response
from ..pages import counted
from ..remark_headers import add_remarks
from ..route_declaration import declare
from ..run_specs import remarks_on_identity
from ..services import Services

router = APIRouter(tags=["crons"])

CronIdPath = Annotated[CronIdField, Path()]
Body = Annotated[CronCreate, Depends(JsonBody(CRON_CREATE))]


@router.post("/runs/crons")
@declare(policy.CRON_CREATE)
async def create_cron(body: Body, request: Request, services: ServicesDep) -> Response:
    """Creates a cron that runs on a new thread each time."""
    return await _created(body, None, request, services)


@router.post("/threads/{thread_id}/runs/crons")
@declare(policy.CRON_CREATE)
async def create_thread_cron(thread_id: ThreadId, body: Body, request: Request, services: ServicesDep) -> Response:
    """Creates a cron whose runs all use this thread. Deleting the thread deletes the cron."""
    return await _created(body, thread_id, request, services)


@router.post("/runs/crons/search")
@declare(policy.CRON_SEARCH)
async def search_crons(
    body: Annotated[CronSearch, Depends(JsonBody(CRON_SEARCH))], services: ServicesDep, request: Request
) -> Response:
    check_select(body.select, CRON_FIELDS)
    where = body.to_filter(await _assistant_id(body.assistant_id, services))
    limit, offset = body.limit or 10, body.offset or 0
    sort_by, sort_order = body.sort_by or "created_at", body.sort_order or "desc"
    found, headers = await counted(
        request,
        services,
        lambda: services.crons.search(where, sort_by=sort_by, sort_order=sort_order, limit=limit, offset=offset),
        lambda: services.crons.count(where),
        limit=limit,
        offset=offset,
    )
    return answer([selected(from_cron_record(record), body.select) for record in found], headers=headers)


@router.post("/runs/crons/count")
@declare(policy.CRON_COUNT)
async def count_crons(body: Annotated[CronCount, Depends(JsonBody(CRON_COUNT))], services: ServicesDep) -> Response:
    return answer(await services.crons.count(body.to_filter(await _assistant_id(body.assistant_id, services))))


@router.get("/runs/crons/{cron_id}")
@declare(policy.CRON_READ)
async def get_cron(cron_id: CronIdPath, services: ServicesDep) -> Response:
    return answer(from_cron_record(await _found(cron_id, services)))


@router.patch("/runs/crons/{cron_id}")
@declare(policy.CRON_UPDATE)
async def update_cron(
    cron_id: CronIdPath, body: Annotated[CronPatch, Depends(JsonBody(CRON_PATCH))], services: ServicesDep
) -> Response:
    before, now = await _found(cron_id, services), services.clock.now()
    # The cron may belong to another user who shares it. Its runs act for its owner, so they are checked with the
    # owner's thread and assistant.
    with acting(require_actor_context("changing a cron").with_access_to(before.thread_id, before.assistant_id)):
        await _check(changed(before, body, now), services)
    # Applied again inside the transaction: the first time was only a check.
    record = await services.crons.update(cron_id, lambda cron: changed(cron, body, now))
    if record is None:
        raise CronNotFound(cron_id)
    return answer(from_cron_record(record))


@router.delete("/runs/crons/{cron_id}", status_code=204)
@declare(policy.CRON_DELETE)
async def delete_cron(cron_id: CronIdPath, services: ServicesDep) -> Response:
    if not await services.crons.delete(cron_id):
        raise CronNotFound(cron_id)
    return empty_response()


async def _created(body: CronCreate, thread_id: ThreadId | None, request: Request, services: Services) -> Response:
    try:
        assistant = await services.assistant_lookup.find(body.assistant_id)
    except AssistantNotFound as error:
        raise NotFound("Thread or assistant not found.") from error
    cron = to_cron(
        body,
        cron_id=CronId(str(uuid7())),
        assistant_id=assistant.assistant_id,
        thread_id=thread_id,
        actor=require_actor_context("creating a cron").with_scope(OWN_ONLY),
        now=services.clock.now(),
    )
    await _check(cron, services)
    add_remarks(request, remarks_on_identity(run_of(cron)))
    note(request, cron_id=cron.cron_id)
    return answer(from_cron_record(await services.crons.create(cron)))


async def _check(cron: CronRecord, services: Services) -> None:
    """Check the cron's runs now, so that the client learns of errors, and not only when the cron is due."""
    _check_interval(cron, services)
    run = run_of(cron)
    assistant = await services.assistant_lookup.find(cron.assistant_id)
    services.assistant_lookup.check_graph(assistant.graph_id)
    thread = await services.threads.get(cron.thread_id) if cron.thread_id else None
    if cron.thread_id and thread is None:
        raise ThreadNotFound(cron.thread_id)
    if run.webhook is not None:
        await services.webhooks.check(run.webhook)
    spec = to_cron_spec(cron, run, assistant=assistant, thread=thread)
    await services.assistant_lookup.check_context(spec.graph_id, spec.context)


def _check_interval(cron: CronRecord, services: Services) -> None:
    """Raise Unprocessable for a cron that is due more often than this server allows."""
    shortest = services.options.cron_min_interval
    if shortest is None:
        return
    gap = Schedule.parse(cron.schedule, cron.timezone).shortest_gap(services.clock.now())
    if gap is not None and gap.total_seconds() < shortest:
        raise Unprocessable(
            f"schedule: it is due every {gap.total_seconds():g} s; "
            f"the shortest interval on this server is {shortest:g} s (setting cron_min_interval_seconds)"
        )


async def _found(cron_id: CronId, services: Services) -> CronRecord:
    if (record := await services.crons.get(cron_id)) is None:
        raise CronNotFound(cron_id)
    return record


async def _assistant_id(name: str | None, services: Services) -> AssistantId | None:
    """Return the id for an assistant's id or graph name. A missing assistant has no crons."""
    if name is None:
        return None
    try:
        return (await services.assistant_lookup.find(name)).assistant_id
    except AssistantNotFound:
        return AssistantId(as_uuid(name) or name)
