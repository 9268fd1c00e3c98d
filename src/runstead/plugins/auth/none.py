"""No authentication: everybody is the same local user, so everybody must be on this machine."""

from __future__ import annotations

import ipaddress
from typing import Final

from runstead.runtime.actor_context import DEFAULT_USER_ID, ActorContext
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Forbidden

LOCAL_ACTOR: Final = ActorContext(user_id=DEFAULT_USER_ID, auth_source="none")
"""Whom all requests act for, and who in-process callers bind to see the same threads and runs."""


class NoAuthentication:
    """Lets in whoever connects from this machine; from anywhere when ``anywhere`` was asked for.

    A request without a peer address (a unix socket, a test client in process) comes from this machine.
    """

    def __init__(self, *, anywhere: bool = False) -> None:
        self._anywhere = anywhere

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        if not self._anywhere and not _is_local(credentials.client):
            raise Forbidden(
                "This server knows no users and therefore answers this machine alone; "
                "start it with RUNSTEAD_ALLOW_UNAUTHENTICATED=true to let everybody in who can reach it"
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
