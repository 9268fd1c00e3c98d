"""Back-channel logout of OpenID Connect: the issuer reports that an identity was logged out. Specific to Runstead."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from runstead.wire.errors import NotFound
from runstead.wire.logouts import logout_token_in

from ..auth import policy
from ..dependencies import ServicesDep
from ..request_body import body_of
from ..route_declaration import declare

_MAX_BODY: Final = 64 * 1024
"""Bytes. Requests need no credentials, and a token has a few kilobytes."""

router = APIRouter(tags=["channels"])


@router.post(policy.LOGOUT, include_in_schema=False)
@declare()
async def receive_logout(request: Request, services: ServicesDep) -> Response:
    """A logout token of the OIDC issuer."""
    if services.logouts is None:
        raise NotFound("This server has no OIDC issuer (setting oidc_issuer)")
    body = await body_of(request, _MAX_BODY, is_json=False)
    await services.logouts.receive(logout_token_in(body))
    return Response(headers={"cache-control": "no-store"})
