"""The audit log, for admins of a tenant and operators. Routes of our own."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runstead.resources.audit import AuditFilter
from runstead.runtime.actor_context import require_actor_context
from runstead.wire.credentials import ROLE
from runstead.wire.errors import Forbidden, NotFound, Unprocessable

from ..dependencies import Limit, ServicesDep, answer

router = APIRouter(prefix="/audit", tags=["audit"])

Text = Annotated[str | None, Query(max_length=512)]


@router.get("")
async def list_audit_entries(
    request: Request,
    services: ServicesDep,
    limit: Limit = 100,
    before_seq: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    user_id: Text = None,
    action: Text = None,
    target_id: Text = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Response:
    """The entries of the tenant, the newest first; older ones with `before_seq`. For the roles admin and operator."""
    if request.scope.get(ROLE) is None:
        raise Forbidden("The audit log is for users with the scope of an admin or of an operator")
    if services.audit is None:
        raise NotFound("This server keeps no audit log (setting audit)")
    if any(time is not None and time.tzinfo is None for time in (since, until)):
        raise Unprocessable("since, until: give a time with its zone, such as 2026-01-31T12:00:00Z")
    where = AuditFilter(
        tenant_id=require_actor_context("the audit log").tenant_id,
        user_id=user_id,
        action=action,
        target_id=target_id,
        since=since,
        until=until,
        before_seq=before_seq,
    )
    return answer([record.to_json() for record in await services.audit.store.search(where, limit=limit)])
