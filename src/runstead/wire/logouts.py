"""Logouts that an issuer of tokens reports, and the form in which it does so."""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import parse_qs

from .errors import BadRequest

_FIELD: Final = "logout_token"


class LogoutTokens(Protocol):
    """Verifier of logout tokens."""

    async def ended_subject(self, token: str) -> str:
        """Return the identity that was logged out. Raises Unauthenticated, and Unavailable without the issuer."""
        ...


class LogoutEndpoint(Protocol):
    """Receiver of logouts."""

    async def receive(self, token: str) -> None:
        """End what an identity has left open without a request of its own. Raises BadRequest, Unavailable."""
        ...


def logout_token_in(body: bytes) -> str:
    """Return the token in the body of a back-channel logout. Raises BadRequest."""
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=20).get(_FIELD) or []
    except ValueError:
        found = []
    if len(found) != 1:
        raise BadRequest(f"Send one {_FIELD}, as a form (OpenID Connect Back-Channel Logout)")
    return found[0]
