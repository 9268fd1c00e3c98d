"""Roles by scope: an admin has access to all of a tenant, an operator to any tenant that a request names."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from runstead.runtime.actor_context import RESERVED_USER_IDS, AccessScope, ActorContext
from runstead.wire.credentials import ROLE, TENANT_HEADER, Authenticator, Credentials
from runstead.wire.errors import Forbidden

Role: TypeAlias = Literal["admin", "operator"]
_WHOLE_TENANT: Final = AccessScope(threads={}, assistants={}, crons={})
_LONGEST: Final = 512


@dataclass(frozen=True, slots=True)
class RoleScopes:
    """The scope that makes a user an admin, and the one that makes an operator; None: no user has the role."""

    admin: str | None = None
    operator: str | None = None

    def role_of(self, actor: ActorContext) -> Role | None:
        """Return the actor's role; an operator needs no other."""
        if actor.is_server or not actor.is_authenticated:
            return None
        if self.operator is not None and self.operator in actor.scopes:
            return "operator"
        return "admin" if self.admin is not None and self.admin in actor.scopes else None

    def apply(self, actor: ActorContext, headers: Mapping[str, str]) -> ActorContext:
        """Return the actor with the access of their role. Raises Forbidden for a foreign tenant without the role.

        Threads, runs, assistants, crons and webhook deliveries are reached; items of other users are not. An operator
        in a foreign tenant acts under a name that no user has, so that nothing is mistaken for a user's own there.
        """
        role, tenant = self.role_of(actor), headers.get(TENANT_HEADER, "").strip()
        if tenant and tenant != actor.tenant_id:
            if role != "operator":
                raise Forbidden(f"Only operators act in another tenant; leave the header {TENANT_HEADER} out")
            if len(tenant) > _LONGEST or not tenant.isprintable():
                raise Forbidden(f"{TENANT_HEADER}: this cannot be the name of a tenant")
            name = f"{RESERVED_USER_IDS}operator/{actor.tenant_id}/{actor.user_id}"
            actor = replace(actor, tenant_id=tenant, user_id=name)
        return actor if role is None else actor.with_scope(_WHOLE_TENANT)


class RoleAuthentication:
    """An Authenticator whose actors have the access of their role. The request's scope says which role that is."""

    def __init__(self, inner: Authenticator, scopes: RoleScopes) -> None:
        self._inner, self._scopes = inner, scopes

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        actor = await self._inner.authenticate(credentials)
        role = self._scopes.role_of(actor)
        if role is not None and isinstance(credentials.scope, MutableMapping):
            credentials.scope[ROLE] = role
        return self._scopes.apply(actor, credentials.headers)
