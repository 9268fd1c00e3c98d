"""Authorization by auth handlers, once per request and before its route, and application of their results.

A route sees a body with the handlers' changes. Its actor can access exactly the objects that match the handlers'
filter, of any owner in the tenant, or without a filter the actor's own objects. Without handlers, none of this happens.
"""

# No `from __future__ import annotations`: FastAPI reads the signature of the dependency.

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, assert_never

from fastapi import Request
from starlette.requests import HTTPConnection

from runstead.resources.approvals import ApprovalId, ApprovalNotFound
from runstead.resources.assistant_lookup import AssistantNotFound, InvalidAssistant
from runstead.resources.assistant_service import MayTouch
from runstead.resources.assistants import AssistantExists, AssistantRecord
from runstead.resources.crons import CronNotFound
from runstead.resources.threads import ThreadExists
from runstead.resources.webhooks import DeliveryNotFound
from runstead.runtime.actor_context import (
    OWN_ONLY,
    AccessScope,
    ActorContext,
    acting,
    bind_actor_context,
    require_actor_context,
    thread_access,
)
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.types import AssistantId, CronId, RunId, RunRecord, ThreadId
from runstead.wire.authorization import Authorizer, Filters, filter_of, matches
from runstead.wire.body import parse_json
from runstead.wire.errors import Forbidden, NotFound
from runstead.wire.identifiers import as_uuid
from runstead.wire.runs import RUN_CREATE, RunCreate

from ..request_body import body_of
from ..route_declaration import declaration_of
from ..services import Services, ServiceSource
from .access_watch import AccessWatch
from .authentication import WATCH
from .policy import (
    ASSISTANT_FIELDS,
    METRICS,
    NEW_RUN,
    OPEN_PATHS,
    THREAD_CREATE,
    THREAD_READ,
    Permission,
    RequestView,
)
from .scoped_items import ScopedItems, item_changes, shared_namespace

_WITH_BODY: Final = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Authorization:
    """Authorization of one request, with its extent.

    ``changes`` replace fields of the body: one mapping for each element of a batch, otherwise one. ``items`` is the
    value for an item that the URL names, before and after the handlers.
    """

    ask: Permission | None = None
    reach: AccessScope = OWN_ONLY
    changes: Sequence[JsonMapping] = ()
    items: tuple[JsonMapping, JsonMapping] | None = None

    def changed(self, body: object) -> Any:
        """Return the body with the handlers' changes. An invalid body is returned unchanged, and the route refuses
        it."""
        if not self.changes:
            return body
        if self.ask is not None and self.ask.is_batch and isinstance(body, list):
            return [
                {**one, **change} if isinstance(one, dict) else one
                for one, change in zip(body, self.changes, strict=False)
            ]
        return {**body, **self.changes[0]} if isinstance(body, dict) else body

    def scope(self, services: Services) -> Services:
        """Return the services, restricted to what was authorized."""
        if self.items is None:
            return services
        return dataclasses.replace(services, items=ScopedItems(services.items, *self.items))


FREE: Final = Authorization()
"""Grant of a request for which no handler had to be called."""


async def authorize(connection: HTTPConnection) -> Authorization:
    """Authorize a request, as a dependency of every route that is not open. Raises Forbidden, Refused, and NotFound for
    objects that do not match.

    From then on, the request's actor has exactly the authorized access.
    """
    scope = connection.scope
    if scope["route"].path in OPEN_PATHS or scope["route"].path == METRICS:
        return FREE
    source: ServiceSource = connection.app.state.source
    services = source.services
    declaration = declaration_of(scope["route"].endpoint)
    ask = declaration.permission
    if not declaration.is_read or connection.query_params.get("cancel_on_disconnect", "0").lower() in ("1", "true"):
        check_write_access(services)
    if (authorizer := _authorizer(services)) is None:
        return FREE
    method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
    if ask is None:
        raise Forbidden("This server's auth handlers are not asked about this route, so it is closed to all users")
    body = await _body(connection, method, services.options.max_body_bytes) if ask.has_json_body else {}
    granted = [await _granted(services, authorizer, ask, _given(connection, one)) for one in ask.bodies(body)]
    watch: AccessWatch | None = scope.get(WATCH)
    if watch is not None and ask.action == "read":
        # For open streams only. Not for new runs: a handler may count the runs that it has allowed.
        watch.also_ask(partial(_granted, services, authorizer, ask, _given(connection, body)))
    changes = [change for one in granted for change in one.changes]
    reach = _together([one.reach for one in granted])
    # Authentication resets the binding after the response: its stream reads on with the same access.
    bind_actor_context(require_actor_context("authorization").with_scope(reach))
    return Authorization(ask, reach, changes, granted[0].items)


