"""Conversion of an authenticate handler's result (a text, dict or object) to an actor, and of an actor to a user for
handlers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from runstead.runtime.actor_context import DEFAULT_TENANT_ID, KEPT_CLAIMS, RESERVED_USER_IDS, ActorContext
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.serialization import jsonable
from runstead.runtime.value_shape import value_shape
from runstead.wire.errors import Unauthenticated

AUTH_SOURCE: Final = "langgraph_auth"


class InvalidUser(Exception):
    """The authenticate handler returned a user without a usable identity, which is a mistake in the handler."""


def actor_of(user: object, stored_fields: Collection[str] | None = None) -> ActorContext:
    """Return the actor for a handler's result. Raises InvalidUser, and Unauthenticated for a user with
    ``is_authenticated`` False.

    ``stored_fields`` are fields that may be stored in addition to `KEPT_CLAIMS`; None for all.
    """
    fields = _fields(user)
    identity = fields.get("identity")
    if not isinstance(identity, str) or not _is_storable(identity):
        raise InvalidUser(
            f"an authenticate handler must return a user with an identity (string), got {value_shape(user)}"
        )
    if fields.get("is_authenticated") is False or identity.startswith(RESERVED_USER_IDS):
        raise Unauthenticated("Not authenticated")
    permissions = [str(permission) for permission in fields.get("permissions") or ()]
    claims = {
        **fields,
        "identity": identity,
        "display_name": fields.get("display_name") or identity,
        "is_authenticated": True,
        "permissions": permissions,
    }
    tenant = _optional_id(fields, "tenant_id")
    # All claims must survive being stored with a run.
    return ActorContext(
        user_id=identity,
        tenant_id=DEFAULT_TENANT_ID if tenant is None else tenant,
        subject_id=_optional_id(fields, "subject_id") or identity,
        scopes=frozenset(permissions),
        auth_source=AUTH_SOURCE,
        claims=jsonable(claims),
        unstored=frozenset() if stored_fields is None else frozenset(claims) - KEPT_CLAIMS - set(stored_fields),
    )


def _optional_id(fields: JsonMapping, name: str) -> str | None:
    """Return the field; None if the user has none. Raises InvalidUser, so that no user ends up in a wrong tenant."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _is_storable(value):
        raise InvalidUser(f"the {name} of a user must be a text that is not empty, got {value_shape(value)}")
    if value.startswith(RESERVED_USER_IDS):
        raise InvalidUser(f"the {name} of a user must not begin with {RESERVED_USER_IDS!r}, which is for the server")
    return value


def _is_storable(identity: str) -> bool:
    try:
        identity.encode()
    except UnicodeEncodeError:
        return False
    return bool(identity.strip()) and "\0" not in identity


class AuthenticatedUser:
    """Actor in the form of a user for handlers: with attributes, and with keys."""

    def __init__(self, actor: ActorContext) -> None:
        self._claims = actor.claims

    @property
    def identity(self) -> str:
        return str(self._claims["identity"])

    @property
    def display_name(self) -> str:
        return str(self._claims["display_name"])

    @property
    def is_authenticated(self) -> bool:
        return bool(self._claims.get("is_authenticated", True))

    @property
    def permissions(self) -> Sequence[str]:
        return list(self._claims["permissions"])

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._claims[name]
        except KeyError:
            raise AttributeError(f"the user has no {name!r}; they have {', '.join(self._claims)}") from None

    def __getitem__(self, key: str) -> object:
        return self._claims[key]

    def get(self, key: str, default: object = None) -> Any:
        return self._claims.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._claims

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    def __repr__(self) -> str:
        # Without its claims: a token may be among them, and this text is logged.
        return f"AuthenticatedUser({self.identity!r})"


def user_of(actor: ActorContext) -> AuthenticatedUser:
    """Return the user for handlers; without authentication, a user with an empty identity."""
    if "identity" in actor.claims:
        return AuthenticatedUser(actor)
    identity = actor.user_id if actor.is_authenticated else ""
    claims = {
        **actor.claims,
        "identity": identity,
        "display_name": identity,
        "is_authenticated": actor.is_authenticated,
        "permissions": sorted(actor.scopes),
    }
    return AuthenticatedUser(replace(actor, claims=claims))


def _fields(user: object) -> JsonObject:
    if isinstance(user, str):
        return {"identity": user}
    if isinstance(user, Mapping):
        return {str(key): value for key, value in user.items()}
    own = getattr(user, "__dict__", {})
    shown = {name: value for name, value in own.items() if not name.startswith("_")}
    for name in ("identity", "display_name", "is_authenticated", "permissions"):
        if (value := getattr(user, name, None)) is not None:
            shown[name] = value
    return shown
