"""Routes for stored events of a thread's runs, in pages: messages, and all events. Specific to Runstead."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from runstead.resources.thread_messages import MessageNotFound
from runstead.resources.usage import cost_of
from runstead.runtime.actor_context import thread_access
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store.event_store import RunEventCategory
from runstead.wire.errors import Unprocessable
from runstead.wire.feedback import from_feedback_record
from runstead.wire.run_events import event_page, message_types
from runstead.wire.usage import from_usage

from ..auth import policy
from ..dependencies import Limit, RunId, Select, ServicesDep, ThreadId, answer, names_of
from ..openapi import responses
from ..route_declaration import declare
from ..services import Services
from .threads import not_found

router = APIRouter(tags=["events"])

MessageId = Annotated[str | None, Query(max_length=512, description="The id of a message of the thread.")]
Seq = Annotated[int | None, Query(ge=0, le=2**53, description="A position in the thread's events.")]


@router.get("/threads/{thread_id}/messages")
@declare(policy.THREAD_READ, responses.MESSAGE_PAGE)
async def list_thread_messages(
    thread_id: ThreadId,
    services: ServicesDep,
    after: MessageId = None,
    before: MessageId = None,
    limit: Limit = 50,
    types: Select = None,
) -> Response:
    """The chat in order: the first messages after ``after``, the last ones before ``before``, or the latest."""
    try:
        page = await services.messages.page(
            thread_id, after=after, before=before, types=message_types(names_of(types)), limit=limit
        )
    except ThreadNotFound as error:
        raise not_found(thread_id) from error
    except MessageNotFound as error:
        raise Unprocessable(str(error)) from error
    ids = [message["id"] for message in page.messages if isinstance(message.get("id"), str)]
    with thread_access(thread_id):
        given = await services.feedback.of_messages(thread_id, ids)
    feedback = [from_feedback_record(record) for record in given]
    return answer({"data": page.messages, "has_more": page.has_more, "feedback": feedback})


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


@router.get("/threads/{thread_id}/usage")
@declare(policy.THREAD_READ, responses.USAGE)
async def get_thread_usage(thread_id: ThreadId, services: ServicesDep) -> Response:
    """Usage of models by all runs of the thread, including rolled-back and deleted ones, and its cost."""
    if await services.threads.get(thread_id) is None:
        raise not_found(thread_id)
    with thread_access(thread_id):
        found = await services.usage.of_thread(thread_id)
    cost = await asyncio.to_thread(cost_of, found.models, services.prices)
    return answer({"thread_id": thread_id, "runs": found.runs, **from_usage(found.models, cost)})


async def _page(
    services: Services,
    thread_id: ThreadId,
    run_id: RunId | None,
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
