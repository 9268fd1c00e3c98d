"""A custom app that receives webhooks on its own route, behind auth handlers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from langgraph_sdk import Auth

RECEIVED: list[tuple[str, bytes, dict[str, str]]] = []
"""User, body and headers of each request."""
ANSWERS: list[int] = []
"""Status codes of the next responses; 200 when there are none."""

app = FastAPI()


@app.post("/hook/{name}")
async def hook(request: Request, name: str) -> Any:
    RECEIVED.append((request.user.identity, await request.body(), dict(request.headers)))
    return Response(status_code=ANSWERS.pop(0) if ANSWERS else 200)


auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    if not (name := headers.get(b"x-user", b"").decode()):
        raise Auth.exceptions.HTTPException(401, "say who you are")
    return {"identity": name}
