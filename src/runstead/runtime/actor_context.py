"""Acting user and tenant, in one ContextVar that every durable boundary reads.

An entry point (an HTTP request, a chat channel, the executor of a run) binds the actor; stores, paths and streams read
it. The kernel never sees a request or a user model. Isolation fails closed: an operation that needs an actor raises
``ActorRequired`` if none is bound. Only the explicit ``None`` of `resolve_user_id` removes the scope; it is meant for
migrations and admin commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Literal
from urllib.parse import quote

from .json_types import JsonMapping, JsonObject
from .metadata_filter import MetadataFilter

DEFAULT_USER_ID: Final = "default"
DEFAULT_TENANT_ID: Final = "default"
RESERVED_USER_IDS: Final = "runstead:"
"""Prefix of reserved ids, which no user and no tenant of a user may have."""
_SERVER: Final = "server"
KEPT_CLAIMS: Final = frozenset(("identity", "display_name", "is_authenticated", "permissions"))
"""Claims that stay with a run after it has ended: those that langgraph_sdk defines for every user."""
ENCRYPTED: Final = "__encryption_context__"
"""Key in claims that handlers have encrypted. It holds the claims to keep; ENCRYPTED_CLAIMS holds the others."""
ENCRYPTED_CLAIMS: Final = "langgraph_auth_user"


class ActorRequired(RuntimeError):
    """A durable boundary was reached without an actor."""

    def __init__(self, boundary: str = "this operation") -> None:
        super().__init__(
            f"{boundary} needs an actor and none is bound; wrap the call in "
            "`with acting(ActorContext(user_id=...)):` or bind_actor_context(...)"
        )


@dataclass(frozen=True, slots=True)
class AccessScope:
    """Additional access granted for one operation, within the actor's tenant. Never stored: each operation is
    authorized again.

    ``threads``, ``assistants`` and ``crons`` are filters over metadata. With a filter, the actor accesses exactly the
    matching objects, of any owner; with None, the actor's own objects. Runs and their events follow their thread.
    ``thread_ids`` and ``assistant_ids`` are accessible in addition, since the access was already checked. ``items`` is
    the namespace of the store that is shared with the tenant: the items in it and below it are accessible,
    also those of other writers.
    """

    threads: MetadataFilter | None = field(default=None, hash=False)
    assistants: MetadataFilter | None = field(default=None, hash=False)
    crons: MetadataFilter | None = field(default=None, hash=False)
    thread_ids: frozenset[str] = frozenset()
    assistant_ids: frozenset[str] = frozenset()
    items: tuple[str, ...] | None = None


OWN_ONLY: Final = AccessScope()
"""Access to the actor's own objects only."""


@dataclass(frozen=True, slots=True)
class ActorContext:
    """Actor on whose behalf the current task runs.

    ``user_id`` and ``tenant_id`` scope rows and paths. ``subject_id`` is a stable identity key for systems in which
    user ids can change; ``scopes`` are permissions; ``auth_source`` says how the user was authenticated ("none",
    "api_key", "channel:slack", ...). ``claims`` are further data about the user from authentication, as JSON; they stay
    with the actor wherever work is done for the user, also in later runs. ``encryption`` is the (not secret) context
    that encryption handlers get for data stored on the actor's behalf. ``reach`` is additional access for one
    authorized operation; it is not stored and not part of the identity. ``unstored`` names claims that are never
    written, and so never reach another process.
    """

    user_id: str
    tenant_id: str = DEFAULT_TENANT_ID
    subject_id: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    auth_source: str | None = None
    claims: JsonMapping = field(default_factory=dict, hash=False)
    encryption: JsonMapping = field(default_factory=dict, hash=False)
    access_scope: AccessScope = field(default=OWN_ONLY, compare=False)
    unstored: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        if not self.user_id or not self.tenant_id:
            raise ValueError("an actor needs a user_id and a tenant_id that are not empty")

    @property
    def is_server(self) -> bool:
        """True for the server's own code, see `SERVER_ACTOR`."""
        return self.auth_source == _SERVER

    @property
    def has_reserved_id(self) -> bool:
        """True if user or tenant has an id that is reserved for the server. Authenticators must refuse it."""
        return self.user_id.startswith(RESERVED_USER_IDS) or self.tenant_id.startswith(RESERVED_USER_IDS)

    @property
    def is_authenticated(self) -> bool:
        """True if the user was authenticated; False on a server without authentication."""
        return self.auth_source != "none"

    def with_scope(self, reach: AccessScope) -> ActorContext:
        """Return this actor with the given access."""
        return self if reach == self.access_scope else replace(self, access_scope=reach)

    def with_access_to(self, thread_id: str | None, assistant_id: str | None = None) -> ActorContext:
        """Return this actor with access to this thread and everything on it, and to this assistant."""
        reach = self.access_scope
        return self.with_scope(
            replace(
                reach,
                thread_ids=reach.thread_ids | ({thread_id} if thread_id else frozenset()),
                assistant_ids=reach.assistant_ids | ({assistant_id} if assistant_id else frozenset()),
            )
        )

    def with_kept_claims(self) -> ActorContext:
        """Return this actor without claims that are no longer needed, such as a token."""
        if ENCRYPTED in self.claims:
            kept = {name: value for name, value in self.claims.items() if name != ENCRYPTED_CLAIMS}
            return self if len(kept) == len(self.claims) else replace(self, claims=kept)
        if self.claims.keys() <= KEPT_CLAIMS:
            return self
        return replace(self, claims={name: value for name, value in self.claims.items() if name in KEPT_CLAIMS})

    def as_stored(self) -> ActorContext:
        """Return the part of the actor that may be stored, without additional access."""
        claims = {name: value for name, value in self.claims.items() if name not in self.unstored}
        return replace(self, claims=claims, access_scope=OWN_ONLY, unstored=frozenset())

    def to_json(self) -> JsonObject:
        """Return `as_stored` as JSON."""
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
    def from_json(cls, value: JsonObject) -> ActorContext:
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
    access_scope=AccessScope(threads={}, assistants={}, crons={}),
)
"""Actor of the server author's code that does not act for a user, on a server with authentication. It can access all
threads, runs, assistants and crons of its tenant, and no auth handler is called. Items that it writes belong to it."""


