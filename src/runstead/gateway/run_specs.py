"""Conversion of a request for runs to their specifications, including lookup of the named assistants and threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import HTTPConnection, Request
from uuid_utils.compat import uuid7

from runstead.resources.assistant_lookup import AssistantNotFound
from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.redaction import CONTINUED, REQUEST_ID, TRACEPARENT, identity_keys, without_origin
from runstead.runtime.runs.secrets import SECRETS_KEY
from runstead.runtime.runs.types import RunId, RunRecord, RunSpec, ThreadId
from runstead.wire.configs import Continued
from runstead.wire.errors import NotFound, Unprocessable
from runstead.wire.headers import came_with_request, configurable_of
from runstead.wire.remarks import identity_remarks
from runstead.wire.runs import RunCreate, continues, to_run_spec

from .auth.audit import decisions_of, note
from .idempotency import with_idempotency
from .remark_headers import add_remarks
from .request_log import record_of
from .services import Services

_MAX_SECRETS: Final = 64 * 1024


async def run_specs_of(
    asked: Sequence[tuple[RunCreate, ThreadId | None]], request: HTTPConnection, services: Services
) -> list[RunSpec]:
    """Return the specifications of the runs that a request creates, each with its thread.

    Raises as `_run_spec_of`, and InvalidAnswer.
    """
    specs = [await _run_spec_of(body, thread_id, request, services) for body, thread_id in asked]
    add_remarks(request, [sentence for body, _ in asked for sentence in remarks_on_identity(body)])
    if isinstance(request, Request):
        specs = await with_idempotency(request, specs, services.options.max_body_bytes)
    for spec in specs:
        await services.interrupts.check_answers(spec)
    if decisions := decisions_of(specs):
        note(request, decision=decisions[0] if len(decisions) == 1 else decisions)
    return specs


def remarks_on_identity(run: RunCreate) -> list[str]:
    """Return sentences about identity keys in the request that differ from the authenticated user and have no
    effect."""
    actor = require_actor_context("a run")
    if not actor.is_authenticated:
        return []
    configurable = (run.config.configurable if run.config else None) or run.context or {}
    return identity_remarks(configurable, identity_keys(actor))


async def _run_spec_of(
    body: RunCreate, thread_id: ThreadId | None, request: HTTPConnection, services: Services
) -> RunSpec:
    """Return the specification of one run.

    Raises NotFound, InvalidAssistant, GraphNotFound, ThreadNotFound, CheckpointNotFound, WebhookRefused,
    ContextIncomplete, and as `to_run_spec`.
    """
    try:
        assistant = await services.assistant_lookup.find(body.assistant_id)
    except AssistantNotFound as error:
        raise NotFound("Thread or assistant not found.") from error
    services.assistant_lookup.check_graph(assistant.graph_id)
    thread = await services.threads.get(thread_id) if thread_id else None
    if thread_id and thread is None and body.if_not_exists != "create":
        raise ThreadNotFound(thread_id)
    headers = configurable_of(request.headers, services.options.configurable_headers)
    if body.webhook is not None:
        await services.webhooks.check(body.webhook)
    continued = await services.configs.latest_run(thread_id) if thread_id and thread and continues(body) else None
    spec = to_run_spec(
        body,
        assistant=assistant,
        thread_id=thread_id,
        thread=thread,
        headers=headers,
        continued=_continued(continued, assistant.graph_id, services.options.configurable_headers),
    )
    await services.assistant_lookup.check_context(spec.graph_id, spec.context)
    if spec.checkpoint and spec.thread_id:
        await services.states.check_checkpoint(spec.thread_id, spec.checkpoint)
    return await _with_secrets(_with_origin(spec, request, continued), body, services)


def _with_origin(spec: RunSpec, request: HTTPConnection, continued: RunRecord | None) -> RunSpec:
    """Return the run with the id of its request, which is in the log lines of both, and with its trace.

    The trace of the run that it continues is linked.
    """
    if (record := record_of(request.scope)) is None:
        return spec
    given = without_origin(spec.config.get("configurable", {}))
    configurable = {**given, REQUEST_ID: record.request_id, **record.origin}
    if record.origin and continued is not None:
        earlier = continued.spec.config.get("configurable", {}).get(TRACEPARENT)
        configurable |= {} if earlier is None else {CONTINUED: earlier}
    return replace(spec, config={**spec.config, "configurable": configurable})


def _continued(run: RunRecord | None, graph_id: str, is_let_in: Callable[[str], bool]) -> Continued | None:
    """Return the values that a run takes over from ``run``, which it continues; None if that run has another graph."""
    if run is None or run.spec.graph_id != graph_id:
        return None

    # Values from headers belong to the earlier request and its caller; this request brings its own.
    def kept(values: JsonMapping) -> JsonObject:
        return {name: value for name, value in values.items() if not came_with_request(name, is_let_in)}

    configurable = kept(run.spec.config.get("configurable") or {})
    return Continued(run.assistant_id, configurable, kept(run.spec.context or {}))


async def _with_secrets(spec: RunSpec, body: RunCreate, services: Services) -> RunSpec:
    """Return the run with the names of its secrets, which are kept apart from it. Raises Unprocessable."""
    configurable = {name: value for name, value in spec.config.get("configurable", {}).items() if name != SECRETS_KEY}
    if not body.secrets:
        return replace(spec, config={**spec.config, "configurable": configurable})
    if services.run_secrets is None:
        raise Unprocessable("secrets: this server passes none on, for its Redis is not encrypted (set encryption_keys)")
    if sum(len(name) + len(value) for name, value in body.secrets.items()) > _MAX_SECRETS:
        raise Unprocessable(f"secrets: they may have {_MAX_SECRETS} characters together")
    run_id = spec.run_id or RunId(str(uuid7()))
    await services.run_secrets.put(require_actor_context("secrets of a run"), run_id, body.secrets)
    named = {**configurable, SECRETS_KEY: sorted(body.secrets)}
    return replace(spec, run_id=run_id, config={**spec.config, "configurable": named})
