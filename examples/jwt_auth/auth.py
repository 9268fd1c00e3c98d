"""Users log in with a JSON Web Token and reach only their own threads."""

import os
from typing import Any

import jwt
from langgraph_sdk import Auth

SECRET = os.environ.get("JWT_SECRET", "an-example-secret-of-32-characters")
auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    """Check the signature, the expiry and the subject of the bearer token."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Auth.exceptions.HTTPException(status_code=401, detail="send Authorization: Bearer <token>")
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError as error:
        raise Auth.exceptions.HTTPException(status_code=401, detail=f"invalid token: {error}") from error
    return {"identity": claims["sub"], "permissions": claims.get("scope", "").split()}


@auth.on.threads
async def own_threads(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    """Mark new threads with their owner, and filter by the mark."""
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
