"""Routes for threads: create, search, get, update, copy, delete."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from runstead.resources.states import Update
from runstead.resources.threads import ThreadFilter, ThreadRecord
from runstead.runtime.actor_context import thread_access
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.wire.errors import Conflict, NotFound
from runstead.wire.field_selection import Paths, check_select, selected
from runstead.wire.pages import page_headers
from runstead.wire.remarks import ENCRYPTED_VALUES, OMITTED_VALUES
from runstead.wire.threads import (
    THREAD_COUNT,
    THREAD_CREATE,
    THREAD_FIELDS,
    THREAD_PATCH,
    THREAD_PRUNE,
    THREAD_SEARCH,
    ThreadCount,
    ThreadCreate,
    ThreadPatch,
    ThreadPrune,
    ThreadSearch,
    check_include,
    from_checkpoint_bytes,
    from_thread_record,
    from_ttl,
    supersteps_of,
    ttl_of,
)

from ..auth import policy
from ..auth.audit import note
from ..auth.authorization import authorize_thread
from ..dependencies import JsonBody, Select, ServicesDep, ThreadId, answer, empty_response, names_of
from ..openapi import responses
from ..remark_headers import add_remarks
from ..route_declaration import declare
from ..services import Services

router = APIRouter(tags=["threads"])


@router.post("/threads")
@declare(policy.THREAD_CREATE, responses.THREAD)
async def create_thread(
    body: Annotated[ThreadCreate, Depends(JsonBody(THREAD_CREATE))], services: ServicesDep, request: Request
) -> Response:
    steps, ttl = supersteps_of(body), ttl_of(body.ttl)
    # An existing thread is returned unchanged: supersteps are not applied again.
    if body.thread_id and body.if_exists == "do_nothing" and (found := await services.threads.get(body.thread_id)):
        return answer(from_thread_record(found))
    record = await services.threads.create(
        body.thread_id, metadata=body.metadata, ttl=ttl, if_exists=body.if_exists or "raise"
    )
    note(request, thread_id=record.thread_id)
    return answer(from_thread_record(await _with_a_past(services, record, steps)))


@router.post("/threads/search")
@declare(policy.THREAD_SEARCH, responses.THREADS)
async def search_threads(
    body: Annotated[ThreadSearch, Depends(JsonBody(THREAD_SEARCH))], services: ServicesDep, request: Request
) -> Response:
    _remark_on_values(request, services, body.values)
    check_select(body.select, THREAD_FIELDS)
    paths = Paths(body.extract, THREAD_FIELDS) if body.extract else None
    wants_values = not body.select or "values" in body.select or (paths is not None and "values" in paths.roots)
    where, limit, offset = body.to_filter(), body.limit or 10, body.offset or 0
    found = await services.threads.search(
        where,
        sort_by=body.sort_by or "updated_at",
        sort_order=body.sort_order or "desc",
        limit=limit,
        offset=offset,
        values_bytes=services.options.max_page_bytes if wants_values else 0,
    )
    if wants_values and (omitted := sum(record.omits_values for record in found)):
        add_remarks(request, [OMITTED_VALUES.format(count=omitted)])
    # A page that is not full is the last one, so that no count query is needed.
    total = offset + len(found) if 0 < len(found) < limit else await services.threads.count(where)
    shown = []
    for record in found:
        fields = from_thread_record(record)
        extracted = {"extracted": paths.read(fields)} if paths else {}
        shown.append({**selected(fields, body.select), **extracted})
    return answer(shown, headers=page_headers(offset=offset, returned=len(found), total=total))


@router.post("/threads/count")
@declare(policy.THREAD_SEARCH, responses.COUNTED)
async def count_threads(
    body: Annotated[ThreadCount, Depends(JsonBody(THREAD_COUNT))], services: ServicesDep, request: Request
) -> Response:
    _remark_on_values(request, services, body.values)
    return answer(await services.threads.count(body.to_filter()))


@router.post("/threads/prune")
@declare(policy.THREAD_PRUNE, responses.PRUNED)
async def prune_threads(
    body: Annotated[ThreadPrune, Depends(JsonBody(THREAD_PRUNE))], services: ServicesDep
) -> Response:
    """Deletes threads, or all but their latest state. Missing threads are not counted. ``delete`` stops their runs;
    ``keep_latest`` refuses threads with runs in flight."""
    found = await services.threads.search(ThreadFilter(ids=body.thread_ids), limit=len(body.thread_ids), values_bytes=0)
    if body.strategy != "keep_latest":
        for record in found:
            await services.thread_service.remove(record.thread_id)
        return answer({"pruned_count": len(found)})
    if busy := [record.thread_id for record in found if record.status == "busy"]:
        raise Conflict(f"Threads with runs in flight cannot be pruned, and none was: {', '.join(busy)}")
    pruned = [await services.thread_service.keep_latest(record.thread_id) for record in found]
    return answer({"pruned_count": sum(pruned)})


@router.get("/threads/{thread_id}/storage")
@declare(policy.THREAD_READ)
async def measure_thread(thread_id: ThreadId, services: ServicesDep) -> Response:
    """Size of the thread's states in bytes, by channel."""
    try:
        return answer(from_checkpoint_bytes(thread_id, await services.states.measure(thread_id)))
    except ThreadNotFound as error:
        raise not_found(thread_id) from error


