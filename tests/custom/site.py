"""An app of a user, as ``http.app`` names it: routes, some of which shadow Runstead's, middleware, a lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

SEEN: list[str] = []
"""Events that the app below has seen."""


class Oops(Exception):
    """Handled by an exception handler of the app."""


class RunCreate(BaseModel):
    """Named like a model of Runstead."""

    what: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    SEEN.append("started")
    yield {"greeting": "hello from the lifespan"}
    SEEN.append("stopped")


class Stamp:
    """Middleware that marks requests and responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-stamp", b"theirs")]}
            await send(message)

        if scope["type"] == "http":
            SEEN.append(f"{scope['method']} {scope['path']}")
            # Like a gateway that identifies users by another header.
            headers = [
                *scope["headers"],
                *((b"x-user", value) for name, value in scope["headers"] if name == b"x-alias"),
            ]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, stamped)


app = FastAPI(lifespan=lifespan, title="Theirs")
app.add_middleware(Stamp)


@app.exception_handler(Oops)
async def oops(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"their": str(error)}, status_code=418)


@app.get("/hello")
async def hello(request: Request) -> dict[str, Any]:
    user = request.scope.get("user")
    return {"greeting": request.state.greeting, "user": user.identity if user else None}


@app.get("/fails/{how}")
async def fails(how: str) -> None:
    if how == "oops":
        raise Oops(how)
    if how == "teapot":
        raise HTTPException(418, how)
    raise RuntimeError(how)


@app.get("/info")
async def info() -> dict[str, str]:
    return {"info": "theirs"}


@app.get("/ok")
async def ok() -> dict[str, str]:
    return {"ok": "theirs"}


@app.post("/threads/count")
async def count(body: RunCreate) -> dict[str, str]:
    return {"count": body.what}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


strict = FastAPI()
strict.add_middleware(CORSMiddleware, allow_origins=["https://example.org"])

plain = Starlette(routes=[Route("/plain", lambda _: PlainTextResponse("plain"))])


class Lock:
    """Middleware that refuses requests without a key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"x-key" not in dict(scope["headers"]):
            await PlainTextResponse("locked", 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


locked = Starlette(routes=[Route("/plain", lambda _: PlainTextResponse("plain"))])
locked.add_middleware(Lock)

no_app = {"not": "an app"}
