"""Permissions of routes: resource, action and the value for auth handlers. Each route declares one of them.

`authorization` applies the handlers' results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.wire.authorization import Action, Resource
from runstead.wire.run_cancel import stop_action_of

CHANNEL_EVENTS: Final = "/channels/{provider}/events"
"""Path to which chat services deliver messages. Their adapters check that a request is from the service."""
LOGOUT: Final = "/oidc/logout"
"""Path to which an OIDC issuer sends logout tokens, which it has signed."""
OPEN_PATHS: Final = frozenset(
    ("/", "/ok", "/ready", "/info", "/docs", "/openapi.json", "/console", "/console/*", CHANNEL_EVENTS, LOGOUT)
)
"""Paths without data of any user, which load balancers, browsers, chat services and OIDC issuers request without
credentials. ``/*`` stands for all paths below."""
METRICS: Final = "/metrics"
"""The path whose route decides by itself who may read it: it has no data of users, and auth handlers are not asked."""
_CHANNEL_EVENTS: Final = re.compile(r"/channels/[\w-]+/events", re.ASCII)


def is_open(path: str, open_paths: Collection[str] = OPEN_PATHS) -> bool:
    """Return whether a path, relative to the mount point, is requested without credentials."""
    if CHANNEL_EVENTS in open_paths and _CHANNEL_EVENTS.fullmatch(path):
        return True
    return path in open_paths or any(path.startswith(one[:-1]) for one in open_paths if one.endswith("/*"))


READS: Final = frozenset(("read", "search", "get", "list_namespaces"))
"""Actions that change nothing."""
Reach: TypeAlias = Literal[
    "new thread",
    "thread",
    "run",
    "new run",
    "new assistant",
    "assistant",
    "delivery",
    "approval",
    "new cron",
    "cron",
    "search",
    "many runs",
    "items",
]
"""Objects to which a filter applies: the thread, runs, assistant, delivery, approval or cron that the request names, or
the results of a search."""


@dataclass(frozen=True, slots=True)
class RequestView:
    """Content of a request, not validated: the route validates it after the handlers."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: JsonMapping = field(default_factory=dict)

    def mapping(self, name: str) -> JsonObject:
        """Return a copy of a field that contains an object; an empty dict if it contains none."""
        found = self.body.get(name)
        return deepcopy(found) if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Permission:
    """Authorization of one route. ``value`` builds the value that handlers read and may change. ``is_batch``: the body
    is a list, and each of its elements is authorized. ``item_fields`` maps names in a value for items to names in the
    body. ``has_json_body``: False if the body is not JSON, and not shown to handlers."""

    resource: Resource
    action: Action
    reach: Reach
    value: Callable[[RequestView], JsonObject]
    is_batch: bool = False
    item_fields: Mapping[str, str] = field(default_factory=dict)
    has_json_body: bool = True

    def bodies(self, body: object) -> list[object]:
        """Return the bodies to authorize one by one, at least one: handlers are called for any body."""
        return body if self.is_batch and isinstance(body, list) and body else [body]


_KWARGS: Final = (
    "input", "command", "config", "context", "stream_mode", "interrupt_before", "interrupt_after", "webhook",
    "feedback_keys", "stream_subgraphs", "stream_resumable", "checkpoint", "checkpoint_id", "durability",
)  # fmt: skip


def _named(given: RequestView) -> JsonObject:
    """Return the ids in the path, and the action of a cancel."""
    action = {"action": stop_action_of(given.query["action"])} if given.query.get("action") else {}
    return {**given.path, **action}


def _with_metadata(*names: str) -> Callable[[RequestView], JsonObject]:
    """Return a function for the ids in the path, these fields of the body, and its metadata."""

    def value(given: RequestView) -> JsonObject:
        own = {name: deepcopy(given.body[name]) for name in names if name in given.body}
        return {**own, **given.path, "metadata": given.mapping("metadata")}

    return value


def _new_run(given: RequestView) -> JsonObject:
    body = given.body
    return {
        "assistant_id": body.get("assistant_id"),
        "thread_id": given.path.get("thread_id", body.get("thread_id")),
        "run_id": body.get("run_id"),
        "status": "pending",
        "metadata": given.mapping("metadata"),
        "prevent_insert_if_inflight": body.get("multitask_strategy") == "reject",
        "multitask_strategy": body.get("multitask_strategy") or "enqueue",
        "if_not_exists": body.get("if_not_exists") or "reject",
        "after_seconds": body.get("after_seconds") or 0,
        "kwargs": {name: deepcopy(body[name]) for name in _KWARGS if name in body},
    }


def _cron(given: RequestView) -> JsonObject:
    """Return a cron as it is to be created or changed. ``payload`` is the whole body."""
    own = {name: deepcopy(given.body.get(name)) for name in _CRON_FIELDS}
    return {**own, **given.path, "payload": deepcopy(dict(given.body)), "metadata": given.mapping("metadata")}


_CRON_FIELDS: Final = ("schedule", "timezone", "end_time", "enabled", "on_run_completed")


def _namespace(labels: object) -> tuple[str, ...]:
    return tuple(str(label) for label in labels) if isinstance(labels, list) else ()


def _item(*names: str) -> Callable[[RequestView], JsonObject]:
    def value(given: RequestView) -> JsonObject:
        own = {name: deepcopy(given.body.get(name)) for name in names}
        return {"namespace": _namespace(given.body.get("namespace")), **own}

    return value


def _item_read(given: RequestView) -> JsonObject:
    namespace, refresh = given.query.get("namespace", ""), given.query.get("refresh_ttl")
    return {
        "namespace": tuple(namespace.split(".")) if namespace else (),
        "key": given.query.get("key"),
        "refresh_ttl": None if refresh is None else refresh.lower() == "true",
    }


def _item_search(given: RequestView) -> JsonObject:
    own = {name: deepcopy(given.body.get(name)) for name in _SEARCHED}
    return {"namespace": _namespace(given.body.get("namespace_prefix")), **own}


def _namespaces(given: RequestView) -> JsonObject:
    own = {name: deepcopy(given.body.get(name)) for name in _LISTED}
    prefix = given.body.get("prefix")
    return {"namespace": _namespace(prefix) if prefix else None, **own}


_WRITTEN: Final = ("key", "value", "index", "ttl")
_SEARCHED: Final = ("filter", "limit", "offset", "query", "refresh_ttl")
_LISTED: Final = ("suffix", "max_depth", "limit", "offset")


def _items(action: Action, value: Callable[[RequestView], JsonObject], *fields: str, **named: str) -> Permission:
    return Permission("store", action, "items", value, item_fields={**{name: name for name in fields}, **named})


def _cancel_many(given: RequestView) -> JsonObject:
    own = {name: deepcopy(given.body[name]) for name in ("thread_id", "run_ids", "status") if name in given.body}
    return {**own, "action": stop_action_of(given.query.get("action", "interrupt"))}


_PRUNED: Final = ("thread_ids", "strategy")
THREAD_READ: Final = Permission("threads", "read", "thread", _named)
THREAD_UPDATE: Final = Permission("threads", "update", "thread", _named)
FILE_WRITE: Final = replace(THREAD_UPDATE, has_json_body=False)
# The memory is the caller's own, whatever filter a handler returns.
MEMORY_READ: Final = Permission("threads", "search", "search", _named)
MEMORY_WRITE: Final = Permission("threads", "update", "search", _named, has_json_body=False)
THREAD_DELETE: Final = Permission("threads", "delete", "thread", _named)
NEW_RUN: Final = Permission("threads", "create_run", "new run", _new_run)
THREAD_SEARCH: Final = Permission(
    "threads", "search", "search", _with_metadata("values", "status", "limit", "offset", "ids", "thread_id")
)
ASSISTANT_READ: Final = Permission("assistants", "read", "assistant", _named)
ASSISTANT_FIELDS: Final = ("assistant_id", "graph_id", "config", "context", "name", "description", "if_exists")
"""Fields of an assistant, besides its metadata, that handlers see and may change."""

THREAD_CREATE: Final = Permission(
    "threads", "create", "new thread", _with_metadata("thread_id", "if_exists", "ttl", "supersteps")
)
THREAD_PRUNE: Final = Permission(
    "threads", "delete", "search", lambda given: {name: deepcopy(given.body.get(name)) for name in _PRUNED}
)
THREAD_PATCH: Final = Permission("threads", "update", "thread", _with_metadata("ttl"))
STATE_PATCH: Final = Permission("threads", "update", "thread", _with_metadata())
THREAD_RUN_SEARCH: Final = Permission("threads", "search", "thread", _named)
RUN_BATCH: Final = replace(NEW_RUN, is_batch=True)
RUN_CANCEL_MANY: Final = Permission("threads", "update", "many runs", _cancel_many)
RUN_SEARCH: Final = Permission("threads", "search", "search", _with_metadata())
USAGE_READ: Final = RUN_SEARCH
RUN_READ: Final = Permission("threads", "read", "run", _named)
RUN_UPDATE: Final = Permission("threads", "update", "run", _named)
ASSISTANT_CREATE: Final = Permission("assistants", "create", "new assistant", _with_metadata(*ASSISTANT_FIELDS))
CRON_CREATE: Final = Permission("crons", "create", "new cron", _cron)
CRON_SEARCH: Final = Permission(
    "crons", "search", "search", _with_metadata("assistant_id", "thread_id", "enabled", "limit", "offset")
)
CRON_COUNT: Final = Permission("crons", "search", "search", _with_metadata("assistant_id", "thread_id"))
CRON_READ: Final = Permission("crons", "read", "cron", _named)
CRON_UPDATE: Final = Permission("crons", "update", "cron", _cron)
CRON_DELETE: Final = Permission("crons", "delete", "cron", _named)
DELIVERY_READ: Final = Permission("threads", "read", "delivery", _named)
DELIVERY_UPDATE: Final = Permission("threads", "update", "delivery", _named)
APPROVAL_SEARCH: Final = RUN_SEARCH
APPROVAL_READ: Final = Permission("threads", "read", "approval", _named)
APPROVAL_UPDATE: Final = Permission("threads", "update", "approval", _named)
ASSISTANT_SEARCH: Final = Permission(
    "assistants", "search", "search", _with_metadata("graph_id", "name", "limit", "offset")
)
ASSISTANT_COUNT: Final = Permission("assistants", "search", "search", _with_metadata("graph_id", "name"))
ASSISTANT_UPDATE: Final = Permission("assistants", "update", "assistant", _with_metadata(*ASSISTANT_FIELDS))
ASSISTANT_DELETE: Final = Permission("assistants", "delete", "assistant", _named)
ASSISTANT_SET_LATEST: Final = Permission(
    "assistants", "update", "assistant", lambda given: {**given.path, "version": given.body.get("version")}
)
ITEM_PUT: Final = _items("put", _item("key", "value", "index", "ttl"), "namespace", "key", "value", "index", "ttl")
ITEM_GET: Final = _items("get", _item_read)
ITEM_DELETE: Final = _items("delete", _item("key"), "namespace", "key")
ITEM_SEARCH: Final = _items("search", _item_search, *_SEARCHED, namespace="namespace_prefix")
NAMESPACE_LIST: Final = _items("list_namespaces", _namespaces, *_LISTED, namespace="prefix")


class PathTemplates:
    """The paths of routes with permissions, for reading a path before routing."""

    def __init__(self, routes: Iterable[tuple[str, str]] = ()) -> None:
        """Create the templates from methods and paths."""
        self._patterns = [(method, _pattern(path)) for method, path in routes]

    def params_of(self, method: str, path: str) -> dict[str, str]:
        """Return the ids in a path; none for an unknown path."""
        found = [match.groupdict() for of, pattern in self._patterns if of == method and (match := pattern.match(path))]
        # `/threads/search` is not a thread called "search": the template with fewer parameters applies.
        return min(found, key=len, default={})


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template) + "/?$")
