"""Metrics for Prometheus, and as JSON. On a server with authentication, for users with the scope ``metrics``."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runstead.runtime.actor_context import require_actor_context
from runstead.wire.credentials import ROLE
from runstead.wire.errors import Forbidden

from ..auth.policy import METRICS
from ..dependencies import ServicesDep, answer
from ..openapi import responses
from ..route_declaration import declare

router = APIRouter(tags=["meta"])


@router.get(METRICS)
@declare(responses=responses.METRICS)
async def metrics(
    request: Request,
    services: ServicesDep,
    format: Annotated[str, Query(description="`json`, or `prometheus`, which anything else means too.")] = "prometheus",
) -> Response:
    """Metrics of this process, and of the runs of all users, as counts. With authentication: for operators, and users
    with the scope that the setting metrics_scope names."""
    scope = services.options.metrics_scope
    if scope != "*" and request.scope.get(ROLE) != "operator":
        actor = require_actor_context("metrics")
        if actor.is_authenticated and scope not in actor.scopes:
            raise Forbidden(
                f"Metrics are for users with the scope {scope!r} (setting metrics_scope); or read them on metrics_port"
            )
    if format == "json":
        return answer(await services.metrics.as_json())
    text, content_type = await services.metrics.as_text(request.headers.get("accept", ""))
    return Response(text, headers={"content-type": content_type})
