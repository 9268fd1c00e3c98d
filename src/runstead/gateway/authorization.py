"""Asks the auth handlers, once per request and before its route, and carries their answer out.

Everything is done here: a route sees a body with the handlers' changes, and services in which what does not match their
filter is not there. Without handlers nothing of this happens.
"""

# No `from __future__ import annotations`: FastAPI reads the signature of the dependency.

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fastapi import Request
from starlette.requests import HTTPConnection

from runstead.resources.assistant_removal import MayTouch
from runstead.resources.assistants import AssistantExists
from runstead.resources.crons import CronNotFound
from runstead.resources.directory import AssistantNotFound, InvalidAssistant
from runstead.resources.threads import ThreadExists
from runstead.resources.webhooks import DeliveryNotFound
from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.wire.authorization import Authorizer, Filters, matches
from runstead.wire.body import parse_json
from runstead.wire.errors import Forbidden, NotFound
from runstead.wire.identifiers import as_uuid
from runstead.wire.runs import RUN_CREATE, RunCreate

from .asks import ASKS, ASSISTANT_FIELDS, OPEN_PATHS, Ask, Given
from .bodies import body_of
from .narrowing import GrantedItems, narrowed
from .services import Services, ServiceSource

_WITH_BODY: Final = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request was granted. ``changes`` replace fields of the body: one mapping for each of a batch, else one."""

    ask: Ask | None = None
    filters: Filters | None = None
    value: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[Mapping[str, Any]] = ()

    def changed(self, body: Any) -> Any:
        """The body as it was granted."""
        if isinstance(body, list):
            return [
                {**one, **change} if isinstance(one, dict) else one
                for one, change in zip(body, self.changes or [{}] * len(body), strict=True)
            ]
        return {**body, **self.changes[0]} if self.changes and isinstance(body, dict) else body

    def within(self, services: Services) -> Services:
        """The services as far as they were granted."""
        if self.ask is None:
            return services
        if self.ask.reach == "items":
            return dataclasses.replace(services, items=GrantedItems(services.items, self.value.get("namespace")))
        if self.ask.reach in ("search", "many runs") and self.filters:
            return narrowed(services, self.filters)
        return services


FREE: Final = Grant()
"""Nobody had to be asked."""


async def authorize(connection: HTTPConnection) -> Grant:
    """Dependency of every route that is not open. Raises Forbidden, Refused, and NotFound for what does not match."""
    scope = connection.scope
    if scope["route"].path in OPEN_PATHS:
        return FREE
    source: ServiceSource = connection.app.state.source
    services = source.services
    if services.authorizer is None:
        return FREE
    method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
    if (ask := ASKS.get((method, scope["route"].path))) is None:
        raise Forbidden("This server's auth handlers are not asked about this route, so nobody may use it")
    body = await _body(connection, method, services.options.max_body_bytes)
    bodies = body if isinstance(body, list) else [body]
    granted = [await _granted(services, services.authorizer, ask, _given(connection, one)) for one in bodies]
    changes = [change for one in granted for change in one.changes]
    return Grant(ask, granted[0].filters if granted else None, granted[0].value if granted else {}, changes)


async def _body(connection: HTTPConnection, method: str, limit: int) -> Any:
    if isinstance(connection, Request) and method in _WITH_BODY:
        return parse_json(await body_of(connection, limit))
    return {}


async def authorize_run(services: Services, thread_id: str | None, run: RunCreate) -> RunCreate:
    """The run as it was granted, for one that is not created by a route of its own. Raises as `authorize`."""
    if services.authorizer is None:
        return run
    body = run.model_dump(mode="json", exclude_unset=True)
    given = Given({"thread_id": thread_id} if thread_id else {}, {}, body)
    ask = ASKS["POST", "/threads/{thread_id}/runs"]
    granted = await _granted(services, services.authorizer, ask, given)
    changed = granted.changed(body)
    return run if changed == body else RUN_CREATE.validate_python(changed)


def may_touch(authorizer: Authorizer | None) -> MayTouch:
    """Asks the handlers about threads that go along with something else. What does not match their filter stays,
    unmentioned; it raises Forbidden and Refused.
    """

    async def may(action: Literal["update", "delete"], thread_id: str, metadata: Mapping[str, Any]) -> bool:
        if authorizer is None:
            return True
        actor = require_actor_context("authorization")
        return matches(metadata, await authorizer.authorize(actor, "threads", action, {"thread_id": thread_id}))

    return may


async def authorize_thread(services: Services, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata, as they were granted, of a thread that is not made by the route for it. Raises as `authorize`."""
    if services.authorizer is None:
        return metadata
    given = Given({}, {}, {"metadata": dict(metadata)})
    granted = await _granted(services, services.authorizer, ASKS["POST", "/threads"], given)
    changed: Mapping[str, Any] = granted.changed(given.body)["metadata"] or {}
    return changed


def _given(connection: HTTPConnection, body: Any) -> Given:
    path = {name: as_uuid(value) or value for name, value in connection.path_params.items()}
    return Given(path, dict(connection.query_params), body if isinstance(body, dict) else {})


