"""``ServerRuntime`` of langgraph_sdk for graph factories: the purpose of the call, the user, and the store."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from langgraph_sdk.runtime import AccessContext, ServerRuntime, _ExecutionRuntime, _ReadRuntime
from pydantic import BaseModel

from runstead.runtime.actor_context import ActorContext, get_actor_context
from runstead.runtime.json_types import JsonMapping, JsonObject

_OURS = (
    "thread_id",
    "run_id",
    "graph_id",
    "assistant_id",
    "user_id",
    "checkpoint_id",
    "checkpoint_ns",
    "checkpoint_map",
)
_OUR_PREFIXES = ("__", "langgraph_auth_")


@dataclass(frozen=True, slots=True)
class ActingUser:
    """Bound actor as langgraph_sdk's BaseUser."""

    actor: ActorContext

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return str(self.actor.claims.get("display_name") or self.actor.user_id)

    @property
    def identity(self) -> str:
        return self.actor.user_id

    @property
    def permissions(self) -> list[str]:
        return sorted(self.actor.scopes)

    def _fields(self) -> JsonObject:
        own = {"identity": self.identity, "display_name": self.display_name, "permissions": self.permissions}
        return {**self.actor.claims, **own}

    def __getitem__(self, key: str) -> object:
        return self._fields()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._fields()

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())


def server_runtime(config: JsonMapping, store: Any, schema: type[Any] | None = None) -> object:
    """Return the runtime for a call with ``config``: for execution if it names a run, otherwise for reading.

    ``schema`` is the factory's own type for the context, as in ``ServerRuntime[MyContext]``.
    """
    configurable: JsonMapping = config.get("configurable") or {}
    actor = get_actor_context()
    # Without authentication there is no authenticated user.
    user = ActingUser(actor) if actor and actor.auth_source not in (None, "none") else None
    if configurable.get("run_id"):
        return _ExecutionRuntime(
            access_context="threads.create_run", user=user, store=store, context=_context(configurable, schema)
        )
    access: AccessContext = "threads.read" if configurable.get("thread_id") else "assistants.read"
    return _ReadRuntime(access_context=access, user=user, store=store)


def is_server_runtime(hint: object) -> bool:
    """Return whether the annotation requests the server's runtime."""
    if isinstance(hint, str):
        return "ServerRuntime" in hint
    return hint is ServerRuntime or typing.get_origin(hint) in (ServerRuntime, _ExecutionRuntime, _ReadRuntime)


def context_schema_of(hint: object) -> type[object] | None:
    """Return ``MyContext`` of ``ServerRuntime[MyContext]``; None if there is none."""
    arguments = typing.get_args(hint)
    return arguments[0] if arguments and isinstance(arguments[0], type) else None


def _context(configurable: JsonMapping, schema: type[Any] | None) -> Any:
    # The wire mirrors a run's context into its configurable, which also contains Runstead's and LangGraph's keys.
    given = {
        key: value for key, value in configurable.items() if key not in _OURS and not key.startswith(_OUR_PREFIXES)
    }
    if schema is None or not (is_dataclass(schema) or issubclass(schema, BaseModel)):
        return given or None
    known = schema.model_fields if issubclass(schema, BaseModel) else schema.__dataclass_fields__
    return schema(**{key: value for key, value in given.items() if key in known})