@router.get("/threads/{thread_id}")
@declare(policy.THREAD_READ, responses.SELECTED_THREAD)
async def get_thread(thread_id: ThreadId, services: ServicesDep, include: Select = None) -> Response:
    with_ttl = check_include(names_of(include))
    if (record := await services.threads.get(thread_id)) is None:
        raise not_found(thread_id)
    more = {"ttl": from_ttl(await services.threads.get_ttl(thread_id), record)} if with_ttl else {}
    return answer({**from_thread_record(record), **more})


@router.post("/threads/{thread_id}/copy")
# The creation of the copy is authorized separately, when it is made.
@declare(policy.THREAD_READ, responses.THREAD, writes=True)
async def copy_thread(thread_id: ThreadId, services: ServicesDep) -> Response:
    if (record := await services.threads.get(thread_id)) is None:
        raise not_found(thread_id)
    metadata = await authorize_thread(services, record.metadata)
    return answer(from_thread_record(await services.thread_copies.copy(thread_id, metadata=metadata)))


@router.patch("/threads/{thread_id}")
@declare(policy.THREAD_PATCH, responses.THREAD_OR_NOTHING)
async def update_thread(
    thread_id: ThreadId,
    body: Annotated[ThreadPatch, Depends(JsonBody(THREAD_PATCH))],
    services: ServicesDep,
    prefer: Annotated[str | None, Header()] = None,
) -> Response:
    record = await services.threads.update(thread_id, metadata=body.metadata or {}, ttl=ttl_of(body.ttl))
    if record is None:
        raise not_found(thread_id)
    return empty_response() if prefer == "return=minimal" else answer(from_thread_record(record))


@router.delete("/threads/{thread_id}", status_code=204)
@declare(policy.THREAD_DELETE, responses.NO_CONTENT)
async def delete_thread(thread_id: ThreadId, services: ServicesDep) -> Response:
    if await services.threads.get(thread_id) is None:
        raise not_found(thread_id)
    await services.thread_service.remove(thread_id)
    return empty_response()


def _remark_on_values(request: Request, services: Services, values: object) -> None:
    if values and services.options.encrypts_values:
        add_remarks(request, [ENCRYPTED_VALUES])


async def _with_a_past(services: Services, record: ThreadRecord, steps: list[list[Update]]) -> ThreadRecord:
    if not steps:
        return record
    with thread_access(record.thread_id):
        try:
            await services.states.apply(record.thread_id, steps)
        except Exception:
            # The client never saw this thread: a corrected request must find its id free.
            await services.thread_service.remove(record.thread_id)
            raise
        return await services.threads.get(record.thread_id) or record


def not_found(thread_id: str) -> NotFound:
    return NotFound(f"Thread with ID {thread_id} not found")