async def _granted(services: Services, authorizer: Authorizer, ask: Ask, given: Given) -> Grant:
    value = ask.value(given)
    filters = await authorizer.authorize(require_actor_context("authorization"), ask.resource, ask.action, value)
    if ask.reach in ("new run", "new cron"):
        await _check_assistant_of_run(services, authorizer, given)
    if ask.reach == "new cron" and "thread_id" in given.path:
        await _check_thread_of_cron(services, authorizer, given.path["thread_id"])
    if filters:
        await _check(services, ask, given, filters)
    return Grant(ask, filters, value, [_changes(ask, given, value)])


def _changes(ask: Ask, given: Given, value: Mapping[str, Any]) -> dict[str, Any]:
    """What the handlers made of the body: its metadata, and of a run also what it is executed with."""
    before = ask.value(given)
    changes: dict[str, Any] = {}
    if "metadata" in before and value.get("metadata") != before["metadata"]:
        changes["metadata"] = value.get("metadata")
    for part in ("kwargs", "payload"):
        now = value.get(part)
        if isinstance(now, Mapping) and isinstance(before.get(part), Mapping):
            changes.update({name: each for name, each in now.items() if each != before[part].get(name)})
    if ask.resource == "assistants" and ask.action in ("create", "update"):
        own = [name for name in (*ASSISTANT_FIELDS, "version") if name != "assistant_id" and name in value]
        changes.update({name: value[name] for name in own if value[name] != before.get(name)})
    return changes


async def _check(services: Services, ask: Ask, given: Given, filters: Filters) -> None:
    """Raises as if what does not match did not exist. What does not exist is left to the route."""
    match ask.reach:
        case "thread":
            if not await _thread_matches(services, given.path["thread_id"], filters):
                raise NotFound(f"Thread with ID {given.path['thread_id']} not found")
        case "new thread":
            thread_id = _id(given.body.get("thread_id"))
            if thread_id and not await _thread_matches(services, thread_id, filters):
                raise ThreadExists(thread_id)
        case "new run":
            thread_id = given.path.get("thread_id") or _id(given.body.get("thread_id"))
            if thread_id and not await _thread_matches(services, thread_id, filters):
                raise ThreadNotFound(thread_id)
        case "run":
            await _check_run(services, given.path["run_id"], filters)
        case "delivery":
            delivery = await services.deliveries.get(given.path["delivery_id"])
            if delivery is not None and not matches(delivery.metadata, filters):
                raise DeliveryNotFound(delivery.delivery_id)
        case "cron":
            cron = await services.crons.get(given.path["cron_id"])
            if cron is not None and not matches(cron.metadata, filters):
                raise CronNotFound(cron.cron_id)
        case "many runs":
            thread_id = _id(given.body.get("thread_id"))
            if thread_id and not await _thread_matches(services, thread_id, filters):
                raise ThreadNotFound(thread_id)
            for run_id in given.body.get("run_ids") or ():
                await _check_run(services, str(run_id), filters)
        case "new assistant":
            found = await services.assistants.get(_id(given.body.get("assistant_id")) or "")
            if found and not matches(found.metadata, filters):
                raise AssistantExists(found.assistant_id)
        case "assistant":
            record = await services.directory.find(given.path["assistant_id"])
            if not matches(record.metadata, filters):
                raise AssistantNotFound(record.assistant_id)


async def _check_thread_of_cron(services: Services, authorizer: Authorizer, thread_id: str) -> None:
    actor = require_actor_context("authorization")
    filters = await authorizer.authorize(actor, "threads", "read", {"thread_id": thread_id, "metadata": {}})
    if filters and not await _thread_matches(services, thread_id, filters):
        raise ThreadNotFound(thread_id)


async def _thread_matches(services: Services, thread_id: str, filters: Filters) -> bool:
    if not as_uuid(thread_id):
        return True
    record = await services.threads.get(thread_id)
    return record is None or matches(record.metadata, filters)


async def _check_run(services: Services, run_id: str, filters: Filters) -> None:
    if not as_uuid(run_id):
        return
    run = await services.runs.get_run(run_id)
    # A stateless run's thread may be gone; its metadata began as the run's.
    thread = await services.threads.get(run.thread_id)
    if not matches(run.metadata if thread is None else thread.metadata, filters):
        raise RunNotFound(run_id)


async def _check_assistant_of_run(services: Services, authorizer: Authorizer, given: Given) -> None:
    name = given.body.get("assistant_id")
    if not isinstance(name, str):
        return
    try:
        assistant = await services.directory.find(name)
    except (AssistantNotFound, InvalidAssistant):
        # The route says it in its own words.
        return
    actor = require_actor_context("authorization")
    asked = {"assistant_id": assistant.assistant_id, "metadata": {}}
    filters = await authorizer.authorize(actor, "assistants", "read", asked)
    if not matches(assistant.metadata, filters):
        raise NotFound("Thread or assistant not found.")


def _id(value: Any) -> str | None:
    return as_uuid(value) if isinstance(value, str) else None
