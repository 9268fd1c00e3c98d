"""Routes about the work of the server: workers, for operators, and the limits and budgets of the caller. Our own."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runstead.runtime.actor_context import require_actor_context
from runstead.wire.credentials import ROLE
from runstead.wire.errors import Forbidden, NotFound
from runstead.wire.operations import from_allowances

from ..auth import policy
from ..auth.authorization import is_read_only
from ..dependencies import ServicesDep, answer
from ..openapi import responses
from ..route_declaration import declare

router = APIRouter(tags=["operations"])


@router.get("/workers")
@declare(responses=responses.WORKERS)
async def get_workers(request: Request, services: ServicesDep) -> Response:
    """Slots, leases and queue of all workers, pools of this process, and sizes of tables. With authentication: for
    operators, and, without the ids of runs, for users with the scope that the setting metrics_scope names."""
    actor, scope = require_actor_context("the workers"), services.options.metrics_scope
    is_operator = request.scope.get(ROLE) == "operator" or not actor.is_authenticated
    if not is_operator and scope not in actor.scopes:
        raise Forbidden(
            f"The workers are for operators and users with the scope {scope!r} (settings operator_scope, metrics_scope)"
        )
    if services.workers is None:
        raise NotFound("This server does not report on its workers")
    return answer(await services.workers.as_json(names_runs=is_operator))


@router.get("/limits")
@declare(policy.USAGE_READ, responses.LIMITS)
async def get_limits(services: ServicesDep) -> Response:
    """The limits and budgets that apply to the caller, and how much of each is used."""
    actor = require_actor_context("limits")
    return answer(from_allowances(actor, await services.allowances.read(), is_read_only=is_read_only(services, actor)))
