"""Threads: made, found, changed, forgotten."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header
from starlette.responses import Response

from runstead.wire.errors import NotFound
from runstead.wire.pages import page_headers
from runstead.wire.selection import Paths, check_select, selected
from runstead.wire.threads import (
    THREAD_COUNT,
    THREAD_CREATE,
    THREAD_FIELDS,
    THREAD_PATCH,
    THREAD_SEARCH,
    ThreadCount,
    ThreadCreate,
    ThreadPatch,
    ThreadSearch,
    from_thread_record,
    refuse_ttl,
    supersteps_of,
)

from ..dependencies import JsonBody, ThreadId, Use, answer, nothing

router = APIRouter(tags=["threads"])


@router.post("/threads")
async def create_thread(body: Annotated[ThreadCreate, Depends(JsonBody(THREAD_CREATE))], use: Use) -> Response:
    refuse_ttl(body.ttl)
    steps = supersteps_of(body)
    record = await use.threads.create(body.thread_id, metadata=body.metadata, if_exists=body.if_exists or "raise")
    if steps:
        await use.states.apply(record.thread_id, steps)
        record = await use.threads.get(record.thread_id) or record
    return answer(from_thread_record(record))


@router.post("/threads/search")
async def search_threads(body: Annotated[ThreadSearch, Depends(JsonBody(THREAD_SEARCH))], use: Use) -> Response:
    check_select(body.select, THREAD_FIELDS)
    paths = Paths(body.extract, THREAD_FIELDS) if body.extract else None
    where, limit, offset = body.to_filter(), body.limit or 10, body.offset or 0
    found = await use.threads.search(
        where,
        sort_by=body.sort_by or "updated_at",
        sort_order=body.sort_order or "desc",
        limit=limit,
        offset=offset,
    )
    # A page that is not full is the last one: then nobody has to count.
    total = offset + len(found) if 0 < len(found) < limit else await use.threads.count(where)
    shown = []
    for record in found:
        fields = from_thread_record(record)
        extracted = {"extracted": paths.read(fields)} if paths else {}
        shown.append({**selected(fields, body.select), **extracted})
    return answer(shown, headers=page_headers(offset=offset, returned=len(found), total=total))


@router.post("/threads/count")
async def count_threads(body: Annotated[ThreadCount, Depends(JsonBody(THREAD_COUNT))], use: Use) -> Response:
    return answer(await use.threads.count(body.to_filter()))


@router.get("/threads/{thread_id}")
async def get_thread(thread_id: ThreadId, use: Use) -> Response:
    if (record := await use.threads.get(thread_id)) is None:
        raise not_found(thread_id)
    return answer(from_thread_record(record))


@router.patch("/threads/{thread_id}")
async def update_thread(
    thread_id: ThreadId,
    body: Annotated[ThreadPatch, Depends(JsonBody(THREAD_PATCH))],
    use: Use,
    prefer: Annotated[str | None, Header()] = None,
) -> Response:
    refuse_ttl(body.ttl)
    record = await use.threads.update(thread_id, metadata=body.metadata or {})
    if record is None:
        raise not_found(thread_id)
    return nothing() if prefer == "return=minimal" else answer(from_thread_record(record))


@router.delete("/threads/{thread_id}", status_code=204)
async def delete_thread(thread_id: ThreadId, use: Use) -> Response:
    if await use.threads.get(thread_id) is None:
        raise not_found(thread_id)
    await use.removal.remove(thread_id)
    return nothing()


def not_found(thread_id: str) -> NotFound:
    return NotFound(f"Thread with ID {thread_id} not found")
