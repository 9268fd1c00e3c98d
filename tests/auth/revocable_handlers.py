"""Users whose token is a file name; they have access as long as the file exists."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from langgraph_sdk import Auth

auth = Auth()


def forbidden(name: str) -> Path:
    """The file that revokes all rights of a user."""
    return Path(tempfile.gettempdir()) / f"runstead-forbidden-{os.getpid()}-{name}"


@auth.authenticate
async def authenticate(authorization: str | None) -> str:
    token = Path((authorization or "").removeprefix("Bearer "))
    if not token.is_file():  # noqa: ASYNC240
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    return token.name


@auth.on
async def unless_forbidden(ctx: Auth.types.AuthContext, value: object) -> bool:
    """Refuse all requests of users with such a file."""
    return not forbidden(ctx.user.identity).exists()
