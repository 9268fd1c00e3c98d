"""The loop that fires the deadlines of approvals, and the runs with their default answers."""

from __future__ import annotations

from dataclasses import replace

from runstead.auth.api_keys import AUTH_SOURCE
from runstead.gateway.auth.authorization import authorize_run
from runstead.gateway.services import Services
from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.approvals.deadlines import ApprovalDeadlines
from runstead.infra.storage.approval_deadlines import SqlApprovalDeadlines
from runstead.resources.approvals import ApprovalRecord
from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.runs.approvals import ApprovalAnswer
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.types import RunSpec, ThreadId
from runstead.settings import Settings
from runstead.wire.approvals import run_with_answer
from runstead.wire.configs import Continued
from runstead.wire.errors import Forbidden
from runstead.wire.runs import to_run_spec

from .approvals import approval_rules
from .opening import Parts
from .run_access import RunAccessCheck


def approval_deadlines(
    parts: Parts,
    services: Services,
    access: RunAccessCheck,
    settings: Settings,
    configuration: GraphConfiguration,
) -> ApprovalDeadlines:
    """Return a loop that is not running yet."""
    profile = parts.profile
    store = SqlApprovalDeadlines(profile.database, profile.clock, approval_rules(settings, configuration))

    async def notify(thread_id: ThreadId) -> None:
        parts.webhooks.notify()
        await profile.notices.notify_state_change(thread_id)

    async def answer(record: ApprovalRecord) -> None:
        actor = require_actor_context("a default answer")
        if actor.auth_source == AUTH_SOURCE and await access.has_lost_key(actor):
            raise Forbidden(f"the API key {actor.subject_id} of the user who asked is revoked")
        spec = replace(await _spec_of(record, services), approval=ApprovalAnswer(record.approval_id, by="deadline"))
        run = await services.runs.create_background(spec)
        if services.audit is not None:
            await services.audit.record(
                actor,
                action="threads.create_run",
                route="approvals: default answer",
                status=200,
                target={"thread_id": run.thread_id, "run_id": run.run_id, "approval_id": record.approval_id},
                details={"decision": record.default},
            )

    return ApprovalDeadlines(
        parts.handled.approval_deadlines(store), answer, notify, parts.approval_bell, profile.clock
    )


async def _spec_of(record: ApprovalRecord, services: Services) -> RunSpec:
    """Return the run with the default answer. It is authorized as if the user who asked had created it."""
    create = await authorize_run(services, record.thread_id, run_with_answer(record, record.default))
    assistant = await services.assistant_lookup.find(create.assistant_id)
    services.assistant_lookup.check_graph(assistant.graph_id)
    thread = await services.threads.get(record.thread_id)
    if thread is None:
        raise ThreadNotFound(record.thread_id)
    continued = await _continued(record, services)
    spec = to_run_spec(create, assistant=assistant, thread_id=record.thread_id, thread=thread, continued=continued)
    await services.assistant_lookup.check_context(spec.graph_id, spec.context)
    await services.interrupts.check_answers(spec)
    return spec


async def _continued(record: ApprovalRecord, services: Services) -> Continued | None:
    if record.run_id is None:
        return None
    try:
        asked = await services.runs.get_run(record.run_id)
    except RunNotFound:
        return None
    return Continued(asked.assistant_id, asked.spec.config.get("configurable") or {}, asked.spec.context or {})
