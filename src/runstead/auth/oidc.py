"""Authentication by tokens of an OIDC issuer (JWT): signature, issuer, audience and times are checked each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry

from runstead.runtime.actor_context import DEFAULT_TENANT_ID, RESERVED_USER_IDS, ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.serialization import jsonable
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated

from .signing_keys import SigningKeys

AUTH_SOURCE: Final = "oidc"

KEY_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
"""Algorithms that can be accepted, and the type of key that each needs. All are asymmetric: with a shared secret, or
with ``none``, this server's clients could make tokens.
"""
_MAX_TOKEN: Final = 16 * 1024
_MAX_ID: Final = 512
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_SECONDS: Final = 300
"""Age up to which a logout token is accepted, so that one that leaks ends nothing later."""
_INVALID: Final = "This token is not valid"
_CHALLENGE: Final = {"www-authenticate": "Bearer"}


class TokenRefused(Unauthenticated):
    """The token proves nothing; the text says why, and never shows the token."""

    headers = _CHALLENGE


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """Requirements for tokens, and the claims that identify the actor.

    Claims are named by paths such as ``realm_access.roles``. ``tenant_claim`` None puts all users into the default
    tenant. ``scope_claims`` hold lists, or texts separated by spaces; together they are the scopes.
    """

    issuer: str
    audiences: Sequence[str]
    algorithms: Sequence[str] = ("RS256", "ES256")
    leeway_seconds: int = 30
    user_claim: str = "sub"
    tenant_claim: str | None = None
    scope_claims: Sequence[str] = ("scope",)


class OidcAuthentication:
    """Authenticator: ``Authorization: Bearer`` with an access token of the issuer."""

    def __init__(self, options: OidcOptions, keys: SigningKeys, clock: Clock) -> None:
        self._options, self._keys, self._clock = options, keys, clock
        # Headers such as `jku` and `x5u` are allowed and ignored: keys come from the issuer's own documents only.
        self._registry = JWSRegistry(algorithms=list(options.algorithms), strict_check_header=False)
        self._registry.max_header_length = 4096

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """See Authenticator. Raises TokenRefused, and Unavailable if the issuer cannot be reached."""
        claims = await self._verified(_token_of(credentials.headers), {"exp": {"essential": True}})
        if _LOGOUT_EVENT in _mapping(claims.get("events")):
            raise TokenRefused("This is a logout token, which gives no access")
        return self._actor(claims)

    async def ended_subject(self, token: str) -> str:
        """Return the subject of a logout token (OpenID Connect Back-Channel Logout). Raises as `authenticate`."""
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise TokenRefused(_INVALID)
        claims = await self._verified(token, {"iat": {"essential": True}})
        age = self._clock.now().timestamp() - float(claims["iat"])
        subject = claims.get("sub")
        if _LOGOUT_EVENT not in _mapping(claims.get("events")) or "nonce" in claims:
            raise TokenRefused("This is no logout token")
        if age > _LOGOUT_SECONDS + self._options.leeway_seconds:
            raise TokenRefused("This logout token is too old")
        if not isinstance(subject, str) or not subject:
            raise TokenRefused("This logout token names no subject; let the issuer send `sub`")
        return subject

    async def _verified(self, token: str, required: JsonObject) -> JsonObject:
        """Return the claims of a token that this issuer has signed for this server."""
        algorithm, kid = self._header_of(token)
        key = await self._keys.find(kid, algorithm, KEY_TYPES[algorithm])
        if key is None:
            raise TokenRefused("This token is signed with a key that its issuer does not have")
        try:
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._check(claims, required)
        except ExpiredTokenError as error:
            raise TokenRefused("This token has expired; get a new one") from error
        except (JoseError, ValueError, TypeError) as error:
            raise TokenRefused(_INVALID) from error
        return claims

    def _header_of(self, token: str) -> tuple[str, str | None]:
        """Return the algorithm and the key id that the token names, before anything of it is trusted."""
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, TypeError) as error:
            raise TokenRefused(_INVALID) from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._options.algorithms:
            raise TokenRefused(
                f"Tokens signed by {str(algorithm)[:20]!r} are not accepted; "
                f"accepted are {', '.join(self._options.algorithms)}"
            )
        if kid is not None and not isinstance(kid, str):
            raise TokenRefused(_INVALID)
        return str(algorithm), kid

    def _check(self, claims: JsonObject, required: JsonObject) -> None:
        """Raise TokenRefused or a JoseError for a token of another issuer, for another audience, or at another time."""
        if claims.get("iss") != self._options.issuer:
            raise TokenRefused("This token is of another issuer")
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if not any(one in named for one in self._options.audiences):
            raise TokenRefused("This token is for another audience")
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_time(claims[name]):
                raise TokenRefused(_INVALID)
        now = int(self._clock.now().timestamp())
        jwt.JWTClaimsRegistry(now=now, leeway=self._options.leeway_seconds, **required).validate(claims)

    def _actor(self, claims: JsonMapping) -> ActorContext:
        options = self._options
        user = _id(claims, options.user_claim)
        tenant = _id(claims, options.tenant_claim) if options.tenant_claim else DEFAULT_TENANT_ID
        scopes = [scope for claim in options.scope_claims for scope in _texts(_at(claims, claim))]
        shown = claims.get("name") or claims.get("preferred_username")
        return ActorContext(
            user_id=user,
            tenant_id=tenant,
            subject_id=str(claims.get("sub") or user),
            scopes=frozenset(scopes),
            auth_source=AUTH_SOURCE,
            claims=jsonable(
                {
                    "identity": user,
                    "display_name": shown if isinstance(shown, str) else user,
                    "is_authenticated": True,
                    "permissions": list(dict.fromkeys(scopes)),
                }
            ),
        )


def _token_of(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("Send an access token of this server's OIDC issuer, as Authorization: Bearer")
    if len(token) > _MAX_TOKEN or not token.isascii():
        raise TokenRefused(_INVALID)
    return token


def _mapping(value: object) -> JsonMapping:
    return value if isinstance(value, dict) else {}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def _at(claims: JsonMapping, path: str) -> Any:
    """Return the value at a path; a claim whose name is the whole path comes first (``https://example.org/tenant``)."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _id(claims: JsonMapping, path: str) -> str:
    value = _at(claims, path)
    is_usable = isinstance(value, str) and bool(value.strip()) and "\0" not in value and value.isprintable()
    if not is_usable or len(value.encode("utf-8", "replace")) > _MAX_ID or value.startswith(RESERVED_USER_IDS):
        raise TokenRefused(f"This token has no usable claim {path!r}, which says for whom it is")
    return str(value)


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else ()