def is_read_only(services: Services, actor: ActorContext) -> bool:
    """Return whether the actor may only read: users with the scope of the setting read_only_scope."""
    scope = services.options.read_only_scope
    return scope is not None and not actor.is_server and scope in actor.scopes


def check_write_access(services: Services) -> None:
    """Raise Forbidden if the actor may only read. Called before anything is changed."""
    if is_read_only(services, require_actor_context("authorization")):
        scope = services.options.read_only_scope
        raise Forbidden(f"You may only read: your scope {scope!r} is that of readers (setting read_only_scope)")


def _authorizer(services: Services) -> Authorizer | None:
    """Return the authorizer; None for the server's own code, or if there is none."""
    return None if require_actor_context("authorization").is_server else services.authorizer


def _together(reaches: Sequence[AccessScope]) -> AccessScope:
    """Return the combined access of a batch: the threads and assistants of its runs, each of which was authorized."""
    if len(reaches) == 1:
        return reaches[0]
    return AccessScope(
        thread_ids=frozenset().union(*(reach.thread_ids for reach in reaches)),
        assistant_ids=frozenset().union(*(reach.assistant_ids for reach in reaches)),
    )


async def _body(connection: HTTPConnection, method: str, limit: int) -> object:
    if isinstance(connection, Request) and method in _WITH_BODY:
        return parse_json(await body_of(connection, limit))
    return {}


async def authorize_run(services: Services, thread_id: str | None, run: RunCreate) -> RunCreate:
    """Authorize a run that is not created by a route of its own, and return it with the handlers' changes. Raises as
    `authorize`.

    From then on, the actor has the access that the run needs: call this where the actor is bound for the run.
    """
    check_write_access(services)
    if (authorizer := _authorizer(services)) is None:
        return run
    body = run.model_dump(mode="json", exclude_unset=True)
    given = RequestView({"thread_id": thread_id} if thread_id else {}, {}, body)
    granted = await _granted(services, authorizer, NEW_RUN, given)
    bind_actor_context(require_actor_context("authorization").with_scope(granted.reach))
    changed = granted.changed(body)
    return run if changed == body else RUN_CREATE.validate_python(changed)


async def authorize_again(services: Services, run: RunRecord) -> None:
    """Authorize a run again that was authorized when it was created, and begins only now. The actor is bound.

    Raises as `authorize`. Changes by the handlers are ignored, since they were applied when it was created.
    """
    if (authorizer := _authorizer(services)) is None:
        return
    spec = run.spec
    body = {
        "assistant_id": run.assistant_id,
        "metadata": dict(spec.metadata),
        "config": dict(spec.config),
        "input": spec.input,
        "multitask_strategy": spec.multitask_strategy,
        "after_seconds": spec.after_seconds,
    }
    path = {} if spec.scope.kind == "stateless" else {"thread_id": run.thread_id}
    await _granted(services, authorizer, NEW_RUN, RequestView(path, {}, body))


async def authorize_read(services: Services, thread_id: ThreadId) -> None:
    """Authorize the bound actor to read a thread, without a request of its own. Raises as `authorize`."""
    if (authorizer := _authorizer(services)) is not None:
        await _granted(services, authorizer, THREAD_READ, RequestView({"thread_id": thread_id}, {}, {}))


def has_access(authorizer: Authorizer | None) -> MayTouch:
    """Return a check of threads that an operation affects in addition. Threads that do not match the handlers' filter
    are silently left alone; the check raises Forbidden and Refused."""

    async def may(action: Literal["update", "delete"], thread_id: str, metadata: JsonMapping) -> bool:
        actor = require_actor_context("authorization")
        if authorizer is None or actor.is_server:
            return True
        return matches(metadata, await authorizer.authorize(actor, "threads", action, {"thread_id": thread_id}))

    return may


