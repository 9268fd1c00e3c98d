"""Route for the usage of models by day, user, graph and model, with its cost. Specific to Runstead."""

import asyncio
from dataclasses import replace
from datetime import date
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from runstead.resources.usage import cost_of
from runstead.runtime.runs.store import UsageGroup, UsageQuery
from runstead.wire.credentials import ROLE, TENANT_HEADER
from runstead.wire.usage import from_usage_group, from_usage_total, usage_days, usage_dimensions

from ..auth import policy
from ..dependencies import Limit, Offset, Select, ServicesDep, answer, names_of
from ..openapi import responses
from ..route_declaration import declare

router = APIRouter(tags=["usage"])

_NOTHING: Final = UsageGroup((), 0, ())


@router.get("/usage")
@declare(policy.USAGE_READ, responses.USAGE_PAGE)
async def list_usage(
    request: Request,
    services: ServicesDep,
    group_by: Annotated[Select, Query(description="Some of day, tenant, user, graph, model, caller.")] = None,
    since: Annotated[date | None, Query(alias="from", description="The first day (UTC).")] = None,
    until: Annotated[date | None, Query(alias="to", description="The last day (UTC), included.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Usage of the user's own runs; for admins that of their tenant, for operators that of all tenants, or of the one
    that they name. Without days, that of the last 30.
    """
    first, last = usage_days(since, until, services.clock.now().date())
    dimensions = usage_dimensions(names_of(group_by) or ["day"])
    query = UsageQuery(first, last, dimensions, _reach(request), limit + 1, offset)
    found = list(await services.usage.grouped(query))
    whole = await services.usage.grouped(replace(query, dimensions=(), limit=1, offset=0))
    total = whole[0] if whole else _NOTHING
    groups = found[:limit]
    costs = await asyncio.to_thread(
        lambda: [cost_of(group.models, services.prices) for group in (*groups, total)],
    )
    return answer(
        {
            "from": first,
            "to": last,
            "group_by": dimensions,
            "data": [from_usage_group(one, dimensions, cost) for one, cost in zip(groups, costs[:-1], strict=True)],
            "has_more": len(found) > limit,
            **from_usage_total(total, costs[-1]),
        }
    )


def _reach(request: Request) -> Literal["own", "tenant", "all"]:
    match request.scope.get(ROLE):
        case "operator":
            return "tenant" if request.headers.get(TENANT_HEADER, "").strip() else "all"
        case "admin":
            return "tenant"
        case _:
            return "own"
