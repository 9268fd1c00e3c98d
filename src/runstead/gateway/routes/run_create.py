"""Routes that create runs: on a thread or stateless, in the background, streamed, or awaited."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from runstead.runtime.runs.types import RunRecord, RunResult
from runstead.wire.remarks import remarks_on
from runstead.wire.run_records import from_run_record
from runstead.wire.runs import RUN_BATCH, RUN_CREATE, RunCreate, check_batch

from ..auth import policy
from ..auth.audit import note
from ..dependencies import JsonBody, Namespaces, ServicesDep, ThreadId, answer
from ..keepalive_response import KeepaliveResponse, wait_body
from ..location_headers import created_headers, stream_headers, wait_headers
from ..openapi import responses
from ..route_declaration import declare
from ..run_specs import run_specs_of
from ..services import Services
from ..sse import EventStream

router = APIRouter(tags=["runs"])

Body = Annotated[RunCreate, Depends(JsonBody(RUN_CREATE))]
Batch = Annotated[list[RunCreate], Depends(JsonBody(RUN_BATCH))]


@router.post("/threads/{thread_id}/runs")
@declare(policy.NEW_RUN, responses.NEW_RUN)
async def create_run(thread_id: ThreadId, body: Body, request: Request, services: ServicesDep) -> Response:
    return await _created(body, thread_id, request, services)


@router.post("/runs")
@declare(policy.NEW_RUN, responses.NEW_RUN)
async def create_stateless_run(body: Body, request: Request, services: ServicesDep) -> Response:
    return await _created(body, None, request, services)


@router.post("/threads/{thread_id}/runs/stream")
@declare(policy.NEW_RUN, responses.EVENT_STREAM)
async def stream_new_run(
    thread_id: ThreadId, body: Body, request: Request, services: ServicesDep, namespace: Namespaces = None
) -> Response:
    return await _streamed(body, thread_id, request, services, namespace)


@router.post("/runs/stream")
@declare(policy.NEW_RUN, responses.EVENT_STREAM)
async def stream_new_stateless_run(
    body: Body, request: Request, services: ServicesDep, namespace: Namespaces = None
) -> Response:
    return await _streamed(body, None, request, services, namespace)


@router.post("/threads/{thread_id}/runs/wait")
@declare(policy.NEW_RUN, responses.RUN_OUTPUT)
async def wait_for_new_run(thread_id: ThreadId, body: Body, request: Request, services: ServicesDep) -> Response:
    return await _awaited(body, thread_id, request, services)


@router.post("/runs/wait")
@declare(policy.NEW_RUN, responses.RUN_OUTPUT)
async def wait_for_new_stateless_run(body: Body, request: Request, services: ServicesDep) -> Response:
    return await _awaited(body, None, request, services)


@router.post("/runs/batch")
@declare(policy.RUN_BATCH, responses.NEW_RUNS)
async def create_batch(bodies: Batch, request: Request, services: ServicesDep) -> Response:
    """Creates all runs of the batch, or none. A run with a thread_id runs on that thread."""
    check_batch(bodies)
    specs = await run_specs_of([(body, body.thread_id) for body in bodies], request, services)
    records = await services.runs.create_batch(specs)
    note(request, run_ids=[record.run_id for record in records])
    return answer([from_run_record(record) for record in records], headers=_remarks(bodies, services))


async def _created(body: RunCreate, thread_id: ThreadId | None, request: Request, services: Services) -> Response:
    (spec,) = await run_specs_of([(body, thread_id)], request, services)
    record = await services.runs.create_background(spec)
    return answer(from_run_record(record), headers={**created_headers(record), **_remarks([body], services)})


async def _streamed(
    body: RunCreate, thread_id: ThreadId | None, request: Request, services: Services, namespaces: list[str] | None
) -> Response:
    (spec,) = await run_specs_of([(body, thread_id)], request, services)
    record, stream = await services.runs.create_and_stream(spec, namespaces=namespaces)
    headers = {**stream_headers(record), **_remarks([body], services)}
    return EventStream(stream, headers, with_ids=spec.stream_resumable)


async def _awaited(body: RunCreate, thread_id: ThreadId | None, request: Request, services: Services) -> Response:
    (spec,) = await run_specs_of([(body, thread_id)], request, services)
    # Created first and joined afterwards, since the headers contain the run's id before it has ended.
    record, wait = await services.runs.create_to_wait(spec)
    return waiting_for(record, wait, services, headers=_remarks([body], services))


def waiting_for(
    record: RunRecord,
    wait: Callable[[], Awaitable[RunResult]],
    services: Services,
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response with the result of the run. ``wait`` must not keep the run's input in memory."""

    async def result() -> bytes:
        return wait_body(await wait())

    return KeepaliveResponse(
        result(), {**wait_headers(record), **(headers or {})}, keep_alive=services.options.heartbeat
    )


def _remarks(bodies: Sequence[RunCreate], services: Services) -> Mapping[str, str]:
    return remarks_on(bodies, is_traced=services.options.is_traced)
