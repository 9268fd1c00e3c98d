"""Routes for approvals: list, get, answer, delegate, comment. Specific to Runstead.

An approval belongs to a thread, and is authorized like it; its delegate has access too.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from runstead.resources.approvals import ApprovalFilter, ApprovalId, ApprovalNotFound, ApprovalRecord
from runstead.wire.approvals import (
    APPROVAL_ANSWER,
    APPROVAL_COMMENT,
    APPROVAL_DELEGATION,
    ApprovalAnswerBody,
    ApprovalChoice,
    ApprovalComment,
    ApprovalDelegation,
    from_approval_event,
    from_approval_record,
)
from runstead.wire.identifiers import ApprovalIdField, RunIdField, ThreadIdField

from ..approval_answers import answer_approval
from ..auth import policy
from ..auth.audit import note
from ..dependencies import JsonBody, Limit, Offset, ServicesDep, answer
from ..openapi import responses
from ..pages import counted
from ..route_declaration import declare
from ..services import Services

router = APIRouter(prefix="/approvals", tags=["approvals"])

PathId = Annotated[ApprovalIdField, Path()]


@router.get("")
@declare(policy.APPROVAL_SEARCH, responses.APPROVALS)
async def list_approvals(
    request: Request,
    services: ServicesDep,
    state: ApprovalChoice = "open",
    thread_id: ThreadIdField | None = None,
    run_id: RunIdField | None = None,
    graph_id: str | None = None,
    delegate: str | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """Approvals of the user's threads and those delegated to the user, the longest waiting first."""
    where = ApprovalFilter(None if state == "any" else state, thread_id, run_id, graph_id, delegate)
    found, headers = await counted(
        request,
        services,
        lambda: services.approvals.search(where, limit=limit, offset=offset),
        lambda: services.approvals.count(where),
        limit=limit,
        offset=offset,
    )
    return answer([from_approval_record(record) for record in found], headers=headers)


@router.get("/{approval_id}")
@declare(policy.APPROVAL_READ, responses.APPROVAL)
async def get_approval(approval_id: PathId, services: ServicesDep) -> Response:
    """One approval, with what happened to it: ``events`` contain the comments."""
    return await _shown(approval_id, services)


@router.post("/{approval_id}/answer")
@declare(policy.APPROVAL_UPDATE, responses.APPROVAL)
async def post_answer(
    approval_id: PathId,
    body: Annotated[ApprovalAnswerBody, Depends(JsonBody(APPROVAL_ANSWER))],
    request: Request,
    services: ServicesDep,
) -> Response:
    """Answers, and continues the thread with the run ``answer_run_id``. Status 409 if the approval is not open."""
    await answer_approval(await _found(approval_id, services), body, request, services)
    return await _shown(approval_id, services)


@router.post("/{approval_id}/delegate")
@declare(policy.APPROVAL_UPDATE, responses.APPROVAL)
async def post_delegate(
    approval_id: PathId,
    body: Annotated[ApprovalDelegation, Depends(JsonBody(APPROVAL_DELEGATION))],
    request: Request,
    services: ServicesDep,
) -> Response:
    """Lets another user answer too, in place of the previous delegate."""
    record = await services.approvals.delegate(approval_id, body.user_id)
    note(request, delegate=body.user_id, thread_id=record.thread_id)
    return answer(from_approval_record(record))


@router.post("/{approval_id}/comments", status_code=201)
@declare(policy.APPROVAL_UPDATE, responses.APPROVAL_EVENT)
async def post_comment(
    approval_id: PathId,
    body: Annotated[ApprovalComment, Depends(JsonBody(APPROVAL_COMMENT))],
    services: ServicesDep,
) -> Response:
    """Adds a comment, also to an approval that is closed."""
    return answer(from_approval_event(await services.approvals.comment(approval_id, body.text)), 201)


async def _found(approval_id: ApprovalId, services: Services) -> ApprovalRecord:
    if (record := await services.approvals.get(approval_id)) is None:
        raise ApprovalNotFound(approval_id)
    return record


async def _shown(approval_id: ApprovalId, services: Services) -> Response:
    record = await _found(approval_id, services)
    return answer(from_approval_record(record, await services.approvals.events(approval_id)))
