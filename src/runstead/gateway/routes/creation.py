"""Runs come into being: on a thread or without one, in the background, streamed, or waited for."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from runstead.runtime.runs.types import RunRecord, RunSpec
from runstead.wire.run_records import from_run_record
from runstead.wire.runs import RUN_BATCH, RUN_CREATE, RunCreate, check_batch

from ..addresses import created_headers, stream_headers, wait_headers
from ..dependencies import JsonBody, ThreadId, Use, answer
from ..idempotency import once
from ..run_specs import run_spec_of
from ..services import Services
from ..sse import EventStream
from ..waiting import WaitingJson, wait_body

router = APIRouter(tags=["runs"])

Body = Annotated[RunCreate, Depends(JsonBody(RUN_CREATE))]
Batch = Annotated[list[RunCreate], Depends(JsonBody(RUN_BATCH))]


@router.post("/threads/{thread_id}/runs")
async def create_run(thread_id: ThreadId, body: Body, request: Request, use: Use) -> Response:
    return await _created(await _once(body, thread_id, request, use), use)


@router.post("/runs")
async def create_stateless_run(body: Body, request: Request, use: Use) -> Response:
    return await _created(await _once(body, None, request, use), use)


@router.post("/threads/{thread_id}/runs/stream")
async def stream_new_run(thread_id: ThreadId, body: Body, request: Request, use: Use) -> Response:
    return await _streamed(await _once(body, thread_id, request, use), use)


@router.post("/runs/stream")
async def stream_new_stateless_run(body: Body, request: Request, use: Use) -> Response:
    return await _streamed(await _once(body, None, request, use), use)


@router.post("/threads/{thread_id}/runs/wait")
async def wait_for_new_run(thread_id: ThreadId, body: Body, request: Request, use: Use) -> Response:
    return await _awaited(await _once(body, thread_id, request, use), use)


@router.post("/runs/wait")
async def wait_for_new_stateless_run(body: Body, request: Request, use: Use) -> Response:
    return await _awaited(await _once(body, None, request, use), use)


@router.post("/runs/batch")
async def create_batch(bodies: Batch, request: Request, use: Use) -> Response:
    """All runs of the batch, or none. Those that name a thread run on it."""
    check_batch(bodies)
    specs = [await run_spec_of(body, body.thread_id, request, use) for body in bodies]
    records = await use.runs.create_batch(await once(request, specs, use.options.max_body_bytes))
    return answer([from_run_record(record) for record in records])


async def _created(spec: RunSpec, use: Services) -> Response:
    record = await use.runs.create_background(spec)
    return answer(from_run_record(record), headers=created_headers(record))


async def _streamed(spec: RunSpec, use: Services) -> Response:
    record, stream = await use.runs.create_and_stream(spec)
    return EventStream(stream, stream_headers(record), with_ids=spec.stream_resumable)


async def _awaited(spec: RunSpec, use: Services) -> Response:
    # Created first and joined then, for the headers name the run before it has ended.
    record = await use.runs.create_background(spec)
    return waiting_for(record, use, cancel_on_disconnect=spec.on_disconnect == "cancel")


def waiting_for(record: RunRecord, use: Services, *, cancel_on_disconnect: bool) -> Response:
    """An answer with what the run will have come to."""

    async def result() -> bytes:
        return wait_body(await use.runs.join_wait(record.run_id, cancel_on_disconnect=cancel_on_disconnect))

    return WaitingJson(result(), wait_headers(record), keep_alive=use.options.heartbeat)


async def _once(body: RunCreate, thread_id: str | None, request: Request, use: Services) -> RunSpec:
    spec = await run_spec_of(body, thread_id, request, use)
    (spec,) = await once(request, [spec], use.options.max_body_bytes)
    return spec
