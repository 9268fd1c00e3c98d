"""Private keys of configs and metadata: the single rule for hiding them from readers of streams and states.

LangChain copies the configurable into the metadata of events and checkpoints, which would otherwise expose the user's
data that graphs receive.
"""

from __future__ import annotations

from typing import Final

from runstead.runtime.actor_context import ActorContext

from ..json_types import JsonMapping, JsonObject

CREDENTIALS: Final = frozenset(
    ("authorization", "proxy-authorization", "x-api-key", "x-service-key", "x-auth-key", "cookie", "set-cookie")
)
"""Names of credentials, in lower case."""

ACTOR_KEY: Final = "runstead_actor"
"""The key of ``configurable`` that holds who acts: ``user_id``, ``tenant_id``, ``subject_id``, ``scopes`` and
``auth_source``. Only the server sets it.
"""
REQUEST_ID: Final = "langgraph_request_id"
"""The key of ``configurable`` with the id of the request that created the run, as in the reference server."""
TRACEPARENT, TRACESTATE = "__otel_traceparent__", "__otel_tracestate__"
"""Its keys with the trace that the run belongs to, as W3C texts."""
CONTINUED: Final = "__runstead_continued__"
"""Its key with the ``traceparent`` of the run that it continues."""
ORIGIN: Final = frozenset((REQUEST_ID, TRACEPARENT, TRACESTATE, CONTINUED))
"""Keys that the server adds to a run about the request that created it; clients do not get them."""
_PREFIXES: Final = ("__", "langgraph_auth_", REQUEST_ID, ACTOR_KEY)


def without_origin(configurable: JsonMapping) -> JsonObject:
    """Return ``configurable`` without what the server added about the request that created a run."""
    return {name: value for name, value in configurable.items() if name not in ORIGIN}


def is_private(name: object) -> bool:
    """Return whether the value under ``name`` is hidden from readers."""
    return isinstance(name, str) and (name.startswith(_PREFIXES) or name.lower() in CREDENTIALS)


def redact(mapping: JsonMapping) -> JsonObject:
    """Return ``mapping`` without private keys."""
    return {name: value for name, value in mapping.items() if not is_private(name)}


def identity_keys(actor: ActorContext, given: JsonMapping | None = None) -> JsonObject:
    """Return ``user_id`` and, for an authenticated user, ``tenant_id`` and the known claims.

    ``given`` is the merged configurable of the client, the thread and the assistant.
    """
    said = None if actor.is_authenticated else (given or {}).get("user_id")
    identity: JsonObject = {"user_id": said or actor.user_id}
    if actor.is_authenticated:
        identity["tenant_id"] = actor.tenant_id
    identity[ACTOR_KEY] = {
        "user_id": actor.user_id,
        "tenant_id": actor.tenant_id,
        "subject_id": actor.subject_id,
        "scopes": sorted(actor.scopes),
        "auth_source": actor.auth_source,
    }
    if not actor.claims:
        return identity
    return {
        **identity,
        "langgraph_auth_user": dict(actor.claims),
        "langgraph_auth_user_id": actor.user_id,
        "langgraph_auth_permissions": sorted(actor.scopes),
    }
