"""Users with custom fields, one of which is a secret."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None, headers: dict[bytes, bytes]) -> Any:
    name = (authorization or "").removeprefix("Bearer ")
    if not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    token = headers.get(b"x-token", b"").decode()
    return {"identity": name, "display_name": "Ada L.", "token": token, "org": "acme"}


@auth.on
async def with_a_token(ctx: Auth.types.AuthContext, value: object) -> bool:
    return bool(ctx.user["token"])
