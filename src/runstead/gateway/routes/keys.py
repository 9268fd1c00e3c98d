"""API keys, for admins of a tenant and operators: list and revoke. Routes of our own.

Keys are created with `runstead keys create` alone, so that no key of an admin can make another one.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from runstead.resources.api_keys import ApiKeyRecord, ApiKeyStore
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.wire.credentials import ROLE, TENANT_HEADER
from runstead.wire.errors import Forbidden, NotFound
from runstead.wire.operations import from_api_key

from ..auth.authorization import check_write_access
from ..dependencies import ServicesDep, answer, empty_response
from ..openapi import responses
from ..route_declaration import declare
from ..services import Services

router = APIRouter(prefix="/keys", tags=["operations"])


@router.get("")
@declare(responses=responses.KEYS)
async def list_keys(request: Request, services: ServicesDep) -> Response:
    """The keys of the tenant without their secrets, oldest first; for operators those of all tenants, or of the one
    that they name. For the roles admin and operator."""
    store, actor = _store(request, services), require_actor_context("API keys")
    return answer([from_api_key(key) for key in await store.list_keys() if _reaches(request, actor, key)])


@router.delete("/{key_id}", status_code=204)
@declare(responses=responses.NO_CONTENT)
async def revoke_key(key_id: Annotated[str, Path(max_length=512)], request: Request, services: ServicesDep) -> Response:
    """Revoke a key permanently, and keep its record. Admins revoke keys of their tenant, but not those of operators."""
    check_write_access(services)
    store, actor = _store(request, services), require_actor_context("API keys")
    key = await store.get(key_id)
    if key is None or not _reaches(request, actor, key):
        raise NotFound(f"There is no API key {key_id!r}; GET /keys lists them")
    if request.scope[ROLE] != "operator" and services.options.operator_scope in key.scopes:
        raise Forbidden("This is an operator's key; only operators revoke it")
    await store.revoke(key_id, services.clock.now())
    return empty_response()


def _store(request: Request, services: Services) -> ApiKeyStore:
    if request.scope.get(ROLE) is None:
        raise Forbidden("API keys are shown to users with the scope of an admin or of an operator")
    if services.api_keys is None:
        raise NotFound("This server does not use API keys (setting auth)")
    return services.api_keys


def _reaches(request: Request, actor: ActorContext, key: ApiKeyRecord) -> bool:
    is_of_all = request.scope[ROLE] == "operator" and not request.headers.get(TENANT_HEADER, "").strip()
    return is_of_all or key.tenant_id == actor.tenant_id
