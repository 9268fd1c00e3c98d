"""Who is acting: one ContextVar that every durable boundary reads.

An entry point (an HTTP request, a chat channel, the executor of a run) binds the
actor; stores, paths and streams read it. The kernel never sees a request or a
user model. Isolation fails closed: where an actor is needed and none is bound,
``ActorRequired`` is raised; the explicit ``None`` of `resolve_user_id` is the only
way to be unscoped, and is meant for migrations and admin commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Literal

from .metadata_filter import MetadataFilter

DEFAULT_USER_ID: Final = "default"
DEFAULT_TENANT_ID: Final = "default"
RESERVED_USER_IDS: Final = "runstead:"
"""How ids begin that no user may have."""
_SERVER: Final = "server"
KEPT_CLAIMS: Final = frozenset(("identity", "display_name", "is_authenticated", "permissions"))
"""Claims that stay with a run when it has ended: what langgraph_sdk knows of every user."""
ENCRYPTED: Final = "__encryption_context__"
"""A key of claims that handlers have encrypted: those to keep, and under ENCRYPTED_CLAIMS the others."""
ENCRYPTED_CLAIMS: Final = "langgraph_auth_user"


class ActorRequired(RuntimeError):
    """A durable boundary was reached without an actor."""

    def __init__(self, boundary: str = "this operation") -> None:
        super().__init__(
            f"{boundary} needs an actor and none is bound; wrap the call in "
            "`with acting(ActorContext(user_id=...)):` or bind_actor_context(...)"
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """What somebody reaches beside what is their own, for the length of one thing that was granted. Never beyond
    their tenant, and never stored: whoever is asked again decides again.

    ``threads``, ``assistants`` and ``crons`` are filters over metadata. With one, all that matches is reached, whoever
    owns it, and nothing else; None is what is one's own. Runs and what is told of them go by their
    thread. ``thread_ids`` and ``assistant_ids`` are reached besides: somebody has looked, and they may be. ``items`` is
    the namespace of the store that is shared with the tenant: the items in it and below it are reached, whoever wrote
    them.
    """

    threads: MetadataFilter | None = field(default=None, hash=False)
    assistants: MetadataFilter | None = field(default=None, hash=False)
    crons: MetadataFilter | None = field(default=None, hash=False)
    thread_ids: frozenset[str] = frozenset()
    assistant_ids: frozenset[str] = frozenset()
    items: tuple[str, ...] | None = None


OWN: Final = Reach()
"""What is one's own, and no more."""