async def authorize_thread(services: Services, metadata: JsonMapping) -> JsonMapping:
    """Authorize a thread that is not created by its own route, and return its metadata with the handlers' changes.
    Raises as `authorize`."""
    if (authorizer := _authorizer(services)) is None:
        return metadata
    given = RequestView({}, {}, {"metadata": dict(metadata)})
    granted = await _granted(services, authorizer, THREAD_CREATE, given)
    changed: JsonMapping = granted.changed(given.body)["metadata"] or {}
    return changed


def _given(connection: HTTPConnection, body: object) -> RequestView:
    path = {name: as_uuid(value) or value for name, value in connection.path_params.items()}
    return RequestView(path, dict(connection.query_params), body if isinstance(body, dict) else {})


async def _granted(services: Services, authorizer: Authorizer, ask: Permission, given: RequestView) -> Authorization:
    asked, value = ask.value(given), ask.value(given)
    actor = require_actor_context("authorization").with_scope(OWN_ONLY)
    filters = await authorizer.authorize(actor, ask.resource, ask.action, value)
    if ask.resource == "store":
        shared = shared_namespace(actor, asked, value)
        changes = item_changes(asked, value, ask.item_fields, filters if shared else None)
        return Authorization(ask, AccessScope(items=shared), [changes], None if ask.item_fields else (asked, value))
    with acting(actor):
        if filters:
            await _check(services, ask, given, filters)
        if ask.reach in ("new run", "new cron"):
            reach = await _reach_of_run(services, authorizer, actor, ask, given, filters)
        else:
            reach = _reach_of(ask, filters)
    return Authorization(ask, reach, [_changes(ask, asked, value)])


def _reach_of(ask: Permission, filters: Filters | None) -> AccessScope:
    wanted = filter_of(filters) if filters else None
    match ask.resource:
        case "threads":
            return AccessScope(threads=wanted)
        case "assistants":
            return AccessScope(assistants=wanted)
        case "crons":
            return AccessScope(crons=wanted)
        case "store":
            raise ValueError("items are reached by their namespace")
        case _:
            assert_never(ask.resource)


async def _reach_of_run(
    services: Services,
    authorizer: Authorizer,
    actor: ActorContext,
    ask: Permission,
    given: RequestView,
    filters: Filters | None,
) -> AccessScope:
    """Return the access to the thread and the assistant of a new run, or of a cron's runs.

    Each is authorized on its own, and granted by id, since a run's thread may not exist yet and so not match a filter.
    """
    assistant_id = await _assistant_of_run(services, authorizer, actor, given)
    named = given.path.get("thread_id")
    thread_id = _thread_id(named, given) if ask.reach == "new run" else (ThreadId(named) if named else None)
    if ask.reach == "new cron" and thread_id:
        filters = await authorizer.authorize(actor, "threads", "read", {"thread_id": thread_id, "metadata": {}})
        if filters and not await _thread_matches(services, thread_id, filters):
            raise ThreadNotFound(thread_id)
    reached = actor
    if thread_id and filters:
        with acting(actor.with_scope(AccessScope(threads=filter_of(filters)))):
            if await services.threads.get(thread_id) is not None:
                reached = reached.with_access_to(thread_id)
    return reached.with_access_to(None, assistant_id).access_scope


def _changes(ask: Permission, before: JsonMapping, value: JsonMapping) -> JsonObject:
    """Return the handlers' changes to the body: its metadata, and for a run also the values with which it is
    executed."""
    changes: JsonObject = {}
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


