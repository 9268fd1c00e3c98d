"""Routes for assistants, which are named by id, or by the graph whose default they are."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from runstead.resources.assistant_lookup import SubgraphNotFound
from runstead.wire.assistants import (
    ASSISTANT_COUNT,
    ASSISTANT_CREATE,
    ASSISTANT_FIELDS,
    ASSISTANT_LATEST,
    ASSISTANT_PATCH,
    ASSISTANT_SEARCH,
    ASSISTANT_VERSIONS,
    AssistantCount,
    AssistantCreate,
    AssistantLatest,
    AssistantPatch,
    AssistantSearch,
    AssistantVersions,
    from_assistant_record,
    from_assistant_version,
    xray_of,
)
from runstead.wire.field_selection import check_select, selected

from ..auth import policy
from ..auth.audit import note
from ..auth.authorization import has_access
from ..dependencies import JsonBody, ServicesDep, answer, empty_response
from ..openapi import responses
from ..pages import bounded, counted
from ..route_declaration import declare

router = APIRouter(prefix="/assistants", tags=["assistants"])


@router.post("")
@declare(policy.ASSISTANT_CREATE, responses.ASSISTANT)
async def create_assistant(
    body: Annotated[AssistantCreate, Depends(JsonBody(ASSISTANT_CREATE))], services: ServicesDep, request: Request
) -> Response:
    made = await services.assistant_service.create(
        body.to_draft(), assistant_id=body.assistant_id, if_exists=body.if_exists or "raise"
    )
    note(request, assistant_id=made.assistant_id)
    return answer(from_assistant_record(made))


@router.post("/search")
@declare(policy.ASSISTANT_SEARCH, responses.ASSISTANTS)
async def search_assistants(
    body: Annotated[AssistantSearch, Depends(JsonBody(ASSISTANT_SEARCH))], services: ServicesDep, request: Request
) -> Response:
    check_select(body.select, ASSISTANT_FIELDS)
    where, limit, offset = body.to_filter(), body.limit or 10, body.offset or 0
    sort_by, sort_order = body.sort_by or "created_at", body.sort_order or "desc"
    found, headers = await counted(
        request,
        services,
        lambda: services.assistants.search(where, sort_by=sort_by, sort_order=sort_order, limit=limit, offset=offset),
        lambda: services.assistants.count(where),
        limit=limit,
        offset=offset,
    )
    return answer([selected(from_assistant_record(record), body.select) for record in found], headers=headers)


@router.post("/count")
@declare(policy.ASSISTANT_COUNT, responses.COUNTED)
async def count_assistants(
    body: Annotated[AssistantCount, Depends(JsonBody(ASSISTANT_COUNT))], services: ServicesDep
) -> Response:
    return answer(await services.assistants.count(body.to_filter()))


@router.get("/{assistant_id}")
@declare(policy.ASSISTANT_READ, responses.ASSISTANT)
async def get_assistant(assistant_id: str, services: ServicesDep) -> Response:
    return answer(from_assistant_record(await services.assistant_lookup.find(assistant_id)))


@router.patch("/{assistant_id}")
@declare(policy.ASSISTANT_UPDATE, responses.ASSISTANT)
async def update_assistant(
    assistant_id: str, body: Annotated[AssistantPatch, Depends(JsonBody(ASSISTANT_PATCH))], services: ServicesDep
) -> Response:
    return answer(from_assistant_record(await services.assistant_service.update(assistant_id, body.to_change())))


@router.delete("/{assistant_id}", status_code=204)
@declare(policy.ASSISTANT_DELETE, responses.NO_CONTENT)
async def delete_assistant(assistant_id: str, services: ServicesDep, delete_threads: bool = False) -> Response:
    """Interrupts the assistant's runs in flight; ended runs stay. With ``delete_threads``, deletes the threads that
    last used it."""
    await services.assistant_removal.remove(
        assistant_id, with_threads=delete_threads, may=has_access(services.authorizer)
    )
    return empty_response()


@router.post("/{assistant_id}/versions")
@declare(policy.ASSISTANT_READ, responses.ASSISTANT_VERSIONS)
async def list_versions(
    assistant_id: str,
    body: Annotated[AssistantVersions, Depends(JsonBody(ASSISTANT_VERSIONS))],
    services: ServicesDep,
    request: Request,
) -> Response:
    assistant = await services.assistant_lookup.find(assistant_id)
    page = {"limit": body.limit or 10, "offset": body.offset or 0}
    found, _ = await bounded(
        request, services, lambda: services.assistants.versions(assistant.assistant_id, metadata=body.metadata, **page)
    )
    return answer([from_assistant_version(version) for version in found])


@router.post("/{assistant_id}/latest")
@declare(policy.ASSISTANT_SET_LATEST, responses.ASSISTANT)
async def set_latest_version(
    assistant_id: str, body: Annotated[AssistantLatest, Depends(JsonBody(ASSISTANT_LATEST))], services: ServicesDep
) -> Response:
    return answer(from_assistant_record(await services.assistant_service.set_latest(assistant_id, body.version)))


@router.get("/{assistant_id}/schemas")
@declare(policy.ASSISTANT_READ, responses.GRAPH_SCHEMAS)
async def get_schemas(assistant_id: str, services: ServicesDep) -> Response:
    return answer(await services.schemas.schemas(await services.assistant_lookup.find(assistant_id)))


@router.get("/{assistant_id}/graph")
@declare(policy.ASSISTANT_READ, responses.DRAWING)
async def get_graph(assistant_id: str, services: ServicesDep, xray: str | None = None) -> Response:
    depth = xray_of(xray)
    return answer(await services.schemas.drawing(await services.assistant_lookup.find(assistant_id), xray=depth))


@router.get("/{assistant_id}/subgraphs")
@declare(policy.ASSISTANT_READ, responses.SUBGRAPHS)
async def list_subgraphs(assistant_id: str, services: ServicesDep, recurse: bool = False) -> Response:
    return answer(await services.schemas.subgraphs(await services.assistant_lookup.find(assistant_id), recurse=recurse))


@router.get("/{assistant_id}/subgraphs/{namespace}")
@declare(policy.ASSISTANT_READ, responses.SUBGRAPHS)
async def get_subgraph(assistant_id: str, namespace: str, services: ServicesDep, recurse: bool = False) -> Response:
    assistant = await services.assistant_lookup.find(assistant_id)
    if not (found := await services.schemas.subgraphs(assistant, namespace=namespace, recurse=recurse)):
        raise SubgraphNotFound(namespace)
    return answer(found)