@dataclass(frozen=True, slots=True)
class ActorContext:
    """The one on whose behalf the current task runs.

    ``user_id`` and ``tenant_id`` scope rows and paths. ``subject_id`` is a stable
    identity key where user ids can change; ``scopes`` are permissions; ``auth_source``
    says how the identity was proved ("none", "api_key", "channel:slack", ...). ``claims`` is
    what else the one who proved it told of the user, as JSON: the actor carries it to wherever
    work is done for them, into runs that begin later too. ``encryption`` is the context (not secret) that encryption
    handlers are given for what is stored on the actor's behalf. ``reach`` is wider than their own while something
    is done that was granted; it does not travel, and makes nobody another. ``unstored`` names claims that are never
    written, and so do not travel to another process.
    """

    user_id: str
    tenant_id: str = DEFAULT_TENANT_ID
    subject_id: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    auth_source: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    encryption: Mapping[str, Any] = field(default_factory=dict, hash=False)
    reach: Reach = field(default=OWN, compare=False)
    unstored: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        if not self.user_id or not self.tenant_id:
            raise ValueError("an actor needs a user_id and a tenant_id that are not empty")

    @property
    def is_server(self) -> bool:
        """Whether this is the server's own code, see `SERVER_ACTOR`."""
        return self.auth_source == _SERVER

    @property
    def is_authenticated(self) -> bool:
        """Whether somebody decided who this is; False on a server without authentication."""
        return self.auth_source != "none"

    def within(self, reach: Reach) -> ActorContext:
        """The same one, with this reach."""
        return self if reach == self.reach else replace(self, reach=reach)

    def also_for(self, thread_id: str | None, assistant_id: str | None = None) -> ActorContext:
        """The same one, who reaches this thread too, and all that is on it; and this assistant."""
        reach = self.reach
        return self.within(
            replace(
                reach,
                thread_ids=reach.thread_ids | ({thread_id} if thread_id else frozenset()),
                assistant_ids=reach.assistant_ids | ({assistant_id} if assistant_id else frozenset()),
            )
        )

    def with_kept_claims(self) -> ActorContext:
        """The same one, without claims that nothing needs any more, a token perhaps."""
        if ENCRYPTED in self.claims:
            kept = {name: value for name, value in self.claims.items() if name != ENCRYPTED_CLAIMS}
            return self if len(kept) == len(self.claims) else replace(self, claims=kept)
        if self.claims.keys() <= KEPT_CLAIMS:
            return self
        return replace(self, claims={name: value for name, value in self.claims.items() if name in KEPT_CLAIMS})

    def as_stored(self) -> ActorContext:
        """Who it is, as far as that may be stored; not their reach."""
        claims = {name: value for name, value in self.claims.items() if name not in self.unstored}
        return replace(self, claims=claims, reach=OWN, unstored=frozenset())

    def to_json(self) -> dict[str, Any]:
        """`as_stored`, as JSON."""
        claims = self.as_stored().claims
        return {
            "user_id": self.user_id,
            "tenant_id": self.tenant_id,
            "subject_id": self.subject_id,
            "scopes": sorted(self.scopes),
            "auth_source": self.auth_source,
            **({"claims": dict(claims)} if claims else {}),
            **({"encryption": dict(self.encryption)} if self.encryption else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ActorContext:
        return cls(
            user_id=value["user_id"],
            tenant_id=value.get("tenant_id") or DEFAULT_TENANT_ID,
            subject_id=value.get("subject_id"),
            scopes=frozenset(value.get("scopes") or ()),
            auth_source=value.get("auth_source"),
            claims=value.get("claims") or {},
            encryption=value.get("encryption") or {},
        )


SERVER_ACTOR: Final = ActorContext(
    user_id=f"{RESERVED_USER_IDS}server",
    auth_source=_SERVER,
    claims={"identity": f"{RESERVED_USER_IDS}server", "display_name": "server", "permissions": []},
    reach=Reach(threads={}, assistants={}, crons={}),
)
"""Code of the server's author, outside of what is done for a user, on a server whose users authenticate. It reaches all
threads, runs, assistants and crons of its tenant, and no auth handler is asked. Items that it writes are its own."""


class _Auto(Enum):
    AUTO = "auto"


AUTO: Final = _Auto.AUTO
"""Stands for "the bound actor's user" in `resolve_user_id`."""

_current_actor: ContextVar[ActorContext | None] = ContextVar("runstead_actor", default=None)


def bind_actor_context(actor: ActorContext) -> Token[ActorContext | None]:
    """Make ``actor`` the current one for this task and the tasks it starts."""
    return _current_actor.set(actor)


def reset_actor_context(token: Token[ActorContext | None]) -> None:
    """Restore what was bound before the matching `bind_actor_context`."""
    _current_actor.reset(token)


@contextmanager
def acting(actor: ActorContext) -> Iterator[ActorContext]:
    """Bind ``actor`` for the length of a block."""
    token = bind_actor_context(actor)
    try:
        yield actor
    finally:
        reset_actor_context(token)


def get_actor_context() -> ActorContext | None:
    """The current actor, or None when none is bound."""
    return _current_actor.get()


def require_actor_context(boundary: str = "this operation") -> ActorContext:
    """The current actor. Raises ActorRequired, naming ``boundary``, when none is bound."""
    actor = _current_actor.get()
    if actor is None:
        raise ActorRequired(boundary)
    return actor


@contextmanager
def also_on(thread_id: str) -> Iterator[ActorContext]:
    """For the length of a block, the current actor reaches a thread that was found to be there for them, and all that
    is on it: also the runs that others have on it. Raises ActorRequired.
    """
    with acting(require_actor_context("a thread").also_for(thread_id)) as actor:
        yield actor


def get_effective_user_id() -> str:
    """The current user's id, or DEFAULT_USER_ID. For names and logs, never for access decisions."""
    actor = _current_actor.get()
    return actor.user_id if actor else DEFAULT_USER_ID


def resolve_user_id(value: str | Literal[_Auto.AUTO] | None = AUTO) -> str | None:
    """The user id that scopes a storage operation.

    AUTO is the bound actor's (ActorRequired when none is bound), a string is itself,
    and None is explicitly unscoped.
    """
    if value is AUTO:
        return require_actor_context("user isolation").user_id
    return value
