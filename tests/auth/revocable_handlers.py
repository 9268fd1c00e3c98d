"""Users whose token is the name of a file, and who have access for as long as the file exists."""

from __future__ import annotations

from pathlib import Path

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> str:
    token = Path((authorization or "").removeprefix("Bearer "))
    if not token.is_file():  # noqa: ASYNC240
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    return token.name