async def _check(services: Services, ask: Permission, given: RequestView, filters: Filters) -> None:
    """Raise the error for a missing object if one of the actor's own objects does not match. Missing objects and those
    of other users are left to the route, which can access them if they match."""
    match ask.reach:
        case "thread":
            if not await _thread_matches(services, ThreadId(given.path["thread_id"]), filters):
                raise NotFound(f"Thread with ID {given.path['thread_id']} not found")
        case "new thread":
            thread_id = _thread_id(None, given)
            if thread_id and not await _thread_matches(services, thread_id, filters):
                raise ThreadExists(thread_id)
        case "new run":
            thread_id = _thread_id(given.path.get("thread_id"), given)
            if thread_id and not await _thread_matches(services, thread_id, filters):
                raise ThreadNotFound(thread_id)
        case "run":
            await _check_run(services, RunId(given.path["run_id"]), filters)
        case "delivery":
            delivery = await services.deliveries.get(given.path["delivery_id"])
            if delivery is not None and not matches(delivery.metadata, filters):
                raise DeliveryNotFound(delivery.delivery_id)
        case "approval":
            await _check_approval(services, ApprovalId(given.path["approval_id"]), filters)
        case "cron":
            cron = await services.crons.get(CronId(given.path["cron_id"]))
            if cron is not None and not matches(cron.metadata, filters):
                raise CronNotFound(cron.cron_id)
        case "many runs":
            thread_id = _thread_id(None, given)
            if thread_id and not await _thread_matches(services, thread_id, filters):
                raise ThreadNotFound(thread_id)
            for run_id in given.body.get("run_ids") or ():
                await _check_run(services, RunId(str(run_id)), filters)
        case "new assistant":
            found = await services.assistants.get(AssistantId(_id(given.body.get("assistant_id")) or ""))
            if found and not matches(found.metadata, filters):
                raise AssistantExists(found.assistant_id)
        case "assistant":
            record = await _assistant(services, given.path["assistant_id"])
            if record is not None and not matches(record.metadata, filters):
                raise AssistantNotFound(record.assistant_id)


async def _thread_matches(services: Services, thread_id: ThreadId, filters: Filters) -> bool:
    if not as_uuid(thread_id):
        return True
    record = await services.threads.get(thread_id)
    return record is None or matches(record.metadata, filters)


async def _check_approval(services: Services, approval_id: ApprovalId, filters: Filters) -> None:
    approval = await services.approvals.get(approval_id)
    if approval is None or approval.delegate == require_actor_context("authorization").user_id:
        return
    if not await _thread_matches(services, approval.thread_id, filters):
        raise ApprovalNotFound(approval_id)


async def _check_run(services: Services, run_id: RunId, filters: Filters) -> None:
    if not as_uuid(run_id):
        return
    try:
        run = await services.runs.get_run(run_id)
    except RunNotFound:
        return
    # The thread of a stateless run may be gone; its metadata started as the run's.
    with thread_access(run.thread_id):
        thread = await services.threads.get(run.thread_id)
    if not matches(run.metadata if thread is None else thread.metadata, filters):
        raise RunNotFound(run_id)


async def _assistant_of_run(
    services: Services, authorizer: Authorizer, actor: ActorContext, given: RequestView
) -> str | None:
    """Return the id of the assistant that a run names, if the actor can access it.

    None is left to the route, which refuses the run with its own text. Handlers are not called for default assistants,
    as on the reference server: a filter by owner matches none of them. Raises NotFound for an assistant that does not
    match.
    """
    name = given.body.get("assistant_id")
    if not isinstance(name, str):
        return None
    found = await _assistant(services, name)
    if found is None and not as_uuid(name):
        return None
    if found is not None and found.shared:
        return found.assistant_id
    asked = {"assistant_id": found.assistant_id if found else as_uuid(name) or name, "metadata": {}}
    filters = await authorizer.authorize(actor, "assistants", "read", asked)
    if not filters:
        return found.assistant_id if found else None
    if found is not None and not matches(found.metadata, filters):
        raise NotFound("Thread or assistant not found.")
    with acting(actor.with_scope(AccessScope(assistants=filter_of(filters)))):
        found = await _assistant(services, name)
    return found.assistant_id if found else None


async def _assistant(services: Services, name: str) -> AssistantRecord | None:
    try:
        return await services.assistant_lookup.find(name)
    except (AssistantNotFound, InvalidAssistant):
        return None


def _thread_id(named: str | None, given: RequestView) -> ThreadId | None:
    """Return the id of the thread in the path, or else in the body."""
    found = named or _id(given.body.get("thread_id"))
    return ThreadId(found) if found else None


def _id(value: object) -> str | None:
    return as_uuid(value) if isinstance(value, str) else None
