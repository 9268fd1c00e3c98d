"""Routes for existing runs: get, search, join, stream, cancel, retry, delete."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.types import RunFilter, RunRecord
from runstead.wire.errors import NotFound, Unprocessable
from runstead.wire.field_selection import check_select, selected
from runstead.wire.identifiers import ThreadIdField
from runstead.wire.operations import from_run_wait
from runstead.wire.pages import TOTAL
from runstead.wire.run_cancel import ALL_OVER, NOT_FOUND, remarks_on_stop, stop_action_of
from runstead.wire.run_records import RUN_FIELDS, WireRunStatus, from_run_record, metadata_of, statuses_of
from runstead.wire.runs import stream_modes_of

from ..auth import policy
from ..dependencies import (
    Action,
    Limit,
    Namespaces,
    Offset,
    RunId,
    Select,
    ServicesDep,
    ThreadId,
    answer,
    empty_response,
    names_of,
)
from ..keepalive_response import NO_VALUES, KeepaliveResponse
from ..location_headers import stream_headers, wait_headers
from ..openapi import responses
from ..pages import counted
from ..route_declaration import declare
from ..run_costs import costs_of_runs
from ..services import Services
from ..sse import EventStream
from .run_create import waiting_for

router = APIRouter(tags=["runs"])

Flag = Literal["0", "1", "true", "false", "True", "False"]
Modes = Annotated[list[str] | None, Query()]
LastEventId = Annotated[str | None, Header()]
Assistant = Annotated[
    str | None, Query(max_length=512, description="An assistant, or a graph, which stands for its default assistant.")
]
WithCost = Annotated[
    bool, Query(alias="cost", description="Add `cost` to each run: what its models cost so far, in US dollars.")
]
Metadata = Annotated[
    str | None, Query(max_length=4_096, description="A JSON object; runs match whose metadata contain all its pairs.")
]


@router.get("/runs")
@declare(policy.RUN_SEARCH, responses.RUNS)
async def search_runs(
    request: Request,
    services: ServicesDep,
    limit: Limit = 10,
    offset: Offset = 0,
    status: WireRunStatus | None = None,
    dead_letters: bool = False,
    select: Select = None,
    thread_id: ThreadIdField | None = None,
    assistant_id: Assistant = None,
    metadata: Metadata = None,
    tag: Annotated[list[str] | None, Query(description="Only runs whose config has all of these tags.")] = None,
    error: Annotated[
        str | None, Query(max_length=512, description="Only runs that failed with this class of error.")
    ] = None,
    with_cost: WithCost = False,
) -> Response:
    """Runs of all threads, newest first. ``dead_letters`` selects runs that were given up after losing their
    workers."""
    if (tag or error) and services.options.encrypts_values:
        raise Unprocessable("tag, error: this server stores them encrypted and cannot search for them; use metadata")
    where = RunFilter(
        thread_id,
        statuses_of(status),
        metadata_of(metadata),
        dead_letters,
        None if assistant_id is None else services.assistant_lookup.id_of(assistant_id),
        tag or (),
        error,
    )
    return await _page(request, services, where, limit, offset, names_of(select), with_cost)


@router.get("/threads/{thread_id}/runs")
@declare(policy.THREAD_RUN_SEARCH, responses.RUNS)
async def list_runs(
    thread_id: ThreadId,
    request: Request,
    services: ServicesDep,
    limit: Limit = 10,
    offset: Offset = 0,
    status: WireRunStatus | None = None,
    dead_letters: bool = False,
    select: Select = None,
    with_cost: WithCost = False,
) -> Response:
    where = RunFilter(thread_id, statuses_of(status), dead_letters_only=dead_letters)
    page = await _page(request, services, where, limit, offset, names_of(select), with_cost)
    if page.headers[TOTAL] == "0" and await services.threads.get(thread_id) is None:
        raise ThreadNotFound(thread_id)
    return page


@router.get("/threads/{thread_id}/runs/{run_id}")
@declare(policy.THREAD_READ, responses.RUN)
async def get_run(thread_id: ThreadId, run_id: RunId, services: ServicesDep, with_cost: WithCost = False) -> Response:
    return await _one(services, await services.runs.get_run(run_id, thread_id=thread_id), with_cost)


@router.get("/threads/{thread_id}/runs/{run_id}/waiting")
@declare(policy.THREAD_READ, responses.RUN_WAITING)
async def get_run_waiting(thread_id: ThreadId, run_id: RunId, services: ServicesDep) -> Response:
    """The reasons why a run does not go on: its time, a run of its thread, the slots, or a worker that is silent."""
    run = await services.runs.get_run(run_id, thread_id=thread_id)
    wait = await services.run_waits.read(run.run_id)
    return answer(from_run_wait(run, wait, services.options.lease_term, services.options.slots))


@router.get("/runs/{run_id}")
@declare(policy.RUN_READ, responses.RUN)
async def get_stateless_run(run_id: RunId, services: ServicesDep, with_cost: WithCost = False) -> Response:
    return await _one(services, await services.runs.get_run(run_id), with_cost)


@router.delete("/threads/{thread_id}/runs/{run_id}", status_code=204)
@declare(policy.THREAD_DELETE, responses.NO_CONTENT)
async def delete_run(thread_id: ThreadId, run_id: RunId, services: ServicesDep) -> Response:
    await services.runs.delete_run(run_id, thread_id=thread_id)
    return empty_response()


@router.get("/threads/{thread_id}/runs/{run_id}/join")
@declare(policy.THREAD_READ, responses.RUN_OUTPUT)
async def join_run(
    thread_id: ThreadId, run_id: RunId, services: ServicesDep, cancel_on_disconnect: Flag = "0"
) -> Response:
    record = await services.runs.get_run(run_id, thread_id=thread_id)
    wait = partial(services.runs.join_wait, record.run_id, cancel_on_disconnect=_is_set(cancel_on_disconnect))
    return waiting_for(record, wait, services)


@router.get("/runs/{run_id}/join")
@declare(policy.RUN_READ, responses.RUN_OUTPUT)
async def join_stateless_run(run_id: RunId, services: ServicesDep, cancel_on_disconnect: Flag = "0") -> Response:
    record = await services.runs.get_run(run_id)
    wait = partial(services.runs.join_wait, record.run_id, cancel_on_disconnect=_is_set(cancel_on_disconnect))
    return waiting_for(record, wait, services)


@router.get("/threads/{thread_id}/runs/{run_id}/stream")
@declare(policy.THREAD_READ, responses.EVENT_STREAM)
async def stream_run(
    thread_id: ThreadId,
    run_id: RunId,
    services: ServicesDep,
    stream_mode: Modes = None,
    namespace: Namespaces = None,
    cancel_on_disconnect: Flag = "0",
    last_event_id: LastEventId = None,
) -> Response:
    return await _joined(services, run_id, thread_id, stream_mode, namespace, cancel_on_disconnect, last_event_id)


@router.get("/runs/{run_id}/stream")
@declare(policy.RUN_READ, responses.EVENT_STREAM)
async def stream_stateless_run(
    run_id: RunId,
    services: ServicesDep,
    stream_mode: Modes = None,
    namespace: Namespaces = None,
    cancel_on_disconnect: Flag = "0",
    last_event_id: LastEventId = None,
) -> Response:
    return await _joined(services, run_id, None, stream_mode, namespace, cancel_on_disconnect, last_event_id)


@router.post("/threads/{thread_id}/runs/{run_id}/cancel")
@declare(policy.THREAD_UPDATE, responses.CANCELLED)
async def cancel_run(
    thread_id: ThreadId,
    run_id: RunId,
    services: ServicesDep,
    wait: Flag = "0",
    action: Action = "interrupt",
    reason: Literal["taken"] | None = None,
) -> Response:
    """Cancels the run. ``reason=taken`` records that another run has taken over its input."""
    stop, headers = stop_action_of(action), remarks_on_stop(action)
    if reason is not None and stop != "interrupt":
        raise Unprocessable("reason: 'taken' requires action=interrupt; a run that is rolled back leaves no record")
    try:
        record = await services.runs.get_run(run_id, thread_id=thread_id)
    except RunNotFound as error:
        raise NotFound(NOT_FOUND) from error
    if (await services.runs.cancel(run_id, action=stop, taken=reason == "taken")).effect == "already_ended":
        raise NotFound(ALL_OVER)
    if not _is_set(wait):
        return empty_response(202, headers)

    async def stopped() -> bytes:
        try:
            await services.runs.cancel(run_id, action=stop, wait=True)
        except RunNotFound:
            # The run was rolled back and deleted in the meantime, as requested.
            return NO_VALUES
        return NO_VALUES

    return KeepaliveResponse(stopped(), {**wait_headers(record), **headers}, keep_alive=services.options.heartbeat)


@router.post("/threads/{thread_id}/runs/{run_id}/retry")
@declare(policy.THREAD_UPDATE, responses.RUN)
async def retry_run(thread_id: ThreadId, run_id: RunId, services: ServicesDep) -> Response:
    """Retries a dead letter, with its attempts reset."""
    await services.runs.get_run(run_id, thread_id=thread_id)
    return answer(from_run_record(await services.runs.retry(run_id)))


@router.post("/runs/{run_id}/retry")
@declare(policy.RUN_UPDATE, responses.RUN)
async def retry_run_by_id(run_id: RunId, services: ServicesDep) -> Response:
    """Same as the route under the thread, for clients that know only the run's id."""
    return answer(from_run_record(await services.runs.retry(run_id)))


