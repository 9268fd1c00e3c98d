"""Tokens of an OIDC issuer: claims become the actor, tricks are refused, keys rotate without a restart."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import httpx
import pytest
from joserfc.jwk import ECKey

from runstead.auth.oidc import OidcAuthentication, OidcOptions
from runstead.auth.signing_keys import SigningKeys
from runstead.runtime.actor_context import ActorContext
from runstead.testing.clock import ManualClock
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated, Unavailable

from .oidc_issuer import AUDIENCE, FakeIssuer, running_issuer


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def oidc(issuer: FakeIssuer, clock: ManualClock) -> AsyncIterator[OidcAuthentication]:
    options = OidcOptions(issuer.issuer, (AUDIENCE,), tenant_claim="org", scope_claims=("scope", "realm_access.roles"))
    async with httpx.AsyncClient(timeout=30) as client:
        yield OidcAuthentication(options, SigningKeys(client, clock, issuer.issuer), clock)


def bearer(token: str) -> Credentials:
    return Credentials("GET", "/threads", {"authorization": f"Bearer {token}"})


async def test_claims_become_tenant_user_and_scopes(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock
) -> None:
    token = issuer.token(clock.now(), name="Alice A.", realm_access={"roles": ["admin", 7]})
    actor = await oidc.authenticate(bearer(token))
    expected = ActorContext("alice", "acme", "alice", frozenset(("openid", "profile", "admin")), "oidc")
    assert replace(actor, claims={}) == expected
    assert actor.claims["display_name"] == "Alice A."
    assert token not in str(actor)


Forge = Callable[[FakeIssuer, ManualClock], str]


def _signed_by_hand(header: dict[str, Any], issuer: FakeIssuer, clock: ManualClock, secret: bytes | None) -> str:
    payload = issuer.token(clock.now()).split(".")[1]
    signed = f"{_encoded(json.dumps(header).encode())}.{payload}"
    signature = b"" if secret is None else hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _with_public_key_as_secret(issuer: FakeIssuer, clock: ManualClock) -> str:
    key = issuer.keys[0]
    assert isinstance(key, ECKey)
    return _signed_by_hand({"alg": "HS256", "kid": key.kid}, issuer, clock, key.as_pem(private=False))


def _with_own_key(issuer: FakeIssuer, clock: ManualClock, **header: Any) -> str:
    own = ECKey.generate_key("P-256", {"kid": str(issuer.keys[0].kid), "alg": "ES256"})
    return issuer.token(clock.now(), key=own, header=header)


def _changed(**claims: Any) -> Forge:
    return lambda issuer, clock: issuer.token(clock.now(), **claims)


_FORGED: Final[dict[str, Forge]] = {
    "no signature": lambda i, c: _signed_by_hand({"alg": "none"}, i, c, None),
    "public key as shared secret": _with_public_key_as_secret,
    "own key, known kid": _with_own_key,
    "own key in the header": lambda i, c: _with_own_key(i, c, jwk=ECKey.generate_key("P-256").as_dict(private=False)),
    "key set elsewhere": lambda i, c: _with_own_key(i, c, jku="https://evil.example/keys", kid="evil"),
    "kid is a path": lambda i, c: _with_own_key(i, c, kid="../../dev/null"),
    "unknown critical header": lambda i, c: i.token(c.now(), header={"crit": ["x"], "x": 1}),
    "encrypted": lambda i, c: "a.b.c.d.e",
    "not a token": lambda i, c: "x",
    "cut off": lambda i, c: i.token(c.now())[:-4],
    "other payload": lambda i, c: ".".join(
        (i.token(c.now()).split(".")[0], i.token(c.now(), sub="root").split(".")[1], i.token(c.now()).split(".")[2])
    ),
    "other issuer": _changed(iss="https://evil.example"),
    "other audience": _changed(aud="account"),
    "no audience": _changed(aud=None),
    "no expiry": _changed(exp=None),
    "expiry is a text": _changed(exp="never"),
    "expiry is true": _changed(exp=True),
    "no subject": _changed(sub=None),
    "empty subject": _changed(sub=" "),
    "the server's own name": _changed(sub="runstead:server"),
    "no tenant": _changed(org=None),
    "tenant is a list": _changed(org=["acme"]),
}


async def test_forged_tokens_are_refused(oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock) -> None:
    accepted = []
    for trick, forge in _FORGED.items():
        try:
            accepted.append((trick, await oidc.authenticate(bearer(forge(issuer, clock)))))
        except Unauthenticated:
            continue
    assert accepted == []


async def test_times_of_a_token_are_checked_with_leeway(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock
) -> None:
    token, later = issuer.token(clock.now()), issuer.token(clock.now(), nbf=int(clock.now().timestamp()) + 60)
    with pytest.raises(Unauthenticated):
        await oidc.authenticate(bearer(later))
    await clock.advance(320)
    assert (await oidc.authenticate(bearer(token))).user_id == "alice"
    assert (await oidc.authenticate(bearer(later))).user_id == "alice"
    await clock.advance(20)
    with pytest.raises(Unauthenticated, match="expired"):
        await oidc.authenticate(bearer(token))


async def test_rotated_key_is_fetched_and_the_removed_one_expires(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock
) -> None:
    old = issuer.keys[0]
    await oidc.authenticate(bearer(issuer.token(clock.now())))
    issuer.rotate("RSA")
    await clock.advance(11)
    await oidc.authenticate(bearer(issuer.token(clock.now())))
    with pytest.raises(Unauthenticated):
        await oidc.authenticate(bearer(issuer.token(clock.now(), key=old)))


async def test_invented_key_ids_do_not_make_the_server_fetch_each_time(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock
) -> None:
    for number in range(5):
        with pytest.raises(Unauthenticated):
            await oidc.authenticate(bearer(issuer.token(clock.now(), header={"kid": f"invented-{number}"})))
    assert len(issuer.requests) == 2


async def test_unreachable_issuer_leaves_known_keys_valid(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock
) -> None:
    issuer.is_down = True
    with pytest.raises(Unavailable):
        await oidc.authenticate(bearer(issuer.token(clock.now())))
    issuer.is_down = False
    await clock.advance(11)
    await oidc.authenticate(bearer(issuer.token(clock.now())))
    issuer.is_down = True
    await clock.advance(3600)
    assert (await oidc.authenticate(bearer(issuer.token(clock.now())))).user_id == "alice"


LOGOUT: Final[dict[str, Any]] = {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}


async def test_logout_token_names_the_subject_that_was_logged_out(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock
) -> None:
    assert await oidc.ended_subject(issuer.token(clock.now(), **LOGOUT, exp=None)) == "alice"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {**LOGOUT, "nonce": "n"},
        {**LOGOUT, "sub": None, "sid": "s"},
        {**LOGOUT, "aud": "another"},
        {**LOGOUT, "iss": "https://another.example"},
        {**LOGOUT, "iat": None},
        {**LOGOUT, "iat": 1_000_000_000},
        {"events": ["http://schemas.openid.net/event/backchannel-logout"]},
    ],
)
async def test_other_tokens_are_no_logout(
    oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock, claims: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await oidc.ended_subject(issuer.token(clock.now(), **claims))


async def test_logout_token_gives_no_access(oidc: OidcAuthentication, issuer: FakeIssuer, clock: ManualClock) -> None:
    with pytest.raises(Unauthenticated, match="gives no access"):
        await oidc.authenticate(bearer(issuer.token(clock.now(), **LOGOUT)))
