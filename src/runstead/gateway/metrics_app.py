"""A small application for a port of its own: metrics and health of one process, without authentication."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .services import Services


def metrics_app(services: Services) -> Starlette:
    """Return the application. It has no data of users, and is for addresses that only the operator reaches."""

    async def metrics(request: Request) -> Response:
        if request.query_params.get("format") == "json":
            return JSONResponse(await services.metrics.as_json())
        text, content_type = await services.metrics.as_text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def ok(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def ready(_: Request) -> Response:
        reason = await services.ready()
        return JSONResponse({"ready": True}) if reason is None else JSONResponse({"detail": reason}, 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/ok", ok), Route("/ready", ready)])
