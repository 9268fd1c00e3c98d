"""An authenticator for tests: the tenant is in a header."""

from __future__ import annotations

from runstead.runtime.actor_context import ActorContext
from runstead.wire.credentials import Credentials


class ByHeader:
    """Authenticates everyone as alice of the tenant in ``x-tenant``."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        return ActorContext("alice", tenant_id=credentials.headers["x-tenant"], auth_source="test")
