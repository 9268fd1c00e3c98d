"""Runs come into being: on a thread or without one, in the background, streamed, or waited for."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from runstead.resources.directory import AssistantNotFound
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import RunRecord, RunSpec
from runstead.wire.errors import NotFound
from runstead.wire.run_records import from_run_record
from runstead.wire.runs import RUN_BATCH, RUN_CREATE, RunCreate, check_batch, to_run_spec

from ..addresses import created_headers, stream_headers, wait_headers
from ..dependencies import JsonBody, ThreadId, Use, answer
from ..services import Services
from ..sse import EventStream
from ..waiting import WaitingJson, wait_body

router = APIRouter(tags=["runs"])

Body = Annotated[RunCreate, Depends(JsonBody(RUN_CREATE))]
Batch = Annotated[list[RunCreate], Depends(JsonBody(RUN_BATCH))]


@router.post("/threads/{thread_id}/runs")
async def create_run(thread_id: ThreadId, body: Body, request: Request, use: Use) -> Response:
    return await _created(await _spec(body, thread_id, request, use), use)


@router.post("/runs")
async def create_stateless_run(body: Body, request: Request, use: Use) -> Response:
    return await _created(await _spec(body, None, request, use), use)


@router.post("/threads/{thread_id}/runs/stream")
async def stream_new_run(thread_id: ThreadId, body: Body, request: Request, use: Use) -> Response:
    return await _streamed(await _spec(body, thread_id, request, use), use)


@router.post("/runs/stream")
async def stream_new_stateless_run(body: Body, request: Request, use: Use) -> Response:
    return await _streamed(await _spec(body, None, request, use), use)


@router.post("/threads/{thread_id}/runs/wait")
async def wait_for_new_run(thread_id: ThreadId, body: Body, request: Request, use: Use) -> Response:
    return await _awaited(await _spec(body, thread_id, request, use), use)


@router.post("/runs/wait")
async def wait_for_new_stateless_run(body: Body, request: Request, use: Use) -> Response:
    return await _awaited(await _spec(body, None, request, use), use)


@router.post("/runs/batch")
async def create_batch(bodies: Batch, request: Request, use: Use) -> Response:
    """All runs of the batch, or none. Those that name a thread run on it."""
    check_batch(bodies)
    specs = [await _spec(body, body.thread_id, request, use) for body in bodies]
    return answer([from_run_record(record) for record in await use.runs.create_batch(specs)])


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


async def _spec(body: RunCreate, thread_id: str | None, request: Request, use: Services) -> RunSpec:
    try:
        assistant = await use.directory.find(body.assistant_id)
    except AssistantNotFound as error:
        raise NotFound("Thread or assistant not found.") from error
    thread = await use.threads.get(thread_id) if thread_id else None
    if thread_id and thread is None and body.if_not_exists != "create":
        raise ThreadNotFound(thread_id)
    headers = _configurable_headers(request.headers, use)
    spec = to_run_spec(body, assistant=assistant, thread_id=thread_id, thread=thread, headers=headers)
    if spec.checkpoint and spec.thread_id:
        await use.states.check_checkpoint(spec.thread_id, spec.checkpoint)
    return spec


def _configurable_headers(headers: Mapping[str, str], use: Services) -> dict[str, str]:
    return {name: value for name, value in headers.items() if use.options.configurable_headers(name)}