class _Auto(Enum):
    AUTO = "auto"


AUTO: Final = _Auto.AUTO
"""Stands for the bound actor's user in `resolve_user_id`."""

_current_actor: ContextVar[ActorContext | None] = ContextVar("runstead_actor", default=None)
_is_across_tenants: ContextVar[bool] = ContextVar("runstead_across_tenants", default=False)


def bind_actor_context(actor: ActorContext) -> Token[ActorContext | None]:
    """Bind ``actor`` for this task and the tasks that it starts."""
    return _current_actor.set(actor)


def reset_actor_context(token: Token[ActorContext | None]) -> None:
    """Restore the binding from before the matching `bind_actor_context`."""
    _current_actor.reset(token)


@contextmanager
def acting(actor: ActorContext) -> Iterator[ActorContext]:
    """Bind ``actor`` for the duration of a block."""
    token = bind_actor_context(actor)
    try:
        yield actor
    finally:
        reset_actor_context(token)


def get_actor_context() -> ActorContext | None:
    """Return the current actor, or None if none is bound."""
    return _current_actor.get()


def require_actor_context(boundary: str = "this operation") -> ActorContext:
    """Return the current actor. Raises ActorRequired, naming ``boundary``, if none is bound."""
    actor = _current_actor.get()
    if actor is None:
        raise ActorRequired(boundary)
    return actor


def actor() -> ActorContext:
    """Return the user on whose behalf the calling code runs: in a node, a tool or a custom route.

    Raises ActorRequired outside of these.
    """
    return require_actor_context("runstead.actor()")


@contextmanager
def thread_access(thread_id: str) -> Iterator[ActorContext]:
    """Give the current actor access to a thread, for the duration of a block, and to everything on it, including runs
    of other users. Call only after access to the thread was checked. Raises ActorRequired."""
    with acting(require_actor_context("a thread").with_access_to(thread_id)) as actor:
        yield actor


@contextmanager
def across_tenants() -> Iterator[None]:
    """Lift `tenant_limit` for the duration of a block. Call only after the access to all tenants was checked."""
    token = _is_across_tenants.set(True)
    try:
        yield
    finally:
        _is_across_tenants.reset(token)


def namespace_label(name: str) -> str:
    """Quote a tenant or user as one label of a namespace of items. A dot would make it two labels, and one user's items
    a part of another's."""
    return quote(name, safe="", errors="surrogatepass").replace(".", "%2E")


def tenant_limit() -> str | None:
    """Return the tenant whose rows the current task may see at most; None for work of the server itself, and inside
    `across_tenants`."""
    actor = _current_actor.get()
    return None if actor is None or _is_across_tenants.get() else actor.tenant_id


def get_effective_user_id() -> str:
    """Return the current user's id, or DEFAULT_USER_ID. For names and logs, never for access decisions."""
    actor = _current_actor.get()
    return actor.user_id if actor else DEFAULT_USER_ID


def resolve_user_id(value: str | Literal[_Auto.AUTO] | None = AUTO) -> str | None:
    """Return the user id that scopes a storage operation.

    AUTO is the bound actor's (ActorRequired if none is bound), a string is itself, and None is explicitly unscoped.
    """
    if value is AUTO:
        return require_actor_context("user isolation").user_id
    return value
