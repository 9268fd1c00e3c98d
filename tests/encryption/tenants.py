"""Users with tenants, and handlers that take the tenant from the user and not from a header."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth, EncryptionContext

from .handlers import encryption

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Any:
    name = (authorization or "").removeprefix("Bearer ")
    return {"identity": name, "tenant": f"tenant-of-{name}", "token": f"secret-of-{name}"}


@encryption.context
async def context(user: Any, ctx: EncryptionContext) -> dict[str, Any]:
    if "context" in ctx.metadata.get("fails", ""):
        raise KeyError("canary")
    return {**ctx.metadata, "tenant": user.tenant}
