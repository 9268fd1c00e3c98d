"""No authentication: all requests act for the same local user, and so must come from this machine."""

from __future__ import annotations

import ipaddress
from typing import Final

from runstead.runtime.actor_context import DEFAULT_USER_ID, ActorContext
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Forbidden

LOCAL_ACTOR: Final = ActorContext(user_id=DEFAULT_USER_ID, auth_source="none")
"""Actor of all requests. In-process callers bind it to see the same threads and runs."""


class NoAuthentication:
    """Authenticator that accepts connections from this machine; with ``anywhere``, from every machine.

    A request without a peer address (a unix socket, an in-process test client) comes from this machine.
    """

    def __init__(self, *, anywhere: bool = False) -> None:
        self._anywhere = anywhere

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        if not self._anywhere and not _is_local(credentials.client):
            raise Forbidden(
                "This server has no authentication and therefore serves only this machine; "
                "start it with RUNSTEAD_ALLOW_UNAUTHENTICATED=true to serve all clients that can reach it"
            )
        return LOCAL_ACTOR


def _is_local(client: str | None) -> bool:
    if client is None:
        return True
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