async def _joined(
    services: Services,
    run_id: RunId,
    thread_id: ThreadId | None,
    stream_mode: list[str] | None,
    namespaces: list[str] | None,
    cancel_on_disconnect: Flag,
    last_event_id: str | None,
) -> Response:
    stream = await services.runs.join_stream(
        run_id,
        thread_id=thread_id,
        last_event_id=last_event_id or None,
        modes=stream_modes_of(stream_mode or ()),
        namespaces=namespaces,
        cancel_on_disconnect=_is_set(cancel_on_disconnect),
    )
    with_ids = stream.record.spec.stream_resumable or bool(last_event_id)
    return EventStream(stream, stream_headers(stream.record), with_ids=with_ids)


async def _one(services: Services, record: RunRecord, with_cost: bool) -> Response:
    costs = await costs_of_runs(services, [record] if with_cost else [])
    return answer({**from_run_record(record), **costs.get(record.run_id, {})})


async def _page(
    request: Request,
    services: Services,
    where: RunFilter,
    limit: int,
    offset: int,
    select: list[str] | None,
    with_cost: bool,
) -> Response:
    check_select(select, RUN_FIELDS)
    found, headers = await counted(
        request,
        services,
        lambda: services.runs.list_runs(where, limit=limit, offset=offset),
        lambda: services.runs.count_runs(where),
        limit=limit,
        offset=offset,
    )
    costs = await costs_of_runs(services, found if with_cost else [])
    shown = [{**selected(from_run_record(one), select), **costs.get(one.run_id, {})} for one in found]
    return answer(shown, headers=headers)


def _is_set(flag: Flag) -> bool:
    return flag.lower() in ("1", "true")
