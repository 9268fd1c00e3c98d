"""Authentication by a user name in a header."""

from __future__ import annotations

from langgraph_sdk import Auth

auth = Auth()
ASKED: list[str] = []


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes], path: str) -> Auth.types.MinimalUserDict:
    name = headers.get(b"x-user", b"").decode()
    ASKED.append(path)
    if not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Say who you are")
    return {"identity": name}
