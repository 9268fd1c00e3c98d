"""Answers to approvals: the run that continues the thread, created only while the approval is open."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import HTTPConnection

from runstead.resources.approvals import ApprovalClosed, ApprovalRecord
from runstead.resources.interrupts import InvalidAnswer
from runstead.resources.response_schemas import violation
from runstead.runtime.actor_context import ActorContext, acting, require_actor_context
from runstead.runtime.runs.approvals import ApprovalAnswer
from runstead.runtime.runs.types import RunRecord
from runstead.wire.approvals import ApprovalAnswerBody, run_with_answer

from .auth.audit import note
from .auth.authorization import authorize_run
from .run_specs import run_specs_of
from .services import Services


async def answer_approval(
    record: ApprovalRecord, body: ApprovalAnswerBody, request: HTTPConnection, services: Services
) -> RunRecord:
    """Create the run with the answer.

    A delegate answers for the owner of the thread: the run then has the actor of the run that asked, and is authorized
    as if that user had created it. Raises ApprovalClosed, InvalidAnswer, and as the routes that create runs.
    """
    decider = require_actor_context("answering an approval")
    if record.state != "open" and "idempotency-key" not in request.headers:
        raise ApprovalClosed(record.approval_id, record.state, record.decider, record.closed_at)
    if (problem := violation(body.answer, record.response_schema)) is not None:
        raise InvalidAnswer(record.interrupt_id, problem)
    answer = ApprovalAnswer(record.approval_id, decider.user_id, "user", body.comment)
    note(request, approval_id=record.approval_id, thread_id=record.thread_id)
    with acting(await _acting_for(record, decider, services)):
        create = await authorize_run(services, record.thread_id, run_with_answer(record, body.answer))
        (spec,) = await run_specs_of([(create, record.thread_id)], request, services)
        run = await services.runs.create_background(replace(spec, approval=answer))
    note(request, run_id=run.run_id)
    return run


async def _acting_for(record: ApprovalRecord, decider: ActorContext, services: Services) -> ActorContext:
    if await services.threads.get(record.thread_id) is not None:
        return decider
    owner = await services.approvals.asker(record.approval_id)
    return decider if owner is None else owner
