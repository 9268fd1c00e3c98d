"""Routes for stored events of a thread's runs, in pages: messages, and all events. Specific to Runstead."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from runstead.runtime.actor_context import thread_access
from runstead.runtime.runs.store.event_store import RunEventCategory
from runstead.wire.run_events import event_page

from ..auth import policy
from ..dependencies import Limit, RunId, Select, ServicesDep, ThreadId, answer, names_of
from ..openapi import responses
from ..route_declaration import declare
from ..services import Services
from .threads import not_found

router = APIRouter(tags=["events"])

Seq = Annotated[int | None, Query(ge=0, le=2**53, description="A position in the thread's events.")]


@router.get("/threads/{thread_id}/messages")
@declare(policy.THREAD_READ, responses.EVENT_PAGE)
async def list_thread_messages(
    thread_id: ThreadId,
    services: ServicesDep,
    after: Seq = None,
    before: Seq = None,
    limit: Limit = 50,
    types: Select = None,
) -> Response:
    """Messages of all runs in order: the first ones after ``after``, the last ones before ``before``, or the latest."""
    if await services.threads.get(thread_id) is None:
        raise not_found(thread_id)
    return await _page(services, thread_id, None, ("message",), names_of(types), after, before, limit)


@router.get("/threads/{thread_id}/runs/{run_id}/messages")
@declare(policy.THREAD_READ, responses.EVENT_PAGE)
async def list_run_messages(
    thread_id: ThreadId,
    run_id: RunId,
    services: ServicesDep,
    after: Seq = None,
    before: Seq = None,
    limit: Limit = 50,
    types: Select = None,
) -> Response:
    await services.runs.get_run(run_id, thread_id=thread_id)
    return await _page(services, thread_id, run_id, ("message",), names_of(types), after, before, limit)


@router.get("/threads/{thread_id}/runs/{run_id}/events")
@declare(policy.THREAD_READ, responses.EVENT_PAGE)
async def list_run_events(
    thread_id: ThreadId,
    run_id: RunId,
    services: ServicesDep,
    after: Seq = None,
    before: Seq = None,
    limit: Limit = 50,
    types: Select = None,
) -> Response:
    await services.runs.get_run(run_id, thread_id=thread_id)
    return await _page(services, thread_id, run_id, (), names_of(types), after, before, limit)


async def _page(
    services: Services,
    thread_id: str,
    run_id: str | None,
    categories: tuple[RunEventCategory, ...],
    types: list[str] | None,
    after: int | None,
    before: int | None,
    limit: int,
) -> Response:
    """Return a page of a thread, or of a run on it, to which the caller has checked access."""
    with thread_access(thread_id):
        found = await services.events.list_events(
            thread_id,
            run_id=run_id,
            categories=categories,
            event_types=types or (),
            after=after,
            before=before,
            limit=limit + 1,
        )
    return answer(event_page(found, limit=limit, backwards=after is None))
