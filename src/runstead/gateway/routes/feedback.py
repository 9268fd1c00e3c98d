"""Routes for feedback on runs and messages. Specific to Runstead.

Feedback belongs to a run, and is authorized like reading it: giving feedback changes neither the run nor the thread.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from runstead.resources.feedback import FeedbackFilter, FeedbackNotFound
from runstead.runtime.actor_context import thread_access
from runstead.wire.feedback import (
    FEEDBACK_PUT,
    FEEDBACK_SEARCH,
    FeedbackPut,
    FeedbackSearch,
    MessageId,
    from_feedback_record,
)

from ..auth import policy
from ..dependencies import JsonBody, Limit, Offset, RunId, ServicesDep, ThreadId, answer, empty_response
from ..openapi import responses
from ..pages import counted
from ..route_declaration import declare
from ..services import Services

router = APIRouter(tags=["feedback"])

OfMessage = Annotated[MessageId | None, Query(description="Absent: the run as a whole.")]


@router.put("/threads/{thread_id}/runs/{run_id}/feedback")
@declare(policy.THREAD_READ, responses.FEEDBACK, writes=True)
async def put_feedback(
    thread_id: ThreadId,
    run_id: RunId,
    body: Annotated[FeedbackPut, Depends(JsonBody(FEEDBACK_PUT))],
    services: ServicesDep,
) -> Response:
    """Gives feedback on a run or one of its messages, in place of what the user gave before."""
    await services.runs.get_run(run_id, thread_id=thread_id)
    with thread_access(thread_id):
        return answer(from_feedback_record(await services.feedback.put(run_id, body.message_id, body.to_feedback())))


@router.get("/threads/{thread_id}/runs/{run_id}/feedback")
@declare(policy.THREAD_READ, responses.FEEDBACK_PAGE)
async def list_feedback(
    thread_id: ThreadId,
    run_id: RunId,
    request: Request,
    services: ServicesDep,
    message_id: OfMessage = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """Feedback of all users on a run and its messages, latest change first."""
    await services.runs.get_run(run_id, thread_id=thread_id)
    with thread_access(thread_id):
        where = FeedbackFilter(thread_id, run_id, message_id)
        return await _page(where, limit, offset, request, services)


@router.delete("/threads/{thread_id}/runs/{run_id}/feedback", status_code=204)
@declare(policy.THREAD_READ, responses.NO_CONTENT, writes=True)
async def delete_feedback(
    thread_id: ThreadId, run_id: RunId, services: ServicesDep, message_id: OfMessage = None
) -> Response:
    """Deletes the user's own feedback."""
    await services.runs.get_run(run_id, thread_id=thread_id)
    with thread_access(thread_id):
        if not await services.feedback.delete(run_id, message_id):
            raise FeedbackNotFound(run_id, message_id)
    return empty_response()


@router.post("/feedback/search")
@declare(policy.RUN_SEARCH, responses.FEEDBACK_PAGE)
async def search_feedback(
    body: Annotated[FeedbackSearch, Depends(JsonBody(FEEDBACK_SEARCH))], request: Request, services: ServicesDep
) -> Response:
    """Feedback on all runs that the user has access to, latest change first."""
    return await _page(body.to_filter(), body.limit or 10, body.offset or 0, request, services)


async def _page(where: FeedbackFilter, limit: int, offset: int, request: Request, services: Services) -> Response:
    found, headers = await counted(
        request,
        services,
        lambda: services.feedback.search(where, limit=limit, offset=offset),
        lambda: services.feedback.count(where),
        limit=limit,
        offset=offset,
    )
    return answer([from_feedback_record(record) for record in found], headers=headers)
